package record

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
)

func requestKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestARequestToBeEnrolledIsThePatientsAndWhole(t *testing.T) {
	key := requestKey(t)
	whole := PatientRequest{Network: "n", Boxes: []byte("boxes"), Enrolment: EnrolPatient{
		Inception: Inception{ConsentKeys: [][]byte{PublicKeyBytes(&key.PublicKey)}, Salt: RandomID()}, DetailsBlob: SumID([]byte("boxes")),
	}}
	var err error
	if whole.Enrolment.Signature, err = Sign(key, whole.Enrolment.Digest("n")); err != nil {
		t.Fatal(err)
	}
	if err := whole.Verify("n"); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*PatientRequest){
		"another network": func(r *PatientRequest) { r.Network = "m" },
		"other boxes":     func(r *PatientRequest) { r.Boxes = []byte("others") },
		"no key":          func(r *PatientRequest) { r.Enrolment.Inception.ConsentKeys = nil },
		"another's key": func(r *PatientRequest) {
			r.Enrolment.Inception.ConsentKeys = [][]byte{PublicKeyBytes(&requestKey(t).PublicKey)}
		},
		"another recovery": func(r *PatientRequest) { r.Enrolment.Inception.RecoveryHash = RandomID() },
		"other details":    func(r *PatientRequest) { r.Boxes = []byte("x"); r.Enrolment.DetailsBlob = SumID(r.Boxes) },
	} {
		r := whole
		spoil(&r)
		if r.Verify("n") == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if (PatientRequest{Network: "m", Enrolment: whole.Enrolment, Boxes: whole.Boxes}).Verify("m") == nil {
		t.Error("a signature for one network counts in another")
	}
}

func TestARequestForADeviceIsTheDevicesOwn(t *testing.T) {
	key := requestKey(t)
	whole := DeviceRequest{Network: "n", Enrolment: EnrolDevice{Device: Device{Key: PublicKeyBytes(&key.PublicKey), Patient: RandomID()}}}
	var err error
	if whole.Enrolment.DeviceSignature, err = Sign(key, whole.Digest()); err != nil {
		t.Fatal(err)
	}
	if err := whole.Verify("n"); err != nil {
		t.Fatal(err)
	}
	other := whole
	other.Enrolment.Device.Patient = RandomID()
	if whole.Verify("m") == nil || other.Verify("n") == nil {
		t.Error("a request that the device did not sign is taken")
	}
}
