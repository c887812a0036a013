package chaincode

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

const (
	// maxConsents bounds the consents that a patient ever makes.
	maxConsents = 256
	// maxVersions bounds the versions of all of them together, those that end a
	// consent apart, so that one transaction can purge them.
	maxVersions = 1024
)

// Put records a version of a consent that the patient signed, whoever submits
// it (record.ConsentEntry, ConsentPublic). The document itself comes with the
// transaction and is not part of it: consent.Details as the transient value
// TransientDetails.
func (*Consent) Put(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, untimed, arg, smallArgument, putConsent)
}

// Get returns the ConsentState of the latest version of a consent. To be
// evaluated, never submitted: a transaction's answer is on the chain.
func (*Consent) Get(tx transaction, arg string) (string, error) {
	return serveID(tx, arg, func(c *call, id record.ID) (*state.ConsentState, error) {
		p := new(state.ConsentPublic)
		if err := c.need(state.ConsentKey(id), p, "consent "+id.Short()); err != nil {
			return nil, err
		}
		patient, err := c.patient(p.Entry.Patient)
		if err != nil {
			return nil, err
		}
		if patient.Erased {
			return nil, fault.New(fault.NotFound, "the details of consent %s were erased with its patient", id.Short())
		}
		d, err := c.details(p.Entry.Patient, id, p.Entry.Version)
		return &state.ConsentState{Signed: d.Signed, Time: p.Time}, err
	})
}

// OfPatient returns the latest version of each consent of a patient
// ([]ConsentState), by identifier. Like Get it is to be evaluated only.
func (*Consent) OfPatient(tx transaction, arg string) (string, error) {
	return serveID(tx, arg, func(c *call, id record.ID) ([]state.ConsentState, error) {
		patient := new(record.Patient)
		if _, err := c.get(state.PatientKey(id), patient); err != nil {
			return nil, err
		}
		return c.consentsOf(patient, id)
	})
}

func putConsent(c *call, e record.ConsentEntry) (*state.ConsentPublic, error) {
	details, err := c.transientDetails(e)
	if err != nil {
		return nil, err
	}
	s, d := details.Signed, details.Signed.Document
	patient, err := c.patient(d.Patient)
	if err != nil {
		return nil, err
	}
	if err := notErased(patient); err != nil {
		return nil, err
	}
	recorded, err := c.recorded(d)
	if err != nil {
		return nil, err
	}
	// Whose the consent is and who signed comes before any details are read: these may
	// not be here yet, and a stranger's document must not wait for them.
	if err := s.Verify(c.genesis.Network, c.genesis.RelyingParties, *patient); err != nil {
		if c.isRecorded(recorded, s) {
			return recorded, nil // whichever keys count by now
		}
		return nil, fault.New(fault.BadSignature, "%w", err)
	}
	previous, err := c.latest(recorded)
	if err != nil {
		return nil, err
	}
	if previous != nil && same(previous.Signed, s) {
		return recorded, nil
	}
	var last *consent.Document
	if previous != nil {
		last = &previous.Signed.Document
		if last.Digest(c.genesis.Network) == d.Digest(c.genesis.Network) {
			return recorded, nil
		}
		if counts(patient, *previous).Status != last.Status && d.Status == consent.StatusActive {
			return nil, fault.New(fault.Conflict, "consent %s: its patient has revoked everything since, which is final; make a new one with a new id", d.ID.Short())
		}
	}
	if err := consent.Follows(c.genesis.Network, last, d); err != nil {
		return nil, fault.New(fault.Conflict, "consent %s: %w", d.ID.Short(), err)
	}
	if err := c.checkMoment(patient, last, d); err != nil {
		return nil, err
	}
	return c.recordConsent(e, details)
}

// same reports whether two are the very same, signatures and all.
func same(a, b consent.Signed) bool {
	x, err := json.Marshal(a)
	y, second := json.Marshal(b)
	return err == nil && second == nil && bytes.Equal(x, y)
}

