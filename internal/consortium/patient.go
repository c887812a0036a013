package consortium

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// Patient is a person with a consent key and a recovery code.
type Patient struct {
	ID        record.ID
	Key       *ecdsa.PrivateKey
	Code      record.RecoveryCode
	Secret    details.Key         // that what is private about them is sealed under
	Enrolment record.EnrolPatient // signed and vouched for
	Boxes     []byte              // the blob of the enrolment: the secret, sealed to members
	Devices   []*Device           // that were enrolled with Enrol

	c *Consortium
}

// NewPatient makes a patient for whom the registrar vouches, or as many members as
// must; nothing is submitted.
func (c *Consortium) NewPatient() *Patient {
	p := &Patient{c: c, Key: NewKey(), Code: record.NewRecoveryCode(), Secret: details.NewKey()}
	n := c.Genesis.Network
	in := record.Inception{
		ConsentKeys: [][]byte{Public(p.Key)}, RecoveryHash: p.RecoveryHash(p.Code), Salt: record.RandomID(), DetailsKey: p.Secret.Digest(n),
	}
	p.ID = in.PatientID(n)
	c.Details.Hold(in.DetailsKey, p.Secret)
	p.Boxes = Must(details.SealBoxes(n, p.ID, p.Secret, c.Epoch.Members))
	p.Enrolment = record.EnrolPatient{Inception: in, DetailsBlob: record.SumID(p.Boxes)}
	p.Enrolment.Signature = Sign(p.Key, p.Enrolment.Digest(n))
	if by := MSPs[:c.Genesis.Vouchers]; len(by) > 0 {
		p.Vouch(record.RandomID(), by...)
	} else {
		p.Vouch(record.RandomID(), c.Genesis.Registrar)
	}
	return p
}

// Vouch has these members and no others vouch for the patient as this person.
func (p *Patient) Vouch(person record.ID, by ...string) {
	p.Enrolment.Voucher, p.Enrolment.Vouchers = record.Voucher{Patient: p.ID, Person: person}, nil
	for _, m := range by {
		p.Enrolment.Vouchers = append(p.Enrolment.Vouchers, record.VoucherSignature{By: m, Signature: Sign(p.c.Keys[m], p.VoucherDigest())})
	}
}

// VoucherDigest is what whoever vouches for the patient signs.
func (p *Patient) VoucherDigest() record.ID {
	return record.Digest(record.DomainVoucher, p.c.Genesis.Network, p.Enrolment.Voucher)
}

// Patient is a patient on the ledger, without a device.
func (c *Consortium) Patient() *Patient {
	c.Helper()
	p := c.NewPatient()
	c.store(p.Boxes)
	c.Must(c.gateway(), contracts.RegistryEnrolPatient, p.Enrolment)
	return p
}

func (c *Consortium) store(data []byte) {
	if c.Blobs != nil {
		Must(c.Blobs.Put(context.Background(), data))
	}
}

// Document permits somebody statistics on a month of heart rate, or what change makes
// of that, from now on.
func (p *Patient) Document(grantee string, change ...func(*consent.Document)) consent.Document {
	now := p.c.Now
	d := consent.Document{
		ID: record.RandomID(), Version: 1, Patient: p.ID, Grantee: grantee, Purpose: "HRESCH",
		Status: consent.StatusActive, Effect: consent.EffectPermit, Operations: []string{consent.OpAggregate},
		Metrics: []string{"heart_rate"}, DataFrom: now / 3600, DataUntil: now/3600 + 24*30,
		NotBefore: now, Expires: now + 86400*60, CapMicro: 1_000_000,
	}
	for _, f := range change {
		f(&d)
	}
	return d
}

// Next is the version after d, with a change.
func (p *Patient) Next(d consent.Document, change func(*consent.Document)) consent.Document {
	n := d
	n.Version, n.Previous = d.Version+1, d.Digest(p.c.Genesis.Network)
	change(&n)
	return n
}

// Revoked is the version after d that ends it.
func (p *Patient) Revoked(d consent.Document) consent.Document {
	return p.Next(d, func(n *consent.Document) { n.Status = consent.StatusRevoked })
}

// Sign signs a document with the patient's key.
func (p *Patient) Sign(d consent.Document) consent.Signed {
	return consent.Signed{Document: d, Key: Public(p.Key), Signature: Sign(p.Key, d.Digest(p.c.Genesis.Network))}
}

// Put signs and records a document.
func (p *Patient) Put(d consent.Document) consent.Signed {
	p.c.Helper()
	s := p.Sign(d)
	p.c.Must(p.c.gateway(), contracts.ConsentPut, s)
	return s
}

// Passkey signs a document as an authenticator does for a page of this origin.
func (p *Patient) Passkey(d consent.Document, origin string) consent.Signed {
	s := p.Assertion(d.Digest(p.c.Genesis.Network), origin)
	s.Document = d
	return s
}

// Assertion is an authenticator's signature over a digest, without the document.
func (p *Patient) Assertion(digest record.ID, origin string) consent.Signed {
	const presentAndVerified = 0x05
	client := []byte(`{"type":"webauthn.get","challenge":"` + base64.RawURLEncoding.EncodeToString(digest[:]) + `","origin":"` + origin + `"}`)
	party, clientHash := sha256.Sum256([]byte(PortalID)), sha256.Sum256(client)
	data := append(party[:], presentAndVerified, 0, 0, 0, 0)
	signed := sha256.Sum256(append(data[:len(data):len(data)], clientHash[:]...))
	return consent.Signed{
		Key: Public(p.Key), Signature: Must(ecdsa.SignASN1(rand.Reader, p.Key, signed[:])),
		Assertion: &consent.Assertion{AuthenticatorData: data, ClientDataJSON: client},
	}
}

// KeysAfter is the change of a patient's keys that follows a state of them; the recovery
// key stays.
func (p *Patient) KeysAfter(s record.Patient, revokeAll bool, keys ...*ecdsa.PrivateKey) record.PatientKeys {
	c := record.PatientKeys{Patient: p.ID, Version: s.KeysVersion() + 1, RecoveryHash: s.RecoveryHash(), RevokeAll: revokeAll}
	if s.Keys != nil {
		c.Previous = s.Keys.Digest(p.c.Genesis.Network)
	}
	for _, k := range keys {
		c.ConsentKeys = append(c.ConsentKeys, Public(k))
	}
	return c
}

// SignKeys signs a change of keys with any key.
func (c *Consortium) SignKeys(k record.PatientKeys, by *ecdsa.PrivateKey) consent.SignedKeys {
	return consent.SignedKeys{Change: k, Key: Public(by), Signature: Sign(by, k.Digest(c.Genesis.Network))}
}

// RecoveryKey is the key that is in a recovery code.
func (p *Patient) RecoveryKey(code record.RecoveryCode) *ecdsa.PrivateKey {
	return Must(code.Key(p.c.Genesis.Network))
}

// RecoveryHash is what documents say of a recovery code.
func (p *Patient) RecoveryHash(code record.RecoveryCode) record.ID {
	return consent.RecoveryHash(Public(p.RecoveryKey(code)))
}

// Erasure is the patient's wish to be erased, signed with any key.
func (p *Patient) Erasure(by *ecdsa.PrivateKey) record.SignedErasure {
	e := record.Erasure{Patient: p.ID}
	return record.SignedErasure{Erasure: e, Key: Public(by), Signature: Sign(by, e.Digest(p.c.Genesis.Network))}
}
