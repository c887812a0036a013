package verifier

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
)

// maxInput and maxAllocated bound what a guard is tried with and what it may take.
const (
	maxInput     = 1 << 16
	maxAllocated = 1 << 20
)

// allocated is what f allocates in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A key's counts say how much gnark's parser allocates (GHSA-cph5-3pgr-c82g,
// CVE-2024-50354), and how many commitments its verifier combines
// (GHSA-q3hw-3gm4-w5cr, CVE-2024-45039). Both are refused before the parser runs, also in
// keys that the network is said to have accepted.
func TestAttackKeyWithOtherCounts(t *testing.T) {
	f, _ := readFixture(t)
	places := map[string]int{
		"inputs": keyPoints, "commitments' inputs": keyInputs, "committed inputs": keyInputs + 4, "commitments": keyInputs + 8 + 3*inputNumber,
	}
	for name, at := range places {
		for _, n := range []uint32{0, 2, 17, 1 << 16, 1<<31 - 1, 1<<32 - 1} {
			vk := bytes.Clone(f.VerifyingKey)
			binary.BigEndian.PutUint32(vk[at:], n)
			refusesKey(t, name, vk)
		}
	}
	for _, n := range []uint64{0, PublicInputs + 1, 1 << 32, 1<<64 - 1} {
		vk := bytes.Clone(f.VerifyingKey)
		binary.BigEndian.PutUint64(vk[keyInputs+8:], n)
		refusesKey(t, "the number of a committed input", vk)
	}
	for _, vk := range [][]byte{make([]byte, keyBytes), bytes.Repeat([]byte{0xff}, keyBytes+3*inputNumber), make([]byte, maxInput)} {
		refusesKey(t, "nothing of a key", vk)
	}
	for n := range len(f.VerifyingKey) {
		refusesKey(t, "cut short", f.VerifyingKey[:n])
	}
}

func refusesKey(t *testing.T, name string, vk []byte) {
	t.Helper()
	var err error
	n := allocated(func() { _, err = NewVerifier("day", vk, record.SumID(vk)) })
	if !errors.Is(err, ErrKey) {
		t.Errorf("%s: %v, want ErrKey", name, err)
	}
	if n > maxAllocated {
		t.Errorf("%s: %d bytes allocated", name, n)
	}
}

// Whatever the bytes, reading a key does not panic and takes no more than the bound.
func FuzzVerifyingKey(f *testing.F) {
	fix, _ := readFixture(f)
	f.Add(fix.VerifyingKey)
	f.Add(fix.VerifyingKey[:keyBytes])
	f.Fuzz(func(t *testing.T, vk []byte) {
		if len(vk) > maxInput {
			return
		}
		if n := allocated(func() { NewVerifier("day", vk, record.SumID(vk)) }); n > maxAllocated {
			t.Errorf("%d bytes allocated", n)
		}
	})
}

// So with proofs, alone and in a batch.
func TestNoInputTakesMemory(t *testing.T) {
	f, v := readFixture(t)
	for name, proof := range map[string][]byte{
		"zeros": make([]byte, maxInput), "ones": bytes.Repeat([]byte{0xff}, maxInput),
		"a proof, repeated": bytes.Repeat(f.Proof, maxInput/ProofBytes),
		"the length of one": bytes.Repeat([]byte{0x80}, ProofBytes),
	} {
		for how, verify := range map[string]func() error{
			"alone": func() error { return v.Verify(f.Statement, proof) },
			"batch": func() error { return v.VerifyAll([]Claim{{f.Statement, f.Proof}, {f.Statement, proof}})[1] },
		} {
			var err error
			n := allocated(func() { err = verify() })
			if !errors.Is(err, ErrMalformed) || n > maxAllocated {
				t.Errorf("%s, %s: %v, %d bytes allocated", name, how, err, n)
			}
		}
	}
}
