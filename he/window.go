package he

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
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
	if err := p.checkWindow(w); err != nil {
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

// hoursPerDay windows share one polynomial: that of their day and correction. An
// hour's is that polynomial divided by x^(hour of the day * stride), which brings
// the hour's own coefficients to the front. So the rows of a day are different
// coefficients of one RLWE sample, and a day costs one expansion and one product.
const hoursPerDay = 24

// A day row has a polynomial of its own, under a domain of its own: it is no stretch of
// the one of the hours.

// rowsPerDay is how many windows a day has.
func (p *Params) rowsPerDay() int {
	if p.schema.Daily() {
		return 1
	}
	return hoursPerDay
}

// RowHours is how many hours a row is about: 1, or 24 of day rows.
func (p *Params) RowHours() int64 { return int64(hoursPerDay / p.rowsPerDay()) }

// Windows goes through the windows of a cohort's member, whose ranges are hours.
func (p *Params) Windows(m record.CohortMember) iter.Seq[Window] {
	return func(yield func(Window) bool) {
		for _, r := range m.Ranges {
			for h := r[0]; h < r[1]; h += p.RowHours() {
				if !yield(Window{Hour: h}) {
					return
				}
			}
		}
		for _, c := range m.Corrections {
			if !yield(Window{Hour: c[0], Correction: uint8(c[1])}) {
				return
			}
		}
	}
}

// day is what the polynomial of a window is derived from.
type day struct {
	number     int64 // Unix day, rounded down
	correction uint8
}

// split returns the window's day and its hour in it.
func (w Window) split() (day, int) {
	number := w.Hour / hoursPerDay
	if w.Hour%hoursPerDay < 0 {
		number--
	}
	return day{number, w.Correction}, int(w.Hour - number*hoursPerDay)
}

// stride is the number of a day polynomial's coefficients that an hour has to
// itself. It follows from the ring alone, so that no change of schema makes two
// hours overlap.
func (p *Params) stride() int { return p.n / hoursPerDay }

// expandWindow derives a_t, as coefficients: a rotation of the day's, with the sign
// of what goes around changed.
func (p *Params) expandWindow(network string, w Window) poly {
	d, hour := w.split()
	a, of := p.newPoly(), p.expandDay(network, d)
	shift := hour * p.stride()
	for l, q := range p.profile.Primes {
		copy(a[l], of[l][shift:])
		for i, c := range of[l][:shift] {
			a[l][p.n-shift+i] = reduceOnce(q-c, q)
		}
	}
	return a
}

// expandDay derives a day's polynomial, as coefficients. Each prime has a stream of
// its own: 7 bytes make a candidate of ResidueBits bits, which counts if it is below
// the prime.
func (p *Params) expandDay(network string, d day) poly {
	a := p.newPoly()
	for l, q := range p.profile.Primes {
		x := xof128("window", p.dayID(network, d, l), nil)
		fillUniform(x.Read, a[l], q, p.profile.ResidueBits)
	}
	return a
}

func (p *Params) dayID(network string, d day, prime int) record.ID {
	domain := domainWindow
	if p.schema.Daily() {
		domain = domainDay
	}
	return record.Digest(domain, network, []any{p.profile.Name, d.number, d.correction, prime})
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

// day returns a day's polynomial, transformed, from the cache if it is there.
func (p *Params) day(network string, d day) poly {
	shared := p.days.getOrPut(p.dayID(network, d, 0), new(lazyPoly))
	shared.once.Do(func() {
		a := p.expandDay(network, d)
		for l, r := range p.rings {
			r.NTT(a[l], a[l])
		}
		shared.poly = a
	})
	return shared.poly
}

// hourSet is a set of hours of one day, by bits.
type hourSet uint32

// rotations returns the sum over a set of hours of x^(-hour*stride), transformed, in
// Montgomery form: a day's polynomial times it is the sum of the hours' polynomials.
func (p *Params) rotations(hours hourSet) poly {
	shared := p.hours.getOrPut(record.Digest(domainWindow, "", []any{"hours", uint32(hours)}), new(lazyPoly))
	shared.once.Do(func() {
		u := make([]int32, p.n)
		for hour := range hoursPerDay {
			switch {
			case hours>>hour&1 == 0:
			case hour == 0:
				u[0] = 1
			default:
				u[p.n-hour*p.stride()] = -1 // x^-k is -x^(n-k)
			}
		}
		shared.poly = p.transform(u)
	})
	return shared.poly
}

// windowSums returns a_T, transformed, for each of some sets of distinct windows:
// the sum of a_t over the set. It goes through the days once, however the sets
// overlap.
func (p *Params) windowSums(network string, sets [][]Window) []poly {
	type use struct {
		sum   poly
		hours hourSet
	}
	sums := make([]poly, len(sets))
	users := map[day][]use{}
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
		for d, hours := range byDay(set) {
			users[d] = append(users[d], use{sums[i], hours})
		}
	}
	for d, waiting := range users { // in any order: sums of residues are exact
		a := p.day(network, d)
		for _, u := range waiting {
			rotations := p.rotations(u.hours)
			for l, r := range p.rings {
				r.MulCoeffsMontgomeryThenAdd(a[l], rotations[l], u.sum[l])
			}
		}
	}
	for id, sum := range fresh {
		p.sums.getOrPut(id, sum)
	}
	return sums
}

func byDay(windows []Window) map[day]hourSet {
	days := map[day]hourSet{}
	for _, w := range windows {
		d, hour := w.split()
		days[d] |= 1 << hour
	}
	return days
}

func (p *Params) windowSetID(network string, windows []Window) record.ID {
	list := make([][2]int64, len(windows))
	for i, w := range windows {
		list[i] = [2]int64{w.Hour, int64(w.Correction)}
	}
	return record.Digest(domainWindow, network, []any{p.profile.Name, "sum", list})
}

// sortedWindows checks windows, refuses repeated ones and returns them in order.
func (p *Params) sortedWindows(windows []Window) ([]Window, error) {
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
		if err := p.checkWindow(w); err != nil {
			return nil, err
		}
		if i > 0 && w == sorted[i-1] {
			return nil, fmt.Errorf("window %d (correction %d) is there twice", w.Hour, w.Correction)
		}
	}
	return sorted, nil
}
