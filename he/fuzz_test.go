package he

import (
	"bytes"
	"testing"
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
	f.Add([]byte(seedBlobMagic), 2)
	hashes := seedHashes(p, d)
	f.Fuzz(func(t *testing.T, blob []byte, member int) {
		if member < 0 || member >= len(keys) {
			return
		}
		seeds, err := p.OpenSeeds(testContext, d.id, member, list[member].MSP, keys[member], blob, hashes)
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
