package index

import (
	"testing"

	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/record"
)

// vault counts how often the key of a patient is read.
type vault map[record.ID]int

func (v vault) Held(r details.Ref) (details.Key, bool) {
	v[r.Patient]++
	return testKey, true
}

func TestOnePatientsConsentsReadTheVaultOnce(t *testing.T) {
	l, v := newLedger(), vault{}
	l.ready(2)
	for range 3 {
		l.consent(l.permit(l.patients[0], members[0], hour0, hour0+10))
		l.consent(l.permit(l.patients[1], members[0], hour0, hour0+10))
	}
	l.cut()
	ix := New()
	ix.OpenWith(v)
	for _, b := range l.blocks {
		if err := ix.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
	if v[l.patients[0]] != 1 || v[l.patients[1]] != 1 || len(ix.Missing()) > 0 {
		t.Errorf("read %v; missing %v", v, ix.Missing())
	}
}

func TestAnErasureTakesTheDetailsKeyOutOfTheIndex(t *testing.T) {
	l := newLedger()
	l.ready(2)
	l.cut()
	ix := apply(t, l.blocks)
	if _, here := ix.people.near[l.patients[0]]; !here {
		t.Fatal("the key was never at hand, so this test shows nothing")
	}
	l.erase(l.patients[0])
	l.cut()
	if err := ix.Apply(l.blocks[len(l.blocks)-1]); err != nil {
		t.Fatal(err)
	}
	if _, here := ix.people.near[l.patients[0]]; here {
		t.Error("the key outlives the erasure")
	}
	if _, here := ix.people.near[l.patients[1]]; !here {
		t.Error("another patient's key went with it")
	}
}

func TestFewDetailsKeysAreAtHand(t *testing.T) {
	n := near{}
	for range 3 * maxNear {
		id := record.RandomID()
		n.put(id, details.Opener{})
		if _, here := n[id]; len(n) > maxNear || !here {
			t.Fatalf("%d keys", len(n))
		}
	}
}
