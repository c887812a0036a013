package chaincode

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// ConsentState is the ledger's record of the latest version of a consent.
type ConsentState struct {
	Signed consent.Signed `json:"signed"`
	Time   int64          `json:"time"` // ledger time when it was recorded
}

// ConsentHead lists a consent under its patient.
type ConsentHead struct {
	ID      record.ID `json:"id"`
	Version uint32    `json:"version"`
	Grantee string    `json:"grantee"`
	Status  string    `json:"status"`
	Time    int64     `json:"time"` // ledger time of this version
}

const (
	// maxConsents bounds the consents that a patient ever makes.
	maxConsents = 256
	// CoolingOff is how many seconds after a revocation the same institution may
	// be permitted more again.
	CoolingOff = 24 * hourSeconds
)

// Put records a version of a consent that the patient signed (consent.Signed,
// ConsentState), whoever submits it.
func (*Consent) Put(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, untimed, arg, consent.MaxDocument, putConsent)
}

// Get returns the ConsentState of the latest version of a consent.
func (*Consent) Get(tx transaction, arg string) (string, error) {
	return serveID(tx, arg, func(c *call, id record.ID) (*ConsentState, error) {
		s := new(ConsentState)
		return s, c.need(ConsentKey(id), s, "consent "+id.Short())
	})
}

// OfPatient returns the latest version of each consent of a patient
// ([]ConsentState), by identifier.
func (*Consent) OfPatient(tx transaction, arg string) (string, error) {
	return serveID(tx, arg, func(c *call, patient record.ID) ([]ConsentState, error) {
		return c.consentsOf(patient, "")
	})
}

func putConsent(c *call, s consent.Signed) (*ConsentState, error) {
	d := s.Document
	if err := consent.Validate(d); err != nil {
		return nil, fault.New(fault.Invalid, "consent: %w", err)
	}
	patient, err := c.patient(d.Patient)
	if err != nil {
		return nil, err
	}
	recorded := new(ConsentState)
	exists, err := c.get(ConsentKey(d.ID), recorded)
	if err != nil {
		return nil, err
	}
	if exists && same(recorded.Signed, s) {
		return recorded, nil // whichever keys count by now
	}
	if err := s.Verify(c.genesis.Network, c.genesis.RelyingParties, *patient); err != nil {
		return nil, fault.New(fault.BadSignature, "%w", err)
	}
	var previous *consent.Document
	if exists {
		previous = &recorded.Signed.Document
		if previous.Digest(c.genesis.Network) == d.Digest(c.genesis.Network) {
			return recorded, nil
		}
		if counts(patient, *recorded).Status != previous.Status && d.Status != consent.StatusRevoked {
			return nil, fault.New(fault.Conflict, "consent %s: its patient has revoked everything since, which is final; make a new one with a new id", d.ID.Short())
		}
	}
	if err := consent.Follows(c.genesis.Network, previous, d); err != nil {
		return nil, fault.New(fault.Conflict, "consent %s: %w", d.ID.Short(), err)
	}
	if err := c.checkMoment(patient, previous, d); err != nil {
		return nil, err
	}
	return c.recordConsent(s)
}

// same reports whether two are the very same, signatures and all.
func same(a, b consent.Signed) bool {
	x, err := json.Marshal(a)
	y, second := json.Marshal(b)
	return err == nil && second == nil && bytes.Equal(x, y)
}

// checkMoment applies the rules that depend on time. A revocation is exempt from
// all of them: nothing keeps a patient from stopping.
func (c *call) checkMoment(patient *record.Patient, previous *consent.Document, d consent.Document) error {
	if d.Status == consent.StatusRevoked {
		return nil
	}
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
	if previous == nil && len(heads) >= maxConsents {
		return fault.New(fault.Exhausted, "the patient has made %d consents, which is the limit", maxConsents)
	}
	if d.Effect == consent.EffectDeny || previous != nil && consent.Narrower(*previous, d) {
		return nil
	}
	if all := patient.RevokedAt; all != nil && now < *all+CoolingOff {
		return fault.New(fault.TooEarly, "everything was revoked at %d; permit again from %d on", *all, *all+CoolingOff)
	}
	for _, h := range heads {
		if h.Grantee == d.Grantee && h.Status == consent.StatusRevoked && now < h.Time+CoolingOff {
			return fault.New(fault.TooEarly, "a consent for %s was revoked at %d; permit more from %d on", d.Grantee, h.Time, h.Time+CoolingOff)
		}
	}
	return nil
}

// institutions returns the MSP IDs that may ask.
func (c *call) institutions() []string {
	var list []string
	for _, m := range c.genesis.Members {
		if m.MSP != c.genesis.Registrar {
			list = append(list, m.MSP)
		}
	}
	return list
}

func (c *call) recordConsent(s consent.Signed) (*ConsentState, error) {
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	d := s.Document
	state := &ConsentState{Signed: s, Time: now}
	if err := c.put(ConsentKey(d.ID), state); err != nil {
		return nil, err
	}
	head := ConsentHead{ID: d.ID, Version: d.Version, Grantee: d.Grantee, Status: d.Status, Time: now}
	return state, c.put(ConsentOfKey(d.Patient, d.ID), head)
}

// heads lists a patient's consents by identifier.
func (c *call) heads(patient record.ID) ([]ConsentHead, error) {
	var heads []ConsentHead
	err := c.scan(KindConsentOf, []string{patient.String()}, maxConsents+1, func(_ string, raw []byte) error {
		var h ConsentHead
		if err := json.Unmarshal(raw, &h); err != nil {
			return err
		}
		heads = append(heads, h)
		return nil
	})
	return heads, err
}

// consentsOf returns the latest versions of a patient's consents, of those for
// one grantee if it is not empty.
func (c *call) consentsOf(patient record.ID, grantee string) ([]ConsentState, error) {
	heads, err := c.heads(patient)
	if err != nil {
		return nil, err
	}
	states := []ConsentState{}
	for _, h := range heads {
		if grantee != "" && h.Grantee != grantee {
			continue
		}
		var s ConsentState
		if err := c.need(ConsentKey(h.ID), &s, "consent "+h.ID.Short()); err != nil {
			return nil, err
		}
		states = append(states, s)
	}
	return states, nil
}

// permission asks the patient's documents; a refusal is a fault with the reasons.
// If only is not zero, no other consent may permit.
func (c *call) permission(patient, only record.ID, r consent.Request) (consent.Decision, error) {
	states, err := c.consentsOf(patient, r.Grantee)
	if err != nil {
		return consent.Decision{}, err
	}
	p, err := c.patient(patient)
	if err != nil {
		return consent.Decision{}, err
	}
	var docs []consent.Document
	for _, s := range states {
		d := counts(p, s)
		if only.IsZero() || d.ID == only || d.Effect != consent.EffectPermit {
			docs = append(docs, d)
		}
	}
	decision := consent.Decide(docs, r)
	if !decision.Permit {
		return decision, fault.New(fault.Forbidden, "the patient's consent does not allow it: %s", strings.Join(decision.Reasons, "; "))
	}
	return decision, nil
}
