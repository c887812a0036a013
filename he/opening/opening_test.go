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

var (
	seedPlace = SeedPlace{Network: "test", Profile: "n8192-q212-t128", Device: record.SumID([]byte("device")), Piece: 1}
	keyPlace  = KeyPlace{Network: "test", Piece: 1, From: "B"}
)

// holder is a member with one private key.
type holder struct {
	record.Member
	private []byte
}

func newHolder(t testing.TB) holder {
	t.Helper()
	k := ephemeralKey(t)
	public := k.PublicKey().Bytes()
	return holder{record.Member{MSP: "A", SeedKey: public, PieceKey: public}, k.Bytes()}
}

func ephemeralKey(t testing.TB) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func secretBytes() []byte { return bytes.Repeat([]byte{7}, SecretBytes) }

var otherHash = record.SumID([]byte("of another secret"))

func sealed(t testing.TB, a Address) []byte {
	t.Helper()
	box, err := a.Seal(secretBytes())
	if err != nil {
		t.Fatal(err)
	}
	return box
}

// resealed is a box with another text under its own key, proven by its sender.
func resealed(t testing.TB, a Address, change func(text []byte)) []byte {
	t.Helper()
	k := ephemeralKey(t)
	box, err := a.seal(k, make([]byte, 64), secretBytes())
	if err != nil {
		t.Fatal(err)
	}
	change(box[keyBytes:sealedBytes])
	proof, err := a.proveSealing(k, make([]byte, 64), box[:sealedBytes])
	if err != nil {
		t.Fatal(err)
	}
	return append(box[:sealedBytes], proof...)
}

func complains(t testing.TB, h holder, a Address, box []byte, hash record.ID) []byte {
	t.Helper()
	proof, err := a.Complain(h.private, box, hash)
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

func wants(t *testing.T, a Address, box []byte, hash record.ID, proof []byte, want Fault) {
	t.Helper()
	if got, err := a.Examine(box, hash, proof); err != nil || got != want {
		t.Errorf("fault %q, error %v, want %q", got, err, want)
	}
}

func refuses(t *testing.T, a Address, box []byte, hash record.ID, proof []byte, want error) {
	t.Helper()
	if got, err := a.Examine(box, hash, proof); !errors.Is(err, want) || got != "" {
		t.Errorf("fault %q, error %v, want %v", got, err, want)
	}
}

func TestABoxOpensForItsRecipientAndPlace(t *testing.T) {
	for name, a := range map[string]func(holder) Address{
		"seed": func(h holder) Address { return seedPlace.To(h.Member) },
		"key":  func(h holder) Address { return keyPlace.To(h.Member) },
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // both signs of every point
				h := newHolder(t)
				a := a(h)
				box, hash := sealed(t, a), a.hash(secretBytes())
				if len(box) != BoxBytes {
					t.Fatalf("%d bytes", len(box))
				}
				if got, err := a.Open(h.private, box, hash); err != nil || !bytes.Equal(got, secretBytes()) {
					t.Fatalf("%x, %v", got, err)
				}
				if _, err := a.Complain(h.private, box, hash); !errors.Is(err, ErrSound) {
					t.Errorf("there is a complaint about an honest box: %v", err)
				}
				if _, err := a.Open(newHolder(t).private, box, hash); err == nil {
					t.Error("another key opens it")
				}
			}
		})
	}
}

// The standard library is another implementation of RFC 9180.
func TestBoxesAreHPKE(t *testing.T) {
	h := newHolder(t)
	a := seedPlace.To(h.Member)
	kem := hpke.DHKEM(ecdh.X25519())
	private, err := kem.NewPrivateKey(h.private)
	if err != nil {
		t.Fatal(err)
	}
	box := sealed(t, a)
	r, err := hpke.NewRecipient(box[:keyBytes], private, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(a.info))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Open(a.place[:], box[keyBytes:sealedBytes]); err != nil || !bytes.Equal(got, secretBytes()) {
		t.Errorf("the standard library opens it to %x, %v", got, err)
	}
	enc, s, err := hpke.NewSender(private.PublicKey(), hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(a.info))
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.Seal(a.place[:], secretBytes())
	if err != nil {
		t.Fatal(err)
	}
	theirs := slices.Concat(enc, text, make([]byte, sealingBytes))
	if got, err := a.unseal(dhOf(t, h, theirs), theirs, a.hash(secretBytes())); err != nil || !bytes.Equal(got, secretBytes()) {
		t.Errorf("what the standard library sealed opens to %x, %v", got, err)
	}
}

