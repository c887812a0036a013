package chaincode

import (
	"strings"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// documents returns the latest version of each of the patient's consents for a
// grantee, with the status that it counts with: none once the patient is erased.
func (c *call) documents(id record.ID, grantee string) ([]consent.Document, error) {
	patient, err := c.patient(id)
	if err != nil {
		return nil, err
	}
	heads, err := c.heads(id)
	if err != nil || patient.Erased {
		return nil, err
	}
	var docs []consent.Document
	for _, h := range heads {
		details, err := c.details(id, h.ID, h.Version)
		if err != nil {
			return nil, err
		}
		d := counts(patient, state.ConsentState{Signed: details.Signed, Time: h.Time})
		if d.Grantee == grantee {
			docs = append(docs, d)
		}
	}
	return docs, nil
}

// permission asks the patient's documents; a refusal is a fault with the reasons.
// If only is not zero, no other consent may permit.
func (c *call) permission(docs []consent.Document, only record.ID, r consent.Request) (consent.Decision, error) {
	var count []consent.Document
	for _, d := range docs {
		if only.IsZero() || d.ID == only || d.Effect != consent.EffectPermit {
			count = append(count, d)
		}
	}
	decision := consent.Decide(count, r)
	if !decision.Permit {
		return decision, fault.New(fault.Forbidden, "the patient's consent does not allow it: %s", strings.Join(decision.Reasons, "; "))
	}
	return decision, nil
}
