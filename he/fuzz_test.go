package he

import (
	"bytes"
	"errors"
	"testing"

	"github.com/vitalveil/vitalveil/he/opening"
)

// FuzzRow: whatever is accepted as a row encodes back to the same bytes, and a
// sum takes it.
func FuzzRow(f *testing.F) {
	p := defaultParams(f)
	d := newTestDevice(f, p, testContext)
	f.Add(d.seal(f, p, testContext, Window{}, smallRow(f, p, 1, 1)))
	f.Add(make([]byte, p.RowBytes()))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, row []byte) {
		if p.CheckRow(row) != nil {
			return
		}
		residues, err := p.unpack(row, p.Schema().Coefficients())
		if err != nil {
			t.Fatalf("CheckRow accepts what unpack does not: %v", err)
		}
		if !bytes.Equal(p.pack(residues), row) {
			t.Fatal("a row has two encodings")
		}
		if err := sumOf(t, p, 8, nil).Add(row); err != nil {
			t.Fatalf("CheckRow accepts what Sum.Add does not: %v", err)
		}
	})
}

// FuzzShare: shares of any number of coefficients, padding included, have one
// encoding.
func FuzzShare(f *testing.F) {
	p := defaultParams(f)
	f.Add(make([]byte, p.ShareBytes(1)), 1)
	f.Add(make([]byte, p.ShareBytes(6)), 6)
	f.Fuzz(func(t *testing.T, share []byte, coeffs int) {
		if coeffs < 1 || coeffs > p.Schema().Coefficients() {
			return
		}
		residues, err := p.unpack(share, coeffs)
		if err == nil && !bytes.Equal(p.pack(residues), share) {
			t.Fatal("a share has two encodings")
		}
	})
}

// FuzzSeedBlob: no blob that was not made by SealSeeds gives a seed.
func FuzzSeedBlob(f *testing.F) {
	p := defaultParams(f)
	list, keys := members(f)
	d := newTestDevice(f, p, testContext)
	good, err := p.SealSeeds(testContext, d.id, d.seeds, list)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, 0)
	f.Add(good[:len(good)-1], 1)
	f.Add([]byte(opening.Magic), 2)
	hashes := seedHashes(p, d)
	f.Fuzz(func(t *testing.T, blob []byte, member int) {
		if member < 0 || member >= len(keys) {
			return
		}
		seeds, err := p.OpenSeeds(testContext, d.id, member, list[member], keys[member], blob, hashes)
		if err != nil {
			return
		}
		for piece, s := range seeds {
			if s != d.seeds[piece] {
				t.Fatalf("a made-up seed of piece %d was accepted", piece)
			}
		}
	})
}

// FuzzColumns: what is stored in columns is added whole or refused whole.
func FuzzColumns(f *testing.F) {
	p := defaultParams(f)
	coeffs := p.schema.MetricCoefficients(2)
	columns, err := p.Columns(coeffs)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	f.Add(make([]byte, columns.Size()))
	f.Add(make([]byte, 2*columns.Size()+1))
	f.Fuzz(func(t *testing.T, packed []byte) {
		sum, err := p.NewSum(coeffs)
		if err != nil {
			t.Fatal(err)
		}
		if err := columns.AddTo(sum, packed); err != nil {
			if sum.Rows() != 0 || !errors.Is(err, ErrMalformed) {
				t.Fatalf("%d rows after %v", sum.Rows(), err)
			}
			return
		}
		if int(sum.Rows())*columns.Size() != len(packed) {
			t.Fatalf("%d rows of %d bytes", sum.Rows(), len(packed))
		}
		for i, r := range sum.acc {
			if r >= sum.primes[i] {
				t.Fatalf("residue %d is not reduced", i)
			}
		}
	})
}