// transientDetails reads what came beside the transaction and holds it against
// the argument, which is all that the chain will show.
func (c *call) transientDetails(e record.ConsentEntry) (consent.Details, error) {
	var d consent.Details
	transient, err := c.stub.GetTransient()
	if err != nil {
		return d, err
	}
	raw, ok := transient[state.TransientDetails]
	if !ok || len(transient) != 1 {
		return d, fault.New(fault.Invalid, "the consent's document has to come as the one transient value %q", state.TransientDetails)
	}
	if err := record.DecodeJSON(raw, consent.MaxDetails, &d); err != nil {
		return d, fault.New(fault.Invalid, "the transient value %q is not the document expected: %w", state.TransientDetails, err)
	}
	if err := consent.Validate(d.Signed.Document); err != nil {
		return d, fault.New(fault.Invalid, "consent: %w", err)
	}
	if d.Salt.IsZero() {
		return d, fault.New(fault.Invalid, "the salt is missing")
	}
	if d.Entry(c.genesis.Network) != e {
		return d, fault.New(fault.Invalid, "the details are not those of the consent, version and hash in the argument")
	}
	return d, nil
}

// recorded returns what is public of the version that is recorded of a document's
// consent; nil if there is none. The consent is one patient's for ever.
func (c *call) recorded(d consent.Document) (*state.ConsentPublic, error) {
	p := new(state.ConsentPublic)
	exists, err := c.get(state.ConsentKey(d.ID), p)
	if err != nil || !exists {
		return nil, err
	}
	if p.Entry.Patient != d.Patient {
		return nil, fault.New(fault.Conflict, "consent %s is another patient's; make one with a new id", d.ID.Short())
	}
	return p, nil
}

// isRecorded reports whether a document, which may be signed with a key that counts
// no more, is the very one recorded. Where that cannot be seen it is not.
func (c *call) isRecorded(p *state.ConsentPublic, s consent.Signed) bool {
	if p == nil || p.Entry.Version != s.Document.Version {
		return false
	}
	previous, err := c.latest(p)
	return err == nil && same(previous.Signed, s)
}

// latest adds the document to what is public of the recorded version; nil if there
// is none.
func (c *call) latest(p *state.ConsentPublic) (*state.ConsentState, error) {
	if p == nil {
		return nil, nil
	}
	d, err := c.details(p.Entry.Patient, p.Entry.ID, p.Entry.Version)
	if err != nil {
		return nil, err
	}
	return &state.ConsentState{Signed: d.Signed, Time: p.Time}, nil
}

// details reads a version of a patient's consent from the private collection.
func (c *call) details(patient, id record.ID, version uint32) (consent.Details, error) {
	var d consent.Details
	raw, err := c.readPrivate(patient, state.ConsentDetailsKey(id, version))
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal(raw, &d)
}

// checkMoment applies the rules that depend on time. The end of a permission is
// exempt from all of them: nothing keeps a patient from stopping. The end of a denial
// permits more.
func (c *call) checkMoment(patient *record.Patient, previous *consent.Document, d consent.Document) error {
	if d.Status == consent.StatusActive {
		if err := c.checkActive(previous, d); err != nil {
			return err
		}
	}
	if !consent.Widens(previous, d) {
		return nil
	}
	now, err := c.now()
	if err != nil {
		return err
	}
	if all := patient.RevokedAt; all != nil && now < *all+state.CoolingOff {
		return fault.New(fault.TooEarly, "everything was revoked at %d; permit again from %d on", *all, *all+state.CoolingOff)
	}
	return c.checkCoolingOff(d, now)
}

// checkActive checks what holds for every version that does not end its consent.
func (c *call) checkActive(previous *consent.Document, d consent.Document) error {
	if err := c.checkTimestamp(); err != nil {
		return err
	}
	now, err := c.now()
	if err != nil {
		return err
	}
	if d.Expires <= now {
		return fault.New(fault.Expired, "the consent expires at %d and it is %d", d.Expires, now)
	}
	if !slices.Contains(c.institutions(), d.Grantee) {
		return fault.New(fault.Invalid, "%s is not an institution that may ask on this network", d.Grantee)
	}
	heads, err := c.heads(d.Patient)
	if err != nil {
		return err
	}
	return checkRoom(previous, heads)
}

