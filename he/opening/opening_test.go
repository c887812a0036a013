package opening

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"filippo.io/edwards25519"

	"github.com/vitalveil/vitalveil/internal/record"
)

var place = Place{Network: "test", Profile: "n8192-q212-t128", Device: record.SumID([]byte("device")), Piece: 1}

// member is a holder with an HPKE key.
type member struct {
	private hpke.PrivateKey
	secret  []byte
}

func newMember(t testing.TB) member {
	t.Helper()
	k, err := hpke.DHKEM(ecdh.X25519()).GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	b, err := k.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return member{k, b}
}

// sealed is a box as the standard library makes it, with the statement about it.
func (m member) sealed(t testing.TB, aad record.ID, seed []byte, hash record.ID) Statement {
	t.Helper()
	public := m.private.PublicKey()
	enc, s, err := hpke.NewSender(public, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(Purpose))
	if err != nil {
		t.Fatal(err)
	}
	ct, err := s.Seal(aad[:], seed)
	if err != nil {
		t.Fatal(err)
	}
	return Statement{Place: place, MSP: "A", Public: public.Bytes(), Box: append(enc, ct...), Hash: hash}
}

func (m member) prove(t testing.TB, s Statement) []byte {
	t.Helper()
	proof, err := Prove(m.secret, s)
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

func wants(t *testing.T, s Statement, proof []byte, want Finding) {
	t.Helper()
	if got, err := Verify(s, proof); err != nil || got != want {
		t.Errorf("finding %q, error %v, want %q", got, err, want)
	}
}

func refuses(t *testing.T, s Statement, proof []byte, want error) {
	t.Helper()
	if got, err := Verify(s, proof); !errors.Is(err, want) || got != "" {
		t.Errorf("finding %q, error %v, want %v", got, err, want)
	}
}

func seedBytes() []byte { return bytes.Repeat([]byte{7}, SeedBytes) }

func TestAComplaintAboutAnHonestBoxIsRefused(t *testing.T) {
	for range 20 { // both signs of every point
		m := newMember(t)
		s := m.sealed(t, place.Binding("A"), seedBytes(), place.SeedHash(seedBytes()))
		refuses(t, s, m.prove(t, s), ErrSound)
	}
}

func TestAWrongSeedIsFound(t *testing.T) {
	m := newMember(t)
	s := m.sealed(t, place.Binding("A"), seedBytes(), record.SumID([]byte("of another seed")))
	wants(t, s, m.prove(t, s), WrongSeed)
}

func TestABoxThatDoesNotOpenIsFound(t *testing.T) {
	m, other := newMember(t), newMember(t)
	good := m.sealed(t, place.Binding("A"), seedBytes(), place.SeedHash(seedBytes()))
	garbled := good
	garbled.Box = bytes.Clone(good.Box)
	garbled.Box[40] ^= 1
	elsewhere := m.sealed(t, place.Binding("B"), seedBytes(), good.Hash)
	foreign := other.sealed(t, place.Binding("A"), seedBytes(), good.Hash)
	foreign.Public = good.Public
	for _, s := range []Statement{garbled, elsewhere, foreign} {
		wants(t, s, m.prove(t, s), NotOpen)
	}
}

// special are u-coordinates that no honest sender makes, in hexadecimal, little
// endian.
var special = map[string]string{
	"zero":                "0000000000000000000000000000000000000000000000000000000000000000",
	"one":                 "0100000000000000000000000000000000000000000000000000000000000000",
	"order 8":             "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"order 8, the other":  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"minus one, twist":    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"p":                   "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"p plus one":          "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"nine, plus p":        "f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"nine, high bit set":  "0900000000000000000000000000000000000000000000000000000000000080",
	"two, which is twist": "0200000000000000000000000000000000000000000000000000000000000000",
}

func TestKeysThatNoSenderMakesAreFaultsWithoutProof(t *testing.T) {
	m := newMember(t)
	for name, text := range special {
		s := m.sealed(t, place.Binding("A"), seedBytes(), place.SeedHash(seedBytes()))
		u, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		copy(s.Box, u)
		if proof := m.prove(t, s); len(proof) != 0 {
			t.Errorf("%s: there is a proof", name)
		}
		if CheckBox(s.Box) == nil {
			t.Errorf("%s: the box passes", name)
		}
		if CheckKey(u) == nil {
			t.Errorf("%s: passes as a member's key", name)
		}
		wants(t, s, nil, BadKey)
	}
}

// A sender may add a point of small order to its encapsulated key: the box opens
// all the same, since private keys are multiples of eight, and the proof shows it.
func TestTorsionInTheEncapsulatedKeyChangesNothing(t *testing.T) {
	m := newMember(t)
	public, err := ecdh.X25519().NewPublicKey(m.private.PublicKey().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	enc := withTorsion(t, ephemeral.PublicKey().Bytes())
	dh, err := ephemeral.ECDH(public)
	if err != nil {
		t.Fatal(err)
	}
	s := Statement{Place: place, MSP: "A", Public: public.Bytes(), Hash: place.SeedHash(seedBytes())}
	s.Box = sealWith(t, dh, enc, s.Public, place.Binding("A"), seedBytes())
	refuses(t, s, m.prove(t, s), ErrSound)
	s.Hash = record.SumID(nil)
	wants(t, s, m.prove(t, s), WrongSeed)
}

// order8 is a point of order eight, (x, y) with the u-coordinate in special.
func order8(t *testing.T) *edwards25519.Point {
	t.Helper()
	u, err := hex.DecodeString(special["order 8"])
	if err != nil {
		t.Fatal(err)
	}
	p, err := lift(u, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func withTorsion(t *testing.T, u []byte) []byte {
	t.Helper()
	p, err := lift(u, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p.Add(p, order8(t)).BytesMontgomery()
}

// TestAttackForgedOpening: a member that wants an honest device out, or to
// reveal another dh than its own, has nothing that verifies.
func TestAttackForgedOpening(t *testing.T) {
	m, other := newMember(t), newMember(t)
	s := m.sealed(t, place.Binding("A"), seedBytes(), place.SeedHash(seedBytes()))
	proof := m.prove(t, s)
	for i := range proof {
		forged := bytes.Clone(proof)
		forged[i] ^= 1 << (i % 8)
		refuses(t, s, forged, ErrProof)
	}
	for name, forged := range map[string][]byte{
		"nothing": nil, "short": proof[1:], "long": append(bytes.Clone(proof), 0), "zeros": make([]byte, ProofBytes),
		"torsion in dh": slices.Concat(proof[:1], withTorsion(t, proof[1:33]), proof[33:]),
		"not reduced":   slices.Concat(proof[:33], bytes.Repeat([]byte{0xff}, 64)),
	} {
		t.Run(name, func(t *testing.T) { refuses(t, s, forged, ErrProof) })
	}
	if _, err := Prove(other.secret, s); err == nil {
		t.Error("another key proves an opening")
	}
}

// TestAttackTorsionInDH: the prover knows its key and hides a point of small
// order in DH. The equations hold for the challenges that are multiples of eight,
// which can be searched for; only the check of the order stops it.
func TestAttackTorsionInDH(t *testing.T) {
	m := newMember(t)
	s := m.sealed(t, place.Binding("A"), seedBytes(), place.SeedHash(seedBytes()))
	k, err := eighth(m.secret)
	if err != nil {
		t.Fatal(err)
	}
	e8, err := encapsulated(s.Box)
	if err != nil {
		t.Fatal(err)
	}
	newPoint := edwards25519.NewIdentityPoint
	pk := newPoint().ScalarMult(k, base8())
	dh := newPoint().ScalarMult(k, e8)
	dh.Add(dh, order8(t))
	for range 200 {
		r, err := s.nonce(m.secret)
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.challenge(pk, e8, dh, newPoint().ScalarMult(r, base8()), newPoint().ScalarMult(r, e8))
		if err != nil {
			t.Fatal(err)
		}
		minus := edwards25519.NewScalar().Negate(c)
		if minus.Bytes()[0]&7 != 0 {
			continue // -c*DH would show the torsion
		}
		answer := edwards25519.NewScalar().MultiplyAdd(c, k, r)
		again := newPoint().VarTimeMultiScalarMult([]*edwards25519.Scalar{answer, minus}, []*edwards25519.Point{e8, dh})
		if again.Equal(newPoint().ScalarMult(r, e8)) != 1 {
			t.Fatal("the forged equation does not hold: this test shows nothing")
		}
		proof := slices.Concat([]byte{sign(pk) | sign(dh)<<1}, dh.BytesMontgomery(), c.Bytes(), answer.Bytes())
		refuses(t, s, proof, ErrProof)
		return
	}
	t.Fatal("no challenge was a multiple of eight")
}

func TestAttackReplayedOpening(t *testing.T) {
	m := newMember(t)
	s := m.sealed(t, place.Binding("A"), seedBytes(), record.SumID(nil))
	proof := m.prove(t, s)
	wants(t, s, proof, WrongSeed)
	for name, change := range map[string]func(*Statement){
		"another device":  func(s *Statement) { s.Place.Device = record.SumID(nil) },
		"another piece":   func(s *Statement) { s.Place.Piece++ },
		"another epoch":   func(s *Statement) { s.Place.Epoch++ },
		"another network": func(s *Statement) { s.Place.Network += "x" },
		"another profile": func(s *Statement) { s.Place.Profile += "x" },
		"another member":  func(s *Statement) { s.MSP = "B" },
		"another hash":    func(s *Statement) { s.Hash[0] ^= 1 },
		"another text":    func(s *Statement) { s.Box = bytes.Clone(s.Box); s.Box[79] ^= 1 },
		"another box": func(s *Statement) {
			s.Box = m.sealed(t, place.Binding("A"), seedBytes(), s.Hash).Box
		},
		"another key": func(s *Statement) { s.Public = newMember(t).private.PublicKey().Bytes() },
	} {
		t.Run(name, func(t *testing.T) {
			s := s
			change(&s)
			refuses(t, s, proof, ErrProof)
		})
	}
}

// sealWith seals as RFC 9180 does, for a dh and an encapsulated key of choice.
func sealWith(t *testing.T, dh, enc, public []byte, aad record.ID, seed []byte) []byte {
	t.Helper()
	aead := cipherOf(t, dh, enc, public)
	return append(bytes.Clone(enc), aead.seal(seed, aad[:])...)
}

func TestBlobsHaveOneForm(t *testing.T) {
	blob := append([]byte(Magic), make([]byte, 2*BoxBytes)...)
	if _, err := Box(blob, 1, 2); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string][]byte{"empty": nil, "short": blob[1:], "long": append(blob, 0), "other": append([]byte("VVS2"), blob[4:]...)} {
		if _, err := Box(bad, 0, 2); !errors.Is(err, ErrBlob) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Box(blob, 2, 2); err == nil {
		t.Error("there is a third of two boxes")
	}
}

func FuzzVerify(f *testing.F) {
	m := newMember(f)
	s := m.sealed(f, place.Binding("A"), seedBytes(), place.SeedHash(seedBytes()))
	f.Add(s.Box, s.Public, m.prove(f, s))
	f.Add(s.Box, s.Public, []byte{})
	f.Fuzz(func(t *testing.T, box, public, proof []byte) {
		x := s
		x.Box, x.Public = box, public
		first, err := Verify(x, proof)
		again, errAgain := Verify(x, proof)
		if first != again || (err == nil) != (errAgain == nil) {
			t.Error("two verifiers disagree")
		}
		if err == nil && first != BadKey {
			t.Errorf("%q of a box that has no such proof", first)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	m := newMember(b)
	s := m.sealed(b, place.Binding("A"), seedBytes(), record.SumID(nil))
	proof := m.prove(b, s)
	for b.Loop() {
		if _, err := Verify(s, proof); err != nil {
			b.Fatal(err)
		}
	}
}
