package he

import (
	"fmt"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Profile fixes the ring and the budget of a sealed coefficient. Its name is part
// of every hash and every expansion, so that nothing made under one profile means
// anything under another. Use one of Profiles; New refuses a profile
// that is not safe.
type Profile struct {
	Name string
	// LogN is the binary logarithm of the ring degree.
	LogN int
	// Primes are the factors of Q: distinct, of ResidueBits bits, 1 modulo 2N.
	Primes      []uint64
	ResidueBits int
	// PayloadBits is the binary logarithm of T. It is 128, the schema's.
	PayloadBits int
	// FloodBits: the flood of a piece is uniform in [-2^FloodBits, 2^FloodBits).
	FloodBits int
	// MaxRows is the largest number of rows in one sum.
	MaxRows int64
}

// DefaultProfile is "n8192-q212-t128": N = 8192, four primes of 53 bits, for up
// to three pieces (2 of 3 members). The primes are the largest below 2^53 that
// are 1 modulo 2N.
func DefaultProfile() Profile {
	return Profile{
		Name: "n8192-q212-t128", LogN: 13, ResidueBits: 53,
		Primes:      []uint64{9007199254429697, 9007199254364161, 9007199254331393, 9007199253921793},
		PayloadBits: 128, FloodBits: 81, MaxRows: 720_000_000,
	}
}

// TightProfile is "n8192-q212-t128-f80": DefaultProfile with one bit less of
// flooding, so that up to seven pieces fit (2 of 4 to 2 of 7, 3 of 4, and n of n).
// The distance that flooding leaves is still below the limit, with less to spare.
func TightProfile() Profile {
	p := DefaultProfile()
	p.Name, p.FloodBits = "n8192-q212-t128-f80", 80
	return p
}

// WideProfile is "n16384-q224-t128": N = 16384, four primes of 56 bits. It costs
// 6 % more bytes and twice the work, has far more than 128-bit security and room
// for the pieces of larger consortia.
func WideProfile() Profile {
	return Profile{
		Name: "n16384-q224-t128", LogN: 14, ResidueBits: 56,
		Primes:      []uint64{72057594037370881, 72057594037338113, 72057594036879361, 72057594036551681},
		PayloadBits: 128, FloodBits: 88, MaxRows: 720_000_000,
	}
}

// Profiles returns the profiles of this package, the cheapest first. Of those that
// New accepts for a sharing the first is the one to take.
func Profiles() []Profile {
	return []Profile{DefaultProfile(), TightProfile(), WideProfile()}
}

// ProfileByName finds a profile of this package by the name that a network's
// genesis gives.
func ProfileByName(name string) (Profile, bool) {
	for _, p := range Profiles() {
		if p.Name == name {
			return p, true
		}
	}
	return Profile{}, false
}

// ForNetwork makes the sealing parameters that a network's genesis names, or an epoch
// whose members, threshold and profile are in their place in it.
func ForNetwork(g record.Genesis) (*Params, error) {
	sharing, err := NewSharing(len(g.Members), g.Threshold)
	if err != nil {
		return nil, err
	}
	schema, ok := privacy.SchemaByDigest(g.Schema)
	if !ok {
		return nil, fmt.Errorf("the network uses row schema %s, which this program does not know", g.Schema.Short())
	}
	profile, ok := ProfileByName(g.Profile)
	if !ok {
		return nil, fmt.Errorf("the network uses sealing profile %q, which this program does not know", g.Profile)
	}
	return New(profile, schema, sharing)
}