// checkRoom bounds what a patient ever records.
func checkRoom(previous *consent.Document, heads []state.ConsentHead) error {
	if previous == nil && len(heads) >= maxConsents {
		return fault.New(fault.Exhausted, "the patient has made %d consents, which is the limit", maxConsents)
	}
	versions := uint32(0)
	for _, h := range heads {
		versions += h.Version
	}
	if versions >= maxVersions {
		return fault.New(fault.Exhausted, "the patient has made %d versions of consents, which is the limit; they can still be revoked", versions)
	}
	return nil
}

// checkCoolingOff lets a patient reconsider: for a day after a permission for an
// institution was revoked nothing permits it more, and a denial holds for a day.
func (c *call) checkCoolingOff(d consent.Document, now int64) error {
	heads, err := c.heads(d.Patient)
	if err != nil {
		return err
	}
	for _, h := range heads {
		if now >= h.Time+state.CoolingOff {
			continue
		}
		if h.Status == consent.StatusActive {
			if h.ID == d.ID && d.Effect == consent.EffectDeny {
				return fault.New(fault.TooEarly, "%s was denied at %d; lift that from %d on", d.Grantee, h.Time, h.Time+state.CoolingOff)
			}
			continue
		}
		old, err := c.details(d.Patient, h.ID, h.Version)
		if err != nil {
			return err
		}
		if old.Signed.Document.Grantee == d.Grantee {
			return fault.New(fault.TooEarly, "a consent for %s was revoked at %d; permit more from %d on", d.Grantee, h.Time, h.Time+state.CoolingOff)
		}
	}
	return nil
}

// institutions returns the MSP IDs that may ask.
func (c *call) institutions() []string {
	var list []string
	for _, e := range c.roster.Epochs {
		for _, m := range e.Members {
			if m.MSP != c.genesis.Registrar && !slices.Contains(list, m.MSP) {
				list = append(list, m.MSP)
			}
		}
	}
	return list
}

func (c *call) recordConsent(e record.ConsentEntry, d consent.Details) (*state.ConsentPublic, error) {
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	if err := c.writePrivate(e.Patient, state.ConsentDetailsKey(e.ID, e.Version), raw); err != nil {
		return nil, err
	}
	entry := &state.ConsentPublic{Entry: e, Time: now}
	if err := c.put(state.ConsentKey(e.ID), entry); err != nil {
		return nil, err
	}
	return entry, c.put(state.ConsentOfKey(e.Patient, e.ID), state.ConsentHead{ID: e.ID, Version: e.Version, Status: e.Status, Time: now})
}

// heads lists a patient's consents by identifier.
func (c *call) heads(patient record.ID) ([]state.ConsentHead, error) {
	var heads []state.ConsentHead
	err := c.scan(state.KindConsentOf, []string{patient.String()}, maxConsents+1, func(_ string, raw []byte) error {
		var h state.ConsentHead
		if err := json.Unmarshal(raw, &h); err != nil {
			return err
		}
		heads = append(heads, h)
		return nil
	})
	return heads, err
}

// consentsOf returns the latest version of each of a patient's consents: none
// once the patient is erased.
func (c *call) consentsOf(patient *record.Patient, id record.ID) ([]state.ConsentState, error) {
	states := []state.ConsentState{}
	heads, err := c.heads(id)
	if err != nil || patient.Erased {
		return states, err
	}
	for _, h := range heads {
		d, err := c.details(id, h.ID, h.Version)
		if err != nil {
			return nil, err
		}
		states = append(states, state.ConsentState{Signed: d.Signed, Time: h.Time})
	}
	return states, nil
}
