package index

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

func saved(t testingT, ix *Index) []byte {
	var b bytes.Buffer
	if err := ix.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func loaded(t testingT, b []byte) *Index {
	ix, err := Load(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	ix.OpenWith(testKeys{})
	return ix
}

type testingT interface{ Fatal(...any) }

// everything is what an index says about a history, in JSON.
func (l *ledger) everything(t testingT, ix *Index) string {
	all := []any{l.answers(ix), ix.Counts(), ix.Missing(), ix.Time(), ix.Open(), ix.Batches(0), ix.Devices(0), ix.Erasures(0), ix.Roster(), ix.Studies(100)}
	for _, d := range l.devices {
		receipts, err := ix.Receipts(d.ID, record.KindRow, hour0-100, hour0+1000)
		r, rerr := ix.Reputation(d.ID)
		_, acks, ready, ok := ix.Device(d.ID)
		all = append(all, receipts, fault.Of(err), r, fault.Of(rerr), acks, ready, ok)
	}
	for _, p := range l.patients {
		h, err := ix.History(p)
		consents, cerr := ix.Consents(p)
		all = append(all, h, fault.Of(err), consents, fault.Of(cerr), ix.BlobsOf(p))
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// An index that was saved and loaded, anywhere and however often, is the one that
// was never stopped, in what it says and byte for byte; also while details of
// consents are missing.
func TestASavedIndexGoesOnAsIfItHadNeverStopped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger()
		l.settle(t)
		for range rapid.IntRange(5, 40).Draw(t, "steps") {
			l.random(t)
		}
		l.cut()
		lacking := withheld(l.blocks, func(d consent.Document) bool {
			return !l.erased[d.Patient] && rapid.IntRange(0, 3).Draw(t, "late") == 0
		})
		whole, stopped := blank(), blank()
		for i, b := range lacking {
			supply := rapid.IntRange(0, 5).Draw(t, "supply") == 0
			for _, ix := range []*Index{whole, stopped} {
				if err := ix.Apply(b); err != nil {
					t.Fatal(err)
				}
				if supply {
					l.supply(t, ix, uint64(i))
				}
			}
			if rapid.IntRange(0, 2).Draw(t, "stop") == 0 {
				before := saved(t, stopped)
				stopped = loaded(t, before)
				if !bytes.Equal(saved(t, stopped), before) {
					t.Fatal("what was loaded is saved as something else")
				}
			}
		}
		for _, g := range whole.Missing() {
			l.supply(t, whole, g.Block)
			l.supply(t, stopped, g.Block)
		}
		if got, want := l.everything(t, stopped), l.everything(t, whole); got != want {
			i := 0
			for i < min(len(got), len(want)) && got[i] == want[i] {
				i++
			}
			t.Fatalf("at byte %d: stopped\n%.300s\nnever stopped\n%.300s", i, got[i:], want[i:])
		}
		if !bytes.Equal(saved(t, stopped), saved(t, whole)) {
			t.Fatal("saved bytes differ")
		}
	})
}

// example is a saved index with something of everything.
func example(t testing.TB) []byte {
	l := newLedger()
	l.ready(3)
	l.ask(members[0], hour0, hour0+24, 0)
	l.changeKeys(l.patients[2], true)
	l.cut()
	l.erase(l.patients[1])
	l.cut()
	return saved(t, apply(t, l.blocks))
}

func TestADamagedIndexIsRefused(t *testing.T) {
	good := example(t)
	loaded(t, good)
	refused := func(what string, b []byte) {
		t.Helper()
		if _, err := Load(bytes.NewReader(b)); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := 0; i < len(good); i += 1 + len(good)/500 {
		bad := bytes.Clone(good)
		bad[i] ^= 4
		refused("a flipped bit", bad)
		refused("a part", good[:i])
	}
	refused("more than all", append(bytes.Clone(good), 0))
	refused("another version", append([]byte("vitalveil index 0"), good[len(savedMagic):]...))
	refused("no bytes", nil)
}

// What a patient's consents said is not in an index that is saved after the
// erasure; the names on the chain are.
func TestAttackReadAnErasedPatientsConsentsFromASavedIndex(t *testing.T) {
	l := newLedger()
	l.ready(2)
	salted := l.permit(l.patients[0], "AVeryPeculiarGrantee", hour0, hour0+10)
	l.consent(salted)
	l.cut()
	ix := apply(t, l.blocks)
	if !bytes.Contains(saved(t, ix), []byte("AVeryPeculiarGrantee")) {
		t.Fatal("the index has no such consent, so this test shows nothing")
	}
	l.erase(l.patients[0])
	l.cut()
	if err := ix.Apply(l.blocks[len(l.blocks)-1]); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(saved(t, ix), []byte("AVeryPeculiarGrantee")) {
		t.Error("it is still there")
	}
}

func TestOnlyAnIndexThatHasReadNothingResumes(t *testing.T) {
	l := newLedger()
	l.ready(1)
	ix := apply(t, l.blocks)
	if err := ix.Resume(loaded(t, saved(t, ix))); fault.Of(err) != fault.Conflict {
		t.Errorf("an index that has read blocks: %v", err)
	}
	fresh := blank()
	if err := fresh.Resume(loaded(t, saved(t, ix))); err != nil {
		t.Fatal(err)
	}
	height, hash := fresh.Head()
	if last := l.blocks[len(l.blocks)-1]; height != last.Number+1 || hash != last.Hash {
		t.Errorf("it goes on from block %d", height)
	}
	if !bytes.Equal(saved(t, loaded(t, saved(t, blank()))), saved(t, blank())) {
		t.Error("an empty index is not loaded as it was saved")
	}
}

// A block that was refused halfway has changed the index, so that it is not to be
// trusted, now or after a restart.
func TestAnIndexThatRefusedABlockIsNotSaved(t *testing.T) {
	l := newLedger()
	l.ready(1)
	ix := apply(t, l.blocks)
	l.patient()
	l.tx(put("not a key", 0))
	l.cut()
	for range 2 {
		if err := ix.Apply(l.blocks[len(l.blocks)-1]); fault.Of(err) != fault.Internal {
			t.Errorf("the block: %v", err)
		}
	}
	if err := ix.Save(io.Discard); fault.Of(err) != fault.Internal {
		t.Errorf("saved: %v", err)
	}
}

// FuzzLoad reads whatever bytes: they are refused, or they are an index that
// answers and takes blocks. The digest is made right, so that it does not guard
// what comes before it.
func FuzzLoad(f *testing.F) {
	good := example(f)
	f.Add(good[:len(good)-32])
	f.Add(saved(f, blank())[:len(savedMagic)+80])
	l := newLedger()
	l.ready(1)
	l.ask(members[0], hour0, hour0+24, 0)
	l.cut()
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := record.SumID(body)
		ix, err := Load(bytes.NewReader(slices.Concat(body, sum[:])))
		if err != nil {
			if fault.Of(err) != fault.Invalid {
				t.Fatal(err)
			}
			return
		}
		l.everything(t, ix)
		for _, d := range ix.Devices(0) {
			_, _ = ix.Receipts(d.ID, record.KindRow, 0, 1<<40)
			_, _ = ix.Reputation(d.ID)
		}
		for _, p := range ix.people.order {
			_, _ = ix.History(p)
		}
		height, hash := ix.Head()
		next := *l.blocks[0]
		next.Number, next.Previous = height, hash
		if err := ix.Save(io.Discard); err != nil {
			t.Fatal(err)
		}
		_ = ix.Apply(&next)
	})
}
