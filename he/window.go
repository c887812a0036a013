package he

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/vitalveil/vitalveil/internal/record"
)

// poly is a ring element: per prime, n residues. One that is in a cache is never
// written to again.
type poly [][]uint64

func (p *Params) newPoly() poly {
	words := make([]uint64, p.n*len(p.rings))
	a := make(poly, len(p.rings))
	for l := range a {
		a[l] = words[l*p.n : (l+1)*p.n]
	}
	return a
}

// WindowDigest identifies the public polynomial of a window: SHA-256 of its
// coefficients, prime by prime, as little-endian 64-bit words. It lets other
// implementations check theirs.
func (p *Params) WindowDigest(network string, w Window) (record.ID, error) {
	if err := (Context{Network: network}).check(); err != nil {
		return record.ID{}, err
	}
	if err := w.check(); err != nil {
		return record.ID{}, err
	}
	h := sha256.New()
	for _, limb := range p.expandWindow(network, w) {
		for _, c := range limb {
			h.Write(binary.LittleEndian.AppendUint64(nil, c))
		}
	}
	return record.ID(h.Sum(nil)), nil
}

// expandWindow derives a_t, as coefficients. Each prime has a stream of its own:
// 7 bytes make a candidate of ResidueBits bits, which counts if it is below the
// prime.
func (p *Params) expandWindow(network string, w Window) poly {
	a := p.newPoly()
	for l, q := range p.profile.Primes {
		x := xof128("window", p.windowID(network, w, l), nil)
		fillUniform(x.Read, a[l], q, p.profile.ResidueBits)
	}
	return a
}

func (p *Params) windowID(network string, w Window, prime int) record.ID {
	return record.Digest(domainWindow, network, []any{p.profile.Name, w.Hour, w.Correction, prime})
}

func fillUniform(read func([]byte) (int, error), out []uint64, q uint64, bits int) {
	const size, batch = 7, 1024
	var buf [size*batch + 1]byte // one more byte, so that a word can be loaded anywhere
	mask := uint64(1)<<bits - 1
	for done := 0; done < len(out); {
		read(buf[:size*batch])
		for i := 0; i < batch && done < len(out); i++ {
			if v := binary.LittleEndian.Uint64(buf[size*i:]) & mask; v < q {
				out[done] = v
				done++
			}
		}
	}
}

// lazyPoly is a polynomial that is computed once, by the first who needs it.
type lazyPoly struct {
	once sync.Once
	poly poly
}

// window returns a_t, transformed, from the cache if it is there.
func (p *Params) window(network string, w Window) poly {
	shared := p.windows.getOrPut(p.windowID(network, w, 0), new(lazyPoly))
	shared.once.Do(func() {
		a := p.expandWindow(network, w)
		for l, r := range p.rings {
			r.NTT(a[l], a[l])
		}
		shared.poly = a
	})
	return shared.poly
}

// windowSums returns a_T, transformed, for each of some sets of distinct windows:
// the sum of a_t over the set. It goes through the windows once, however the sets
// overlap.
func (p *Params) windowSums(network string, sets [][]Window) []poly {
	sums := make([]poly, len(sets))
	users := map[Window][]poly{}
	fresh := map[record.ID]poly{}
	for i, set := range sets {
		id := p.windowSetID(network, set)
		if sum, ok := p.sums.get(id); ok {
			sums[i] = sum
			continue
		}
		if sum, ok := fresh[id]; ok {
			sums[i] = sum
			continue
		}
		sums[i] = p.newPoly()
		fresh[id] = sums[i]
		for _, w := range set {
			users[w] = append(users[w], sums[i])
		}
	}
	for w, waiting := range users { // in any order: sums of residues are exact
		a := p.window(network, w)
		for _, sum := range waiting {
			for l, r := range p.rings {
				r.Add(sum[l], a[l], sum[l])
			}
		}
	}
	for id, sum := range fresh {
		p.sums.getOrPut(id, sum)
	}
	return sums
}

func (p *Params) windowSetID(network string, windows []Window) record.ID {
	list := make([][2]int64, len(windows))
	for i, w := range windows {
		list[i] = [2]int64{w.Hour, int64(w.Correction)}
	}
	return record.Digest(domainWindow, network, []any{p.profile.Name, "sum", list})
}

// sortedWindows checks windows, refuses repeated ones and returns them in order.
func sortedWindows(windows []Window) ([]Window, error) {
	sorted := slices.Clone(windows)
	slices.SortFunc(sorted, func(a, b Window) int {
		if a.Hour != b.Hour {
			if a.Hour < b.Hour {
				return -1
			}
			return 1
		}
		return int(a.Correction) - int(b.Correction)
	})
	for i, w := range sorted {
		if err := w.check(); err != nil {
			return nil, err
		}
		if i > 0 && w == sorted[i-1] {
			return nil, fmt.Errorf("window %d (correction %d) is there twice", w.Hour, w.Correction)
		}
	}
	return sorted, nil
}
