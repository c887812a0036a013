package record

import "fmt"

// PatientRequest is the file that a patient hands to whoever vouches: an enrolment that
// lacks nothing but the voucher and its signatures, with the blob that it names.
type PatientRequest struct {
	Network   string       `json:"network"`
	Enrolment EnrolPatient `json:"enrolment"`
	Boxes     []byte       `json:"boxes"` // the details key, sealed to members (internal/details)
}

// Patient is who would be enrolled.
func (r PatientRequest) Patient() ID { return r.Enrolment.Inception.PatientID(r.Network) }

// DeviceRequest is the file that a bridge hands to its patient, and gets back with the
// patient's signature in it. The sealed seeds stay with the bridge, which sends them.
type DeviceRequest struct {
	Network   string      `json:"network"`
	Enrolment EnrolDevice `json:"enrolment"`
	// Signer is who the patient is and with which keys it signs, from the patient: by them
	// the bridge knows the patient's consents.
	Signer *Patient `json:"signer,omitempty"`
}

// Digest is what device and patient sign.
func (r DeviceRequest) Digest() ID { return Digest(DomainDevice, r.Network, r.Enrolment.Device) }

// Verify checks that the request is for a network and signed by the device's own key.
// Whether the patient wants that device is for the patient.
func (r DeviceRequest) Verify(network string) error {
	if r.Network != network {
		return fmt.Errorf("the request is for network %q, this is %q", r.Network, network)
	}
	return Verify(r.Enrolment.Device.Key, r.Digest(), r.Enrolment.DeviceSignature)
}
