package he

import (
	"fmt"
	"math/big"
	"sync"

	"github.com/tuneinsight/lattigo/v5/ring"

	"github.com/vitalveil/vitalveil/he/privacy"
)

// Params is a profile, a schema and a sharing that have been checked to be safe
// together, with what is computed from them once. It is safe for concurrent use.
type Params struct {
	profile Profile
	schema  *privacy.Schema
	kind    string  // of rows: profile, hours or days
	persons *Params // of the day row, if the schema has one
	sharing Sharing
	report  Report

	n       int
	rings   []*ring.SubRing // by prime
	scaler  scaler
	crt     crt
	days    *lru[*lazyPoly] // polynomials of days
	hours   *lru[*lazyPoly] // rotations, by set of hours of a day
	sums    *lru[poly]      // a_T by set of windows
	scratch sync.Pool       // *[]uint64 of n words
	streams sync.Pool       // *[together][]byte, for expanding pieces
}

const (
	cachedDays  = 32 // 256 kB each under DefaultProfile
	cachedHours = 32
	cachedSums  = 64
)

// New checks a profile with a schema and a sharing and prepares it. It refuses
// any that Report shows to be unsafe; the error says which bound is broken.
func New(p Profile, s *privacy.Schema, sh Sharing) (*Params, error) {
	if s == nil {
		return nil, fmt.Errorf("a profile needs a schema")
	}
	if sh.Pieces() == 0 {
		return nil, fmt.Errorf("the sharing was not made by NewSharing")
	}
	if err := p.wellFormed(s); err != nil {
		return nil, fmt.Errorf("profile %s: %w", p.Name, err)
	}
	p.Primes = append([]uint64(nil), p.Primes...)
	report, err := assess(p, s, sh)
	if err != nil {
		return nil, fmt.Errorf("profile %s is not safe: %w", p.Name, err)
	}
	n := 1 << p.LogN
	r, err := ring.NewRing(n, p.Primes)
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", p.Name, err)
	}
	params := &Params{
		profile: p, schema: s, sharing: sh, report: report, n: n,
		rings: r.SubRings, scaler: newScaler(p.Primes), crt: newCRT(p.Primes),
		days: newLRU[*lazyPoly](cachedDays), hours: newLRU[*lazyPoly](cachedHours), sums: newLRU[poly](cachedSums),
	}
	params.kind = p.Name
	if s.Daily() {
		params.kind += "/day"
	}
	if day := s.Day(); day != nil {
		if params.persons, err = New(p, day, sh); err != nil {
			return nil, err
		}
	}
	params.streams.New = func() any {
		var s [together][]byte
		for i := range s {
			s[i] = make([]byte, params.digits()+shakeRate)
		}
		return &s
	}
	params.scratch.New = func() any { b := make([]uint64, n); return &b }
	return params, nil
}

// Profile returns the profile.
func (p *Params) Profile() Profile {
	c := p.profile
	c.Primes = append([]uint64(nil), c.Primes...)
	return c
}

// Schema returns the row schema.
func (p *Params) Schema() *privacy.Schema { return p.schema }

// Day returns the parameters under which the day rows of the schema are sealed and
// opened, nil if it has none. They are for the same devices, seeds and holders; rows,
// sums and shares of one never fit the other.
func (p *Params) Day() *Params { return p.persons }

// Sharing returns how secrets are split.
func (p *Params) Sharing() Sharing { return p.sharing }

// Safety returns the margins that New computed.
func (p *Params) Safety() Report { return p.report }

// RowBytes is the length of a sealed row.
func (p *Params) RowBytes() int { return p.packedBytes(p.schema.Coefficients()) }

// ShareBytes is the length of a share of the given number of coefficients.
func (p *Params) ShareBytes(coeffs int) int { return p.packedBytes(coeffs) }

// wellFormed checks the form of a profile; whether it is safe is assess's.
func (p Profile) wellFormed(s *privacy.Schema) error {
	if p.Name == "" || len(p.Name) > 64 {
		return fmt.Errorf("its name has %d bytes, 1 to 64 are allowed", len(p.Name))
	}
	if p.LogN < 10 || p.LogN > 15 || s.Coefficients() > 1<<p.LogN/hoursPerDay {
		return fmt.Errorf("ring degree 2^%d is not from 2^10 to 2^15, or a day's %d rows of %d coefficients are above it", p.LogN, hoursPerDay, s.Coefficients())
	}
	if p.PayloadBits != privacy.PayloadBits {
		return fmt.Errorf("payloads have %d bits, the schema's have %d", p.PayloadBits, privacy.PayloadBits)
	}
	if p.ResidueBits < 30 || p.ResidueBits > maxResidueBits || len(p.Primes) < 1 || len(p.Primes) > 8 {
		return fmt.Errorf("1 to 8 primes of 30 to %d bits are allowed, not %d of %d", maxResidueBits, len(p.Primes), p.ResidueBits)
	}
	if p.FloodBits < 1 || p.FloodBits > 126 || p.MaxRows < 1 || p.MaxRows > 1<<privacy.RowBits {
		return fmt.Errorf("flood of %d bits or %d rows in a sum is out of range", p.FloodBits, p.MaxRows)
	}
	for i, q := range p.Primes {
		x := new(big.Int).SetUint64(q)
		if x.BitLen() != p.ResidueBits || !x.ProbablyPrime(32) {
			return fmt.Errorf("%d is not a prime of %d bits", q, p.ResidueBits)
		}
		if q&(1<<(p.LogN+1)-1) != 1 {
			return fmt.Errorf("%d is not 1 modulo 2^%d", q, p.LogN+1)
		}
		for _, other := range p.Primes[:i] {
			if other == q {
				return fmt.Errorf("%d is there twice", q)
			}
		}
	}
	return nil
}
