package bridge

import (
	"crypto/ecdsa"
	"errors"
	"path/filepath"
	"testing"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
)

// owned is an enrolled device of a patient whose identifier is that of real keys.
type owned struct {
	*world
	device  *Device
	patient record.Patient
	code    *ecdsa.PrivateKey
}

func newOwned(t *testing.T) *owned {
	o := &owned{world: newWorld(t), code: newKey(t)}
	n := o.genesis.Network
	o.patient.Inception = record.Inception{
		ConsentKeys:  [][]byte{record.PublicKeyBytes(&o.world.patient.PublicKey)},
		RecoveryHash: consent.RecoveryHash(record.PublicKeyBytes(&o.code.PublicKey)), Salt: record.RandomID(), DetailsKey: record.RandomID(),
	}
	o.patient.ID = o.patient.Inception.PatientID(n)
	d, e, err := o.hub(filepath.Join(t.TempDir(), "hub")).NewDevice(o.patient.ID, []string{"heart_rate"}, epochStart/3600)
	if err != nil {
		t.Fatal(err)
	}
	o.device = d
	if err := d.KnowPatient(o.patient); !errors.Is(err, ErrPatient) {
		t.Fatalf("before the enrolment: %v", err)
	}
	sig, err := record.Sign(o.world.patient, record.Digest(record.DomainDevice, n, e.Document.Device))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Enrol(t.Context(), sig, nil); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *owned) consent(t *testing.T, by *ecdsa.PrivateKey, change ...func(*consent.Document)) consent.Signed {
	t.Helper()
	d := consent.Document{
		ID: record.RandomID(), Version: 1, Patient: o.patient.ID, Grantee: "HospitalA", Purpose: "HRESCH",
		Status: consent.StatusActive, Effect: consent.EffectPermit, Operations: []string{consent.OpPredicate}, Metrics: []string{"heart_rate"},
		DataFrom: epochStart / 3600, DataUntil: epochStart/3600 + 1000, NotBefore: epochStart, Expires: epochStart + 100*86400,
		Predicates: []consent.Terms{{Metric: "heart_rate", Days: 1, Limits: consent.Readings(heartRateCode(50), heartRateCode(90))}}, Claims: 2,
	}
	for _, f := range change {
		f(&d)
	}
	s := consent.Signed{Document: d, Key: record.PublicKeyBytes(&by.PublicKey)}
	var err error
	if s.Signature, err = record.Sign(by, d.Digest(o.genesis.Network)); err != nil {
		t.Fatal(err)
	}
	return s
}

func (o *owned) change(t *testing.T, by, to *ecdsa.PrivateKey, recovery record.ID) consent.SignedKeys {
	t.Helper()
	s := consent.SignedKeys{Key: record.PublicKeyBytes(&by.PublicKey), Change: record.PatientKeys{
		Patient: o.patient.ID, Version: o.patient.KeysVersion() + 1, ConsentKeys: [][]byte{record.PublicKeyBytes(&to.PublicKey)}, RecoveryHash: recovery,
	}}
	if o.patient.Keys != nil {
		s.Change.Previous = o.patient.Keys.Digest(o.genesis.Network)
	}
	var err error
	if s.Signature, err = record.Sign(by, s.Change.Digest(o.genesis.Network)); err != nil {
		t.Fatal(err)
	}
	return s
}

