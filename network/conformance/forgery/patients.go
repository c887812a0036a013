package forgery

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"time"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
)

// patient is a person with a consent key and a recovery code.
type patient struct {
	w     *world
	key   *ecdsa.PrivateKey
	code  record.RecoveryCode
	id    record.ID
	enrol record.EnrolPatient
}

// newPatient is a patient for whom the members vouch, not enrolled yet.
func (w *world) newPatient(vouch ...string) *patient {
	w.Helper()
	p := &patient{w: w, key: w.key(), code: record.NewRecoveryCode()}
	p.enrol.Inception = record.Inception{
		ConsentKeys: [][]byte{public(p.key)}, RecoveryHash: w.recoveryHash(p.code), Salt: record.RandomID(),
	}
	if _, err := w.details.Enrol(w.genesis.Network, &p.enrol, w.genesis.Members); err != nil {
		w.Fatal(err)
	}
	p.id = p.enrol.Inception.PatientID(w.genesis.Network)
	p.enrol.Signature = w.sign(p.key, p.enrol.Digest(w.genesis.Network))
	p.enrol.Voucher = record.Voucher{Patient: p.id, Person: record.RandomID()}
	for _, msp := range vouch {
		p.enrol.Vouchers = append(p.enrol.Vouchers, record.VoucherSignature{By: msp, Signature: w.sign(w.keys[msp], p.voucher())})
	}
	return p
}

func (p *patient) voucher() record.ID {
	return record.Digest(record.DomainVoucher, p.w.genesis.Network, p.enrol.Voucher)
}

func (w *world) enrolled() *patient {
	w.Helper()
	p := w.newPatient(w.association)
	w.must(w.association, "Registry:EnrolPatient", p.enrol)
	return p
}

func (w *world) recoveryKey(c record.RecoveryCode) *ecdsa.PrivateKey {
	w.Helper()
	k, err := c.Key(w.genesis.Network)
	if err != nil {
		w.Fatal(err)
	}
	return k
}

func (w *world) recoveryHash(c record.RecoveryCode) record.ID {
	w.Helper()
	return consent.RecoveryHash(public(w.recoveryKey(c)))
}

// document permits the first hospital statistics on heart rate.
func (p *patient) document() consent.Document {
	now := time.Now().Unix()
	return consent.Document{
		ID: record.RandomID(), Version: 1, Patient: p.id, Grantee: p.w.hospitalA, Purpose: "HRESCH",
		Status: consent.StatusActive, Effect: consent.EffectPermit, Operations: []string{consent.OpAggregate},
		Metrics: []string{"heart_rate"}, DataFrom: now / 3600, DataUntil: now/3600 + 720,
		NotBefore: now, Expires: now + 60*86400, CapMicro: 1_000_000,
	}
}

func (p *patient) sign(d consent.Document) consent.Signed {
	p.w.Helper()
	return consent.Signed{Document: d, Key: public(p.key), Signature: p.w.sign(p.key, d.Digest(p.w.genesis.Network))}
}

// put records a document as the patient wants it.
func (p *patient) put(d consent.Document) consent.Signed {
	p.w.Helper()
	s := p.sign(d)
	p.w.must(p.w.association, "Consent:Put", s)
	return s
}

// next is the version after d, with a change.
func (p *patient) next(d consent.Document, change func(*consent.Document)) consent.Document {
	n := d
	n.Version, n.Previous = d.Version+1, d.Digest(p.w.genesis.Network)
	change(&n)
	return n
}

// passkey signs a document as an authenticator does for the portal.
func (p *patient) passkey(d consent.Document) consent.Signed {
	p.w.Helper()
	const presentAndVerified = 0x05
	client := []byte(`{"type":"webauthn.get","challenge":"` + d.Challenge(p.w.genesis.Network) + `","origin":"` + portal + `"}`)
	hash, clientHash := sha256.Sum256([]byte(party)), sha256.Sum256(client)
	data := append(hash[:], presentAndVerified, 0, 0, 0, 0)
	digest := sha256.Sum256(append(data[:len(data):len(data)], clientHash[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, p.key, digest[:])
	if err != nil {
		p.w.Fatal(err)
	}
	return consent.Signed{
		Document: d, Key: public(p.key), Signature: sig,
		Assertion: &consent.Assertion{AuthenticatorData: data, ClientDataJSON: client},
	}
}

// keys is a change of the patient's keys that a key signs.
func (p *patient) keys(c record.PatientKeys, by *ecdsa.PrivateKey) consent.SignedKeys {
	p.w.Helper()
	return consent.SignedKeys{Change: c, Key: public(by), Signature: p.w.sign(by, c.Digest(p.w.genesis.Network))}
}

// device is a bridge's key and what it enrols with.
type device struct {
	key   *ecdsa.PrivateKey
	id    record.ID
	enrol record.EnrolDevice
}

func (p *patient) device() *device {
	p.w.Helper()
	d := &device{key: p.w.key()}
	d.enrol.Device = record.Device{
		Key: public(d.key), Patient: p.id, FirstHour: time.Now().Unix()/3600 + 1, Profile: p.w.genesis.Profile,
		Metrics: []string{"heart_rate"}, SeedBlob: record.RandomID(),
		SeedHashes: []record.ID{record.RandomID(), record.RandomID(), record.RandomID()},
	}
	d.id = record.DeviceID(p.w.genesis.Network, d.enrol.Device.Key)
	digest := record.Digest(record.DomainDevice, p.w.genesis.Network, d.enrol.Device)
	d.enrol.DeviceSignature, d.enrol.PatientSignature = p.w.sign(d.key, digest), p.w.sign(p.key, digest)
	return d
}
