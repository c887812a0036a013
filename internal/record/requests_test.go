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
