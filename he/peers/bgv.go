package main

import (
	"fmt"
	"math"

	"github.com/tuneinsight/lattigo/v5/core/rlwe"
	"github.com/tuneinsight/lattigo/v5/mhe"
	"github.com/tuneinsight/lattigo/v5/ring"
	"github.com/tuneinsight/lattigo/v5/schemes/bgv"
	"github.com/tuneinsight/lattigo/v5/utils/sampling"

	"github.com/vitalveil/vitalveil/he/privacy"
)

const (
	bgvMembers, bgvThreshold = 3, 2
	bgvFloodLog2             = 75
)

// collective is BGV under a collective public key, Shamir-shared 2 of 3; the sum is
// switched to the asker's key. A row is one ciphertext with a slot per value.
type collective struct {
	params     bgv.Parameters
	encoder    *bgv.Encoder
	encryptor  *rlwe.Encryptor
	evaluator  *bgv.Evaluator
	shares     []*rlwe.SecretKey // additive, of the members that answer
	asker      *rlwe.SecretKey
	askerKey   *rlwe.PublicKey
	halves     [9]int64
	rows       map[[2]int]*rlwe.Ciphertext
	plain      *rlwe.Plaintext
	ciphertext int // bytes, residues packed
}

func newCollective(int, int) (scheme, error) {
	primes := ring.NewNTTFriendlyPrimesGenerator(52, 1<<14)
	modulus, err := primes.NextDownstreamPrime()
	if err != nil {
		return nil, err
	}
	params, err := bgv.NewParametersFromLiteral(bgv.ParametersLiteral{LogN: 13, LogQ: []int{55, 55, 55}, PlaintextModulus: modulus})
	if err != nil {
		return nil, err
	}
	s := &collective{params: params, rows: map[[2]int]*rlwe.Ciphertext{}}
	public, err := s.generate()
	if err != nil {
		return nil, err
	}
	s.encoder, s.encryptor, s.evaluator = bgv.NewEncoder(params), rlwe.NewEncryptor(params, public), bgv.NewEvaluator(params, nil)
	s.plain = bgv.NewPlaintext(params, params.MaxLevel())
	s.asker, s.askerKey = rlwe.NewKeyGenerator(params).GenKeyPairNew()
	for slot := range s.halves {
		_, s.halves[slot] = maxima(slot)
	}
	for _, q := range params.Q() {
		s.ciphertext += 2 * params.N() * int(math.Ceil(math.Log2(float64(q)))) / 8
	}
	return s, nil
}

// generate runs the collective key generation and the threshold sharing, and keeps
// the additive shares of the first members.
func (s *collective) generate() (*rlwe.PublicKey, error) {
	generator := rlwe.NewKeyGenerator(s.params)
	protocol := mhe.NewPublicKeyGenProtocol(s.params)
	common, err := sampling.NewKeyedPRNG([]byte("common reference string"))
	if err != nil {
		return nil, err
	}
	reference, total := protocol.SampleCRP(common), protocol.AllocateShare()
	thresholdizer := mhe.NewThresholdizer(s.params)
	var points []mhe.ShamirPublicPoint
	var shamir []mhe.ShamirSecretShare
	for i := range bgvMembers {
		points = append(points, mhe.ShamirPublicPoint(i+1))
		shamir = append(shamir, thresholdizer.AllocateThresholdSecretShare())
	}
	for range points {
		secret, share := generator.GenSecretKeyNew(), protocol.AllocateShare()
		protocol.GenShare(secret, reference, &share)
		protocol.AggregateShares(share, total, &total)
		polynomial, err := thresholdizer.GenShamirPolynomial(bgvThreshold, secret)
		if err != nil {
			return nil, err
		}
		for j, point := range points {
			part := thresholdizer.AllocateThresholdSecretShare()
			thresholdizer.GenShamirSecretShare(point, polynomial, &part)
			if err := thresholdizer.AggregateShares(part, shamir[j], &shamir[j]); err != nil {
				return nil, err
			}
		}
	}
	active := points[:bgvThreshold]
	for i, point := range active {
		combiner := mhe.NewCombiner(*s.params.GetRLWEParameters(), point, points, bgvThreshold)
		secret := rlwe.NewSecretKey(s.params)
		if err := combiner.GenAdditiveShare(active, point, shamir[i], secret); err != nil {
			return nil, err
		}
		s.shares = append(s.shares, secret)
	}
	public := rlwe.NewPublicKey(s.params)
	protocol.GenPublicKey(total, reference, public)
	return public, nil
}

func (s *collective) Seal(device, at int, row hour) (int, error) {
	slots := make([]uint64, s.params.N())
	for slot, stats := range row {
		v := values(stats, s.halves[slot])
		copy(slots[slot*valuesPerMetric:], v[:])
	}
	if err := s.encoder.Encode(slots, s.plain); err != nil {
		return 0, err
	}
	c, err := s.encryptor.EncryptNew(s.plain)
	s.rows[[2]int{device, at}] = c
	return s.ciphertext, err
}

func (s *collective) Receive(int, int) error { return nil }

// Ask adds ciphertexts, switches the sum to the asker's key and decrypts it. All
// metrics are opened: keeping the others closed takes a mask and a multiplication.
func (s *collective) Ask(q query) (privacy.HourStats, error) {
	var none privacy.HourStats
	var total *rlwe.Ciphertext
	var err error
	q.each(func(d, h int) {
		row := s.rows[[2]int{d, h}]
		switch {
		case total == nil:
			total = row.CopyNew()
		case err == nil:
			err = s.evaluator.Add(total, row, total)
		}
	})
	if err != nil {
		return none, err
	}
	if total == nil {
		return none, fmt.Errorf("no rows")
	}
	sigma := math.Exp2(bgvFloodLog2)
	protocol, err := mhe.NewPublicKeySwitchProtocol(s.params, ring.DiscreteGaussian{Sigma: sigma, Bound: 6 * sigma})
	if err != nil {
		return none, err
	}
	combined := protocol.AllocateShare(total.Level())
	for _, secret := range s.shares {
		share := protocol.AllocateShare(total.Level())
		if err := s.genShare(protocol, secret, total, &share); err != nil {
			return none, err
		}
		if err := protocol.AggregateShares(share, combined, &combined); err != nil {
			return none, err
		}
	}
	switched := bgv.NewCiphertext(s.params, 1, total.Level())
	protocol.KeySwitch(total, combined, switched)
	slots := make([]uint64, s.params.N())
	if err := s.encoder.Decode(rlwe.NewDecryptor(s.params, s.asker).DecryptNew(switched), slots); err != nil {
		return none, err
	}
	return statsOf(slots[:valuesPerMetric], s.halves[0]), nil
}

// genShare makes a member's share. The library's sampler panics where a sample of the
// wide Gaussian is below 2^53, once in a few hundred shares; then it is tried again.
func (s *collective) genShare(protocol mhe.PublicKeySwitchProtocol, secret *rlwe.SecretKey, total *rlwe.Ciphertext, share *mhe.PublicKeySwitchShare) error {
	var failed any
	for range 10 {
		failed = nil
		func() {
			defer func() { failed = recover() }()
			protocol.GenShare(secret, s.askerKey, total, share)
		}()
		if failed == nil {
			return nil
		}
	}
	return fmt.Errorf("the library makes no share: %v", failed)
}