func dhOf(t testing.TB, h holder, box []byte) []byte {
	t.Helper()
	k, err := ecdh.X25519().NewPrivateKey(h.private)
	if err != nil {
		t.Fatal(err)
	}
	enc, err := ecdh.X25519().NewPublicKey(box[:keyBytes])
	if err != nil {
		t.Fatal(err)
	}
	dh, err := k.ECDH(enc)
	if err != nil {
		t.Fatal(err)
	}
	return dh
}

func TestFaultsOfWhatIsSealedAreShown(t *testing.T) {
	h := newHolder(t)
	a := seedPlace.To(h.Member)
	hash := a.hash(secretBytes())
	box := sealed(t, a)
	wants(t, a, box, otherHash, complains(t, h, a, box, otherHash), WrongSecret)
	garbled := resealed(t, a, func(text []byte) { text[3] ^= 1 })
	wants(t, a, garbled, hash, complains(t, h, a, garbled, hash), NotOpen)
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

func TestKeysThatNoSenderMakesAreFaultsThatShow(t *testing.T) {
	h := newHolder(t)
	a := seedPlace.To(h.Member)
	for name, text := range special {
		u, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if CheckKey(u) == nil {
			t.Errorf("%s: passes as a member's key", name)
		}
		box := sealed(t, a)
		copy(box, u)
		showsItself(t, h, a, box, BadKey)
	}
	box := sealed(t, a)
	copy(box, withTorsion(t, box[:keyBytes]))
	showsItself(t, h, a, box, BadKey)
}

// showsItself asks that a box is at fault without an opening, and that none is
// made or taken of it.
func showsItself(t *testing.T, h holder, a Address, box []byte, want Fault) {
	t.Helper()
	hash := a.hash(secretBytes())
	if err := a.Check(box); err != want {
		t.Errorf("%v, want %q", err, want)
	}
	if proof := complains(t, h, a, box, hash); len(proof) != 0 {
		t.Errorf("%q: something was opened", want)
	}
	wants(t, a, box, hash, nil, want)
	refuses(t, a, box, hash, make([]byte, OpeningBytes), ErrProof)
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

// TestAttackTorsionInTheEncapsulatedKey: the sender knows e and adds a point of
// small order to E. The equation holds for the challenges that are multiples of
// eight, which can be searched for; only the check of the order stops it.
func TestAttackTorsionInTheEncapsulatedKey(t *testing.T) {
	h := newHolder(t)
	a := seedPlace.To(h.Member)
	for range 400 {
		k := ephemeralKey(t)
		private, err := eighth(k.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		e := scalar().Multiply(scalarOf(8), private)
		point := edwards25519.NewIdentityPoint().ScalarBaseMult(e)
		if point.Add(point, order8(t)); sign(point) == 1 {
			continue // the verifier means the other one
		}
		box := append(point.BytesMontgomery(), make([]byte, sealedBytes-keyBytes)...)
		r, err := freshly("test", k.Bytes(), record.ID{})
		if err != nil {
			t.Fatal(err)
		}
		commitment := edwards25519.NewIdentityPoint().ScalarBaseMult(r)
		c, err := challenge(labelSealing, a.sealing(box), point, commitment)
		if err != nil {
			t.Fatal(err)
		}
		minus := scalar().Negate(c)
		if minus.Bytes()[0]&7 != 0 {
			continue // -c*E would show the torsion
		}
		answer := scalar().MultiplyAdd(c, e, r)
		again := edwards25519.NewIdentityPoint().VarTimeDoubleScalarBaseMult(minus, point, answer)
		if again.Equal(commitment) != 1 {
			t.Fatal("the forged equation does not hold: this test shows nothing")
		}
		showsItself(t, h, a, slices.Concat(box, c.Bytes(), answer.Bytes()), BadKey)
		return
	}
	t.Fatal("no challenge was a multiple of eight")
}

// TestAttackBoxWithoutItsSenderKnowingTheKey: whoever takes another's encapsulated
// key, as it is or times a number, has no proof for it, with or without the
// other's.
func TestAttackBoxWithoutItsSenderKnowingTheKey(t *testing.T) {
	h := newHolder(t)
	victim, mine := seedPlace.To(h.Member), seedPlace
	mine.Device = record.SumID([]byte("the attacker's"))
	a := mine.To(h.Member)
	his := sealed(t, victim)
	times := func(r byte) []byte {
		e, err := lift(his[:keyBytes], 0)
		if err != nil {
			t.Fatal(err)
		}
		return edwards25519.NewIdentityPoint().ScalarMult(scalarOf(r), e).BytesMontgomery()
	}
	c, err := scalar().SetCanonicalBytes(his[sealedBytes : sealedBytes+32])
	if err != nil {
		t.Fatal(err)
	}
	answer, err := scalar().SetCanonicalBytes(his[sealedBytes+32:])
	if err != nil {
		t.Fatal(err)
	}
	scaled := slices.Concat(c.Bytes(), scalar().Multiply(scalarOf(3), answer).Bytes())
	for name, box := range map[string][]byte{
		"the whole box":                        his,
		"his key, my text and proof":           slices.Concat(his[:keyBytes], sealed(t, a)[keyBytes:]),
		"his key and proof, my text":           slices.Concat(his[:keyBytes], sealed(t, a)[keyBytes:sealedBytes], his[sealedBytes:]),
		"his key times 3, his text and proof":  slices.Concat(times(3), his[keyBytes:]),
		"his key times 3, his proof times 3":   slices.Concat(times(3), his[keyBytes:sealedBytes], scaled),
		"his key times 3, my text and proof":   slices.Concat(times(3), sealed(t, a)[keyBytes:]),
		"no proof":                             slices.Concat(sealed(t, a)[:sealedBytes], make([]byte, sealingBytes)),
		"a proof that is not reduced":          slices.Concat(sealed(t, a)[:sealedBytes], bytes.Repeat([]byte{0xff}, sealingBytes)),
		"the box of another network's devices": sealed(t, SeedPlace{Network: "other", Profile: mine.Profile, Device: mine.Device, Piece: mine.Piece}.To(h.Member)),
	} {
		t.Run(name, func(t *testing.T) { showsItself(t, h, a, box, BadProof) })
	}
}

// TestAProofIsOfOnePlace: whatever a place consists of is in the proof, and so is
// every bit of the box.
func TestAProofIsOfOnePlace(t *testing.T) {
	h, other := newHolder(t), newHolder(t)
	seed, key := seedPlace, keyPlace
	seedBox, keyBox := sealed(t, seed.To(h.Member)), sealed(t, key.To(h.Member))
	for name, change := range map[string]func(s *SeedPlace, k *KeyPlace, m *record.Member){
		"network": func(s *SeedPlace, k *KeyPlace, _ *record.Member) { s.Network, k.Network = "n", "n" },
		"profile or maker": func(s *SeedPlace, k *KeyPlace, _ *record.Member) {
			s.Profile, k.From = "p", "C"
		},
		"device or round": func(s *SeedPlace, k *KeyPlace, _ *record.Member) { s.Device[0] ^= 1; k.Round++ },
		"epoch":           func(s *SeedPlace, k *KeyPlace, _ *record.Member) { s.Epoch++; k.Epoch++ },
		"piece":           func(s *SeedPlace, k *KeyPlace, _ *record.Member) { s.Piece++; k.Piece++ },
		"holder":          func(_ *SeedPlace, _ *KeyPlace, m *record.Member) { m.MSP = "C" },
		"key": func(_ *SeedPlace, _ *KeyPlace, m *record.Member) {
			m.SeedKey, m.PieceKey = other.SeedKey, other.PieceKey
		},
	} {
		s, k, m := seed, key, h.Member
		change(&s, &k, &m)
		if err := s.To(m).Check(seedBox); err != BadProof {
			t.Errorf("a seed box under another %s: %v", name, err)
		}
		if err := k.To(m).Check(keyBox); err != BadProof {
			t.Errorf("a key box under another %s: %v", name, err)
		}
	}
	if err := key.To(h.Member).Check(seedBox); err != BadProof {
		t.Errorf("a seed box as a key box: %v", err)
	}
	for i := range 8 * BoxBytes {
		box := bytes.Clone(seedBox)
		box[i/8] ^= 1 << (i % 8)
		if err := seed.To(h.Member).Check(box); err != BadProof && err != BadKey {
			t.Fatalf("bit %d is not in the proof: %v", i, err)
		}
	}
	for _, box := range [][]byte{nil, seedBox[1:], append(seedBox, 0)} {
		if err := seed.To(h.Member).Check(box); err != errLength {
			t.Errorf("a box of %d bytes: %v", len(box), err)
		}
	}
}

// Randomness that repeats does not give the key away: two boxes under equal fresh
// bytes have different commitments.
func TestNoncesAreHedged(t *testing.T) {
	k, other := ephemeralKey(t), ephemeralKey(t)
	fresh := make([]byte, 64)
	seen := map[string]bool{}
	for _, private := range []*ecdh.PrivateKey{k, other} {
		for _, statement := range []record.ID{{1}, {2}} {
			r, err := hedged("label", fresh, private.Bytes(), statement)
			if err != nil {
				t.Fatal(err)
			}
			seen[string(r.Bytes())] = true
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d nonces of 4", len(seen))
	}
}

func TestOnlySoundKeysAreSealedTo(t *testing.T) {
	h := newHolder(t)
	h.SeedKey = make([]byte, 32)
	if _, err := seedPlace.To(h.Member).Seal(secretBytes()); err == nil {
		t.Error("something was sealed to a key of small order")
	}
	if _, err := seedPlace.To(newHolder(t).Member).Seal(secretBytes()[1:]); err == nil {
		t.Error("a secret of another length was sealed")
	}
}

// TestAttackForgedOpening: a member that wants an honest device out, or to
// reveal another dh than its own, has nothing that verifies.
func TestAttackForgedOpening(t *testing.T) {
	h := newHolder(t)
	a := seedPlace.To(h.Member)
	box, hash := sealed(t, a), a.hash(secretBytes())
	proof, err := a.proveOpening(h.private, box, hash)
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, a, box, hash, proof, ErrSound)
	for i := range proof {
		forged := bytes.Clone(proof)
		forged[i] ^= 1 << (i % 8)
		refuses(t, a, box, hash, forged, ErrProof)
	}
	for name, forged := range map[string][]byte{
		"nothing": nil, "short": proof[1:], "long": append(bytes.Clone(proof), 0), "zeros": make([]byte, OpeningBytes),
		"torsion in dh": slices.Concat(proof[:1], withTorsion(t, proof[1:33]), proof[33:]),
		"not reduced":   slices.Concat(proof[:33], bytes.Repeat([]byte{0xff}, 64)),
	} {
		t.Run(name, func(t *testing.T) { refuses(t, a, box, hash, forged, ErrProof) })
	}
	if _, err := a.Complain(newHolder(t).private, box, otherHash); err == nil {
		t.Error("another key proves an opening")
	}
}

// TestAttackTorsionInDH: the prover knows its key and hides a point of small
// order in DH. The equations hold for the challenges that are multiples of eight,
// which can be searched for; only the check of the order stops it.
func TestAttackTorsionInDH(t *testing.T) {
	h := newHolder(t)
	a := seedPlace.To(h.Member)
	box, hash := sealed(t, a), a.hash(secretBytes())
	k, err := eighth(h.private)
	if err != nil {
		t.Fatal(err)
	}
	e8, err := encapsulated(box)
	if err != nil {
		t.Fatal(err)
	}
	newPoint := edwards25519.NewIdentityPoint
	pk := newPoint().ScalarMult(k, base8())
	dh := newPoint().ScalarMult(k, e8)
	dh.Add(dh, order8(t))
	statement := a.opening(box, hash)
	for range 400 {
		r, err := freshly("test", h.private, statement)
		if err != nil {
			t.Fatal(err)
		}
		c, err := challenge(labelOpening, statement, pk, e8, dh, newPoint().ScalarMult(r, base8()), newPoint().ScalarMult(r, e8))
		if err != nil {
			t.Fatal(err)
		}
		minus := scalar().Negate(c)
		if minus.Bytes()[0]&7 != 0 {
			continue // -c*DH would show the torsion
		}
		answer := scalar().MultiplyAdd(c, k, r)
		again := newPoint().VarTimeMultiScalarMult([]*edwards25519.Scalar{answer, minus}, []*edwards25519.Point{e8, dh})
		if again.Equal(newPoint().ScalarMult(r, e8)) != 1 {
			t.Fatal("the forged equation does not hold: this test shows nothing")
		}
		proof := slices.Concat([]byte{sign(pk) | sign(dh)<<1}, dh.BytesMontgomery(), c.Bytes(), answer.Bytes())
		refuses(t, a, box, hash, proof, ErrProof)
		return
	}
	t.Fatal("no challenge was a multiple of eight")
}

func TestAttackReplayedOpening(t *testing.T) {
	h := newHolder(t)
	a := seedPlace.To(h.Member)
	box := sealed(t, a)
	proof := complains(t, h, a, box, otherHash)
	wants(t, a, box, otherHash, proof, WrongSecret)
	refuses(t, a, box, a.hash(secretBytes()), proof, ErrProof)
	next := sealed(t, a)
	refuses(t, a, next, otherHash, proof, ErrProof)
	elsewhere := seedPlace
	elsewhere.Piece++
	b := elsewhere.To(h.Member)
	refuses(t, b, sealed(t, b), otherHash, proof, ErrProof)
}

func TestBlobsHaveOneFormAndOneDevice(t *testing.T) {
	device := record.SumID([]byte("device"))
	want := [][]byte{bytes.Repeat([]byte{1}, BoxBytes), bytes.Repeat([]byte{2}, BoxBytes)}
	blob := Blob(device, want)
	got, err := Boxes(blob, device, 2)
	if err != nil || !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%x, %v", got, err)
	}
	if d, ok := BlobDevice(blob); !ok || d != device {
		t.Errorf("it is of device %s (%v)", d, ok)
	}
	for name, bad := range map[string][]byte{
		"empty": nil, "short": blob[1:], "long": append(bytes.Clone(blob), 0), "an older form": append([]byte("VVS1"), blob[4:]...),
		"head alone": blob[:headBytes], "one box": blob[:BlobBytes(1)], "three boxes": append(bytes.Clone(blob), want[0]...),
	} {
		if _, err := Boxes(bad, device, 2); err != BadBlob {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Boxes(blob, record.SumID([]byte("thief")), 2); err != ForeignBlob {
		t.Errorf("of another device: %v", err)
	}
	for name, bad := range map[string][]byte{"empty": nil, "head alone": blob[:headBytes], "cut": blob[:len(blob)-1], "other": append([]byte("VVS1"), blob[4:]...)} {
		if _, ok := BlobDevice(bad); ok {
			t.Errorf("%s: it is a device's", name)
		}
	}
}
