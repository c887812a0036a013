package main

import (
	"crypto/rand"
	"math/big"

	"github.com/coinbase/kryptology/pkg/paillier"

	"github.com/vitalveil/vitalveil/he/privacy"
)

// paillierField is the width of a packed value: the largest of a metric, 2^24, and
// 2^30 rows.
const paillierField = 54

// pail is Paillier with one key holder; the library has no threshold form.
type pail struct {
	key    *paillier.SecretKey
	packed bool
	half   int64
	rows   map[[2]int][][]paillier.Ciphertext // by metric
}

// newPaillier makes a key from random primes. The library's own generation insists
// on safe primes, which takes minutes and changes no other figure.
func newPaillier(bits int, packed bool) func(int, int) (scheme, error) {
	return func(int, int) (scheme, error) {
		p, err := rand.Prime(rand.Reader, bits/2)
		if err != nil {
			return nil, err
		}
		q, err := rand.Prime(rand.Reader, bits/2)
		if err != nil {
			return nil, err
		}
		key, err := paillier.NewSecretKey(p, q)
		if err != nil {
			return nil, err
		}
		_, half := maxima(0)
		return &pail{key: key, packed: packed, half: half, rows: map[[2]int][][]paillier.Ciphertext{}}, nil
	}
}

func (s *pail) Seal(device, at int, row hour) (int, error) {
	size := 0
	var all [][]paillier.Ciphertext
	for slot, stats := range row {
		_, half := maxima(slot)
		v := values(stats, half)
		var plain []*big.Int
		if s.packed {
			plain = []*big.Int{pack(v[:])}
		} else {
			for _, x := range v {
				plain = append(plain, new(big.Int).SetUint64(x))
			}
		}
		var sealed []paillier.Ciphertext
		for _, m := range plain {
			c, _, err := s.key.Encrypt(m)
			if err != nil {
				return 0, err
			}
			sealed = append(sealed, c)
			size += (s.key.N2.BitLen() + 7) / 8
		}
		all = append(all, sealed)
	}
	s.rows[[2]int{device, at}] = all
	return size, nil
}

func pack(v []uint64) *big.Int {
	x := new(big.Int)
	for i := len(v) - 1; i >= 0; i-- {
		x.Lsh(x, paillierField).Add(x, new(big.Int).SetUint64(v[i]))
	}
	return x
}

func unpack(x *big.Int) []uint64 {
	v := make([]uint64, valuesPerMetric)
	mask := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), paillierField), big.NewInt(1))
	for i := range v {
		v[i] = new(big.Int).And(x, mask).Uint64()
		x = new(big.Int).Rsh(x, paillierField)
	}
	return v
}

func (s *pail) Receive(int, int) error { return nil }

func (s *pail) Ask(q query) (privacy.HourStats, error) {
	var total []paillier.Ciphertext
	var err error
	q.each(func(d, h int) {
		row := s.rows[[2]int{d, h}][0]
		if total == nil {
			total = append(total, row...)
			return
		}
		for i, c := range row {
			if err == nil {
				total[i], err = s.key.Add(total[i], c)
			}
		}
	})
	if err != nil {
		return privacy.HourStats{}, err
	}
	var v []uint64
	for _, c := range total {
		m, err := s.key.Decrypt(c)
		if err != nil {
			return privacy.HourStats{}, err
		}
		if s.packed {
			v = unpack(m)
		} else {
			v = append(v, m.Uint64())
		}
	}
	return statsOf(v, s.half), nil
}
