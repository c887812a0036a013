package opening

import (
	"bytes"
	"errors"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
)

// FuzzBoxes: whatever the bytes, a blob is parsed whole, for its own device, or is a
// Fault; it then has one encoding.
func FuzzBoxes(f *testing.F) {
	device := record.SumID([]byte("device"))
	f.Add(Blob(device, [][]byte{make([]byte, BoxBytes)}), uint8(1))
	f.Add(Blob(record.ID{}, [][]byte{make([]byte, BoxBytes)}), uint8(1))
	f.Add([]byte(Magic), uint8(0))
	f.Fuzz(func(t *testing.T, blob []byte, n uint8) {
		of, known := BlobDevice(blob)
		boxes, err := Boxes(blob, device, int(n))
		if err != nil {
			if fault := Fault(""); !errors.As(err, &fault) {
				t.Fatal(err)
			}
			return
		}
		if n > 0 && (!known || of != device) {
			t.Fatalf("the blob of one device is of %s", of)
		}
		if len(boxes) != int(n) || !bytes.Equal(Blob(device, boxes), blob) {
			t.Fatal("a blob has two encodings")
		}
	})
}

// FuzzCheck: no box passes but those that were sealed, and all agree on it.
func FuzzCheck(f *testing.F) {
	h := newHolder(f)
	a := seedPlace.To(h.Member)
	good := sealed(f, a)
	f.Add(good)
	f.Add(good[:sealedBytes])
	f.Add(sealed(f, keyPlace.To(h.Member)))
	f.Fuzz(func(t *testing.T, box []byte) {
		if err := a.Check(box); (err == nil) != bytes.Equal(box, good) {
			t.Fatalf("%v", err)
		}
	})
}

func FuzzExamine(f *testing.F) {
	h := newHolder(f)
	a := seedPlace.To(h.Member)
	good, hash := sealed(f, a), a.hash(secretBytes())
	f.Add(good, a.public, complains(f, h, a, good, otherHash))
	f.Add(good, a.public, []byte{})
	f.Fuzz(func(t *testing.T, box, public, proof []byte) {
		x := a
		x.public = public
		first, err := x.Examine(box, hash, proof)
		again, errAgain := x.Examine(box, hash, proof)
		if first != again || (err == nil) != (errAgain == nil) {
			t.Error("two who examine it disagree")
		}
		if err == nil && first != BadKey && first != BadProof {
			t.Errorf("%q of a box that has no such proof", first)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	a := seedPlace.To(newHolder(b).Member)
	for b.Loop() {
		if _, err := a.Seal(secretBytes()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkProve is the sender's proof alone.
func BenchmarkProve(b *testing.B) {
	a := seedPlace.To(newHolder(b).Member)
	k, box := ephemeralKey(b), sealed(b, a)
	for b.Loop() {
		if _, err := a.proveSealing(k, make([]byte, 64), box[:sealedBytes]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	a := seedPlace.To(newHolder(b).Member)
	box := sealed(b, a)
	for b.Loop() {
		if err := a.Check(box); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExamine(b *testing.B) {
	h := newHolder(b)
	a := seedPlace.To(h.Member)
	box := sealed(b, a)
	proof := complains(b, h, a, box, otherHash)
	for b.Loop() {
		if _, err := a.Examine(box, otherHash, proof); err != nil {
			b.Fatal(err)
		}
	}
}
