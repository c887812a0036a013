package details

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/internal/record"
)

const testNetwork = "test-net"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestASealedValueOpensInItsPlaceAndNoOther(t *testing.T) {
	k, patient, value := NewKey(), record.RandomID(), []byte(`{"grantee":"HospitalA"}`)
	sealed := must(k.Seal(testNetwork, patient, "name", value))
	if got, err := k.Open(testNetwork, patient, "name", sealed); err != nil || !bytes.Equal(got, value) {
		t.Fatalf("%q, %v", got, err)
	}
	for what, open := range map[string]func() ([]byte, error){
		"another network": func() ([]byte, error) { return k.Open("other", patient, "name", sealed) },
		"another patient": func() ([]byte, error) { return k.Open(testNetwork, record.RandomID(), "name", sealed) },
		"another name":    func() ([]byte, error) { return k.Open(testNetwork, patient, "names", sealed) },
		"another key":     func() ([]byte, error) { return NewKey().Open(testNetwork, patient, "name", sealed) },
	} {
		if got, err := open(); !errors.Is(err, ErrSealed) || got != nil {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
}

func TestSealingIsTheSameForEveryEndorserAndUnlikeForUnlikeValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, patient := NewKey(), record.RandomID()
		a := rapid.SliceOfN(rapid.Byte(), 0, 700).Draw(t, "a")
		b := rapid.SliceOfN(rapid.Byte(), 0, 700).Draw(t, "b")
		first, again := must(k.Seal(testNetwork, patient, "n", a)), must(k.Seal(testNetwork, patient, "n", a))
		if !bytes.Equal(first, again) {
			t.Fatal("two endorsers would write different bytes")
		}
		if got := must(k.Open(testNetwork, patient, "n", first)); !bytes.Equal(got, a) {
			t.Fatalf("%x opens to %x", a, got)
		}
		if (len(first)-len(Magic)-ivBytes)%padBlock != 0 {
			t.Fatalf("%d bytes seal to %d, which says how long they are", len(a), len(first))
		}
		other := must(k.Seal(testNetwork, patient, "n", b))
		if !bytes.Equal(a, b) && bytes.Equal(first[len(Magic):len(Magic)+ivBytes], other[len(Magic):len(Magic)+ivBytes]) {
			t.Fatal("unlike values share an iv")
		}
	})
}

func TestAttackAlteredSealedValue(t *testing.T) {
	k, patient := NewKey(), record.RandomID()
	sealed := must(k.Seal(testNetwork, patient, "n", []byte("value")))
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := k.Open(testNetwork, patient, "n", changed); !errors.Is(err, ErrSealed) {
			t.Fatalf("a change of byte %d goes unnoticed: %v", i, err)
		}
	}
	for _, wrong := range [][]byte{nil, sealed[:20], sealed[:len(sealed)-1], append(bytes.Clone(sealed), 0), bytes.Repeat([]byte(Magic), 1<<19)} {
		if _, err := k.Open(testNetwork, patient, "n", wrong); !errors.Is(err, ErrSealed) {
			t.Errorf("%d bytes open: %v", len(wrong), err)
		}
	}
}

// The bytes are part of what ledgers keep, so they do not change unnoticed.
func TestSealedBytesAreTheOnesWrittenDown(t *testing.T) {
	k := must(ParseKey(bytes.Repeat([]byte{7}, KeyBytes)))
	sealed := must(k.Seal(testNetwork, record.ID{1}, "consentdetails", []byte("what the consent says")))
	if got := hex.EncodeToString(sealed[:40]); got != "76766431d8700fbdf77aa385b1c8c326af3a7eeab7640c05fb4803181959bdd21d4a7520023fcc20" {
		t.Errorf("sealed: %s", got)
	}
	if got := k.Digest(testNetwork).String(); got != "e6879c2dfa136687da41a79f346b04d4bcc1a73574290c6a3d2d81b9a5aaf30a" {
		t.Errorf("digest: %s", got)
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	k := NewKey()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		for _, v := range []any{k, &k, struct{ K Key }{k}, []Key{k}} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, hex.EncodeToString(k.secret[:4])) || strings.Contains(s, fmt.Sprint(k.secret[:3])) {
				t.Errorf("%s prints %s", verb, s)
			}
		}
	}
}

// seat is a member with the private half of its detail key.
type seat struct {
	record.Member
	private []byte
}

func newSeat(msp string) seat {
	k := must(ecdh.X25519().GenerateKey(rand.Reader))
	return seat{record.Member{MSP: msp, DetailKey: k.PublicKey().Bytes()}, k.Bytes()}
}

func TestEveryMemberOpensItsBoxAndOnlyThat(t *testing.T) {
	k, a, b, outsider := NewKey(), newSeat("A"), newSeat("B"), newSeat("C")
	r := Ref{Patient: record.RandomID(), Digest: k.Digest(testNetwork)}
	blob := must(SealBoxes(testNetwork, r.Patient, k, []record.Member{a.Member, b.Member, a.Member}))
	if of, err := BoxesOf(blob); err != nil || of != r.Patient || len(blob) != headerLen+2*boxLen {
		t.Fatalf("%d bytes of patient %s, %v", len(blob), of.Short(), err)
	}
	for _, m := range []seat{a, b} {
		if got, err := OpenBox(testNetwork, r, m.MSP, m.private, blob); err != nil || got != k {
			t.Errorf("%s: %v", m.MSP, err)
		}
	}
	if _, err := OpenBox(testNetwork, r, outsider.MSP, outsider.private, blob); !errors.Is(err, ErrNoBox) {
		t.Errorf("a member without a box: %v", err)
	}
	other := r
	other.Patient = record.RandomID()
	for what, err := range map[string]error{
		"another network":    second(OpenBox("other", r, "A", a.private, blob)),
		"another member":     second(OpenBox(testNetwork, r, "B", a.private, blob)),
		"another patient":    second(OpenBox(testNetwork, other, "A", a.private, blob)),
		"relabelled":         second(OpenBox(testNetwork, other, "A", a.private, relabelled(blob, other.Patient))),
		"another key signed": second(OpenBox(testNetwork, Ref{Patient: r.Patient, Digest: NewKey().Digest(testNetwork)}, "A", a.private, blob)),
		"cut off":            second(OpenBox(testNetwork, r, "A", a.private, blob[:len(blob)-1])),
	} {
		if !errors.Is(err, ErrBox) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func relabelled(blob []byte, patient record.ID) []byte {
	out := bytes.Clone(blob)
	copy(out[len(boxesMagic):], patient[:])
	return out
}

func FuzzBoxes(f *testing.F) {
	k, a := NewKey(), newSeat("A")
	r := Ref{Patient: record.RandomID(), Digest: k.Digest(testNetwork)}
	f.Add(must(SealBoxes(testNetwork, r.Patient, k, []record.Member{a.Member})))
	f.Add([]byte(boxesMagic))
	f.Fuzz(func(t *testing.T, blob []byte) {
		got, err := OpenBox(testNetwork, r, "A", a.private, blob)
		if err == nil && got != k {
			t.Error("another key came out than the patient signed")
		}
	})
}

func FuzzOpen(f *testing.F) {
	k, patient := NewKey(), record.RandomID()
	f.Add(must(k.Seal(testNetwork, patient, "n", []byte("value"))))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		value, err := k.Open(testNetwork, patient, "n", sealed)
		if err == nil && !bytes.Equal(must(k.Seal(testNetwork, patient, "n", value)), sealed) {
			t.Error("a value opens that was never sealed")
		}
	})
}