// A hospital brings a hub a consent in the patient's name, signed by a key of its own, and
// a gateway that is with it says that the ledger allows the claim. A revocation of the
// patient's consents is brought in the same way.
func TestAttackAConsentThatAnotherKeySigned(t *testing.T) {
	o, hospital := newOwned(t), newKey(t)
	forged := o.consent(t, hospital)
	if err := o.device.LeaveConsent(forged); !errors.Is(err, ErrPatient) {
		t.Fatalf("before the device knows its patient: %v", err)
	}
	// Keys of the hospital's under the patient's name are not known as the patient's.
	other := o.patient
	other.Inception.ConsentKeys = [][]byte{forged.Key}
	slipped := o.patient
	slipped.Keys = &record.PatientKeys{Patient: o.patient.ID, Version: 1, ConsentKeys: [][]byte{forged.Key}}
	for _, p := range []record.Patient{other, slipped} {
		if err := o.device.KnowPatient(p); !errors.Is(err, ErrPatient) {
			t.Fatalf("keys of the hospital's: %v", err)
		}
	}
	if err := o.device.KnowPatient(o.patient); err != nil {
		t.Fatal(err)
	}
	if err := o.device.LeaveConsent(forged); !errors.Is(err, ErrPatient) {
		t.Errorf("a consent that the hospital signed is taken: %v", err)
	}
	mine := o.consent(t, o.world.patient)
	if err := o.device.LeaveConsent(mine); err != nil {
		t.Fatal(err)
	}
	end := o.consent(t, hospital, func(d *consent.Document) {
		*d = mine.Document
		d.Version, d.Previous, d.Status = consent.MaxVersion, record.RandomID(), consent.StatusRevoked
	})
	if err := o.device.LeaveConsent(end); !errors.Is(err, ErrPatient) {
		t.Errorf("a revocation that the hospital signed is taken: %v", err)
	}
	if _, named, err := o.device.predicates.consents(mine.Document.ID); err != nil || named == nil || named.Version != 1 {
		t.Errorf("the patient's own consent is %+v, %v", named, err)
	}
}

// After a recovery the new key signs and the old one, which a thief may have, does not.
func TestADeviceFollowsItsPatientsKeys(t *testing.T) {
	o, fresh, thief := newOwned(t), newKey(t), newKey(t)
	if err := o.device.KnowPatient(o.patient); err != nil {
		t.Fatal(err)
	}
	if err := o.device.PatientKeysChanged(o.change(t, thief, thief, o.patient.RecoveryHash())); !errors.Is(err, ErrPatient) {
		t.Errorf("a change that a stranger signed: %v", err)
	}
	if err := o.device.PatientKeysChanged(o.change(t, o.world.patient, thief, record.RandomID())); !errors.Is(err, ErrPatient) {
		t.Errorf("another recovery code, by a consent key: %v", err)
	}
	s := o.change(t, o.code, fresh, record.RandomID())
	for range 2 {
		if err := o.device.PatientKeysChanged(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.device.LeaveConsent(o.consent(t, o.world.patient)); !errors.Is(err, ErrPatient) {
		t.Errorf("the old key still signs: %v", err)
	}
	if err := o.device.LeaveConsent(o.consent(t, fresh)); err != nil {
		t.Errorf("the new key does not sign: %v", err)
	}
}

// A patient takes everything back, and a gateway that is with the one who asks says that
// the ledger allows it still: the hub that was told answers within no consent from before.
func TestAttackAClaimAfterEverythingWasTakenBack(t *testing.T) {
	o := newOwned(t)
	if err := o.device.KnowPatient(o.patient); err != nil {
		t.Fatal(err)
	}
	permit := o.consent(t, o.world.patient)
	deny := o.consent(t, o.world.patient, func(d *consent.Document) { d.Effect, d.Predicates, d.Claims = consent.EffectDeny, nil, 0 })
	for _, s := range []consent.Signed{permit, deny} {
		if err := o.device.LeaveConsent(s); err != nil {
			t.Fatal(err)
		}
	}
	all := o.change(t, o.world.patient, o.world.patient, o.patient.RecoveryHash())
	all.Change.RevokeAll = true
	var err error
	if all.Signature, err = record.Sign(o.world.patient, all.Change.Digest(o.genesis.Network)); err != nil {
		t.Fatal(err)
	}
	if err := o.device.PatientKeysChanged(all); err != nil {
		t.Fatal(err)
	}
	if err := o.device.LeaveConsent(permit); err != nil { // the old one again
		t.Fatal(err)
	}
	for s, want := range map[*consent.Signed]string{&permit: consent.StatusRevoked, &deny: consent.StatusActive} {
		if _, named, err := o.device.predicates.consents(s.Document.ID); err != nil || named == nil || named.Status != want {
			t.Errorf("want it %s, got %+v, %v", want, named, err)
		}
	}
}
