package record

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
)

func newKey(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k, PublicKeyBytes(&k.PublicKey)
}

func TestIDHasOneTextForm(t *testing.T) {
	id := RandomID()
	back, err := ParseID(id.String())
	if err != nil || back != id {
		t.Fatalf("%s was read as %s, %v", id, back, err)
	}
	for _, bad := range []string{"", id.String()[:63], id.String() + "0", strings.ToUpper(SumID(nil).String()), "zz" + id.String()[2:]} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

// The bytes under a digest are written out by hand here: RFC 8949 section 4.2.1,
// an array of four with an identifier as a byte string and map keys sorted.
func TestDigestIsOverDeterministicCBOR(t *testing.T) {
	voucher := Voucher{Patient: SumID([]byte("a")), Person: SumID([]byte("b"))}
	want := "84" + "69" + hex.EncodeToString([]byte("vitalveil")) +
		"72" + hex.EncodeToString([]byte(DomainVoucher)) +
		"63" + hex.EncodeToString([]byte("net")) +
		"a2" + "66" + hex.EncodeToString([]byte("person")) + "5820" + voucher.Person.String() +
		"67" + hex.EncodeToString([]byte("patient")) + "5820" + voucher.Patient.String()
	if len(DomainVoucher) != 18 {
		t.Fatal("the vector assumes a domain of 18 bytes")
	}
	raw, err := hex.DecodeString(want)
	if err != nil {
		t.Fatal(err)
	}
	if got := Digest(DomainVoucher, "net", voucher); got != SumID(raw) {
		t.Errorf("digest is %s, of the bytes written out %s", got, SumID(raw))
	}
}

func TestDigestBindsDomainNetworkAndEveryField(t *testing.T) {
	p := Pointer{Device: SumID([]byte("d")), Kind: KindRow, Index: 7, Blob: SumID([]byte("b")), Commitment: SumID([]byte("c"))}
	seen := map[ID]string{p.Digest("net"): "the pointer"}
	note := func(what string, id ID) {
		if other, dup := seen[id]; dup {
			t.Errorf("%s has the digest of %s", what, other)
		}
		seen[id] = what
	}
	note("another network", p.Digest("net2"))
	note("another domain", Digest(DomainAvailable, "net", p))
	for what, change := range map[string]func(*Pointer){
		"device":     func(p *Pointer) { p.Device[0]++ },
		"kind":       func(p *Pointer) { p.Kind = KindDay },
		"index":      func(p *Pointer) { p.Index = -7 },
		"correction": func(p *Pointer) { p.Correction = 1 },
		"blob":       func(p *Pointer) { p.Blob[31]++ },
		"commitment": func(p *Pointer) { p.Commitment[31]++ },
	} {
		q := p
		change(&q)
		note("another "+what, q.Digest("net"))
	}
}

func TestSignatureIsTheKeysOverTheDigest(t *testing.T) {
	key, pub := newKey(t)
	_, other := newKey(t)
	digest := RandomID()
	sig, err := Sign(key, digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(pub, digest, sig); err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), sig...)
	flipped[40] ^= 1
	order := elliptic.P256().Params().N
	zero := make([]byte, 64)
	large := make([]byte, 64)
	new(big.Int).Add(new(big.Int).SetBytes(sig[:32]), big.NewInt(0)).FillBytes(large[:32])
	order.FillBytes(large[32:])
	for name, c := range map[string]struct {
		key    []byte
		digest ID
		sig    []byte
	}{
		"another key":    {other, digest, sig},
		"another digest": {pub, RandomID(), sig},
		"a flipped bit":  {pub, digest, flipped},
		"zeros":          {pub, digest, zero},
		"s = order":      {pub, digest, large},
		"short":          {pub, digest, sig[:63]},
		"long":           {pub, digest, append(sig[:64:64], 0)},
		"none":           {pub, digest, nil},
	} {
		if err := Verify(c.key, c.digest, c.sig); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPublicKeysAreCompressedPointsOfP256(t *testing.T) {
	key, pub := newKey(t)
	back, err := ParsePublicKey(pub)
	if err != nil || !back.Equal(&key.PublicKey) {
		t.Fatalf("the key changed on its way: %v", err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if PublicKeyBytes(&p384.PublicKey) != nil || PublicKeyBytes(nil) != nil {
		t.Error("a key that is not on P-256 has bytes")
	}
	infinity := make([]byte, 33)
	tooLarge := append([]byte{2}, elliptic.P256().Params().P.Bytes()...)
	for _, bad := range [][]byte{nil, pub[:32], append(pub[:33:33], 0), infinity, tooLarge, append([]byte{4}, pub[1:]...)} {
		if _, err := ParsePublicKey(bad); err == nil {
			t.Errorf("accepted %x", bad)
		}
	}
}

func TestPatientAndDeviceIdentifiersDependOnTheNetwork(t *testing.T) {
	_, pub := newKey(t)
	in := Inception{ConsentKeys: [][]byte{pub}, RecoveryHash: RandomID(), Salt: RandomID()}
	if in.PatientID("a") == in.PatientID("b") || DeviceID("a", pub) == DeviceID("b", pub) {
		t.Error("the same in two networks")
	}
}

// What was recorded before these fields were there reads and writes as it did.
func TestLaterFieldsLeaveOldDocumentsAsTheyWere(t *testing.T) {
	for field, document := range map[string]any{
		`"vouchers"`: Genesis{}, `"relying_parties"`: Genesis{}, `"keys"`: Patient{}, `"revoked_at"`: Patient{},
	} {
		raw, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), field) {
			t.Errorf("%T without %s is %s", document, field, raw)
		}
	}
}

func TestIdentifiersAreOrderedByTheirBytes(t *testing.T) {
	low, high := ID{0, 1}, ID{1}
	if low.Compare(high) != -1 || high.Compare(low) != 1 || low.Compare(low) != 0 {
		t.Error("out of order")
	}
}

func TestRepeats(t *testing.T) {
	if Repeats(nil) || Repeats([]string{"a", "b"}) || !Repeats([]string{"a", "b", "a"}) {
		t.Error("a list is misjudged")
	}
}
