package consent_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
)

// may is a consent to statistics of January 2025's heart rates.
func may() consent.Document {
	return consent.Document{
		ID: record.SumID([]byte("a consent")), Version: 1, Patient: record.SumID([]byte("a patient")),
		Grantee: "HospitalA", Purpose: "HRESCH", Status: consent.StatusActive, Effect: consent.EffectPermit,
		Operations: []string{consent.OpAggregate}, Metrics: []string{"heart_rate"},
		DataFrom: 482136, DataUntil: 482880, // hours since 1970
		NotBefore: 1735689600, Expires: 1767225600, // 2025, in seconds
		CapMicro: 500_000, // rho = 0.5
	}
}

// A patient signs a document for one network. It counts on no other.
func ExampleDocument_Digest() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	d := may()
	signature, err := record.Sign(key, d.Digest("trial"))
	if err != nil {
		fmt.Println(err)
		return
	}
	s := consent.Signed{Document: d, Key: record.PublicKeyBytes(&key.PublicKey), Signature: signature}
	fmt.Println("digest:", d.Digest("trial").Short())
	fmt.Println("on trial:", s.CheckSignature("trial", nil))
	fmt.Println("elsewhere:", s.CheckSignature("another", nil))
	// Output:
	// digest: 7fca9f88
	// on trial: <nil>
	// elsewhere: signature does not verify: it is not the key's over this document (consent 1b31e283 version 1)
}

// What a patient has signed, in any order, answers a request. A denial wins.
func ExampleDecide() {
	ask := consent.Request{
		Grantee: "HospitalA", Purpose: "HRESCH", Operation: consent.OpAggregate, Metric: "heart_rate",
		From: 482136, Until: 482160, At: 1736000000,
	}
	d := consent.Decide([]consent.Document{may()}, ask)
	fmt.Println(d.Permit, d.Reasons, "cap", d.CapMicro)

	elsewhere := ask
	elsewhere.Purpose = "PUBHLTH"
	fmt.Println(consent.Decide([]consent.Document{may()}, elsewhere).Reasons)

	no := may()
	no.ID, no.Effect, no.CapMicro = record.SumID([]byte("a denial")), consent.EffectDeny, 0
	fmt.Println(consent.Decide([]consent.Document{may(), no}, ask).Reasons)
	// Output:
	// true [consent 1b31e283 version 1 permits it] cap 500000
	// [consent 1b31e283 version 1 is for another purpose (HRESCH)]
	// [consent b17cf30f version 1 denies it]
}

// A next version says which one it follows. Whether it asks for more than before
// decides who has to agree to it.
func ExampleFollows() {
	first := may()
	next := first
	next.Version, next.Previous = 2, first.Digest("trial")
	next.CapMicro = 100_000
	fmt.Println(consent.Follows("trial", &first, next), consent.Widens(&first, next))

	next.Grantee = "HospitalB"
	fmt.Println(consent.Follows("trial", &first, next))
	// Output:
	// <nil> false
	// grantee and effect of a consent cannot change; make a new one with a new id
}
