package state

import (
	"errors"
	"slices"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// CheckEnrolment checks what an enrolment shows by itself, to whoever knows the
// network's policy and the epoch that is current: the keys, the vouchers and the
// patient's own signature. It returns the patient's identifier. That nobody enrols
// the same person twice is for whoever knows all enrolments.
func CheckEnrolment(g *record.Genesis, epoch *record.Epoch, e record.EnrolPatient) (record.ID, error) {
	id := e.Inception.PatientID(g.Network)
	if err := checkInception(e.Inception); err != nil {
		return id, fault.New(fault.Invalid, "inception: %w", err)
	}
	if err := checkVouchers(g, epoch, id, e); err != nil {
		return id, err
	}
	if e.DetailsBlob.IsZero() {
		return id, fault.New(fault.Invalid, "the blob with the sealed details key is not named")
	}
	if err := consent.VerifyEnrolment(g.Network, g.RelyingParties, e); err != nil {
		return id, fault.New(fault.BadSignature, "the patient's own signature: %w", err)
	}
	return id, nil
}

func checkInception(in record.Inception) error {
	if in.Salt.IsZero() {
		return errors.New("the salt cannot be zero")
	}
	if in.DetailsKey.IsZero() {
		return errors.New("the digest of the details key is missing")
	}
	return consent.ValidateKeys(in.ConsentKeys, in.RecoveryHash)
}

// checkVouchers checks that those vouch for the patient whom the network's policy
// asks: its registrar or, where it has none, enough members. No member that asks
// can so make up patients by itself.
func checkVouchers(g *record.Genesis, epoch *record.Epoch, id record.ID, e record.EnrolPatient) error {
	if e.Voucher.Patient != id || e.Voucher.Person.IsZero() {
		return fault.New(fault.Invalid, "the voucher is not for this patient and a person")
	}
	if len(e.Vouchers) > len(epoch.Members) {
		return fault.New(fault.Invalid, "there are %d vouchers, and %d members", len(e.Vouchers), len(epoch.Members))
	}
	digest := record.Digest(record.DomainVoucher, g.Network, e.Voucher)
	for i, v := range e.Vouchers {
		m := epoch.Member(v.By)
		switch {
		case g.Registrar != "" && v.By != g.Registrar:
			return fault.New(fault.Forbidden, "only %s vouches for patients here", g.Registrar)
		case m == nil:
			return fault.New(fault.Forbidden, "%s is not a member that could vouch", clip(v.By))
		case slices.ContainsFunc(e.Vouchers[:i], func(o record.VoucherSignature) bool { return o.By == v.By }):
			return fault.New(fault.Invalid, "%s vouches twice and counts once", v.By)
		}
		if err := record.Verify(m.SignKey, digest, v.Signature); err != nil {
			return fault.New(fault.BadSignature, "the voucher of %s: %w", v.By, err)
		}
	}
	if need := max(1, g.Vouchers); len(e.Vouchers) < need {
		return fault.New(fault.Forbidden, "%d vouch for this patient, here %d must", len(e.Vouchers), need)
	}
	return nil
}
