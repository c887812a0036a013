package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/zk/claim"
)

// NewClaim is a yes-only question about one patient.
type NewClaim struct {
	Patient string `json:"patient" pattern:"^[0-9a-f]{64}$" doc:"The patient, who allows this institution such claims."`
	Claim   string `json:"claim" minLength:"1" maxLength:"1024" doc:"The sentence that is to be proven, in English." example:"on 2027-01-31, heart rate was between 50 and 90 /min in at least 600 of the 1440 minutes 00:00-24:00 UTC"`
	Purpose string `json:"purpose,omitempty" default:"HRESCH" maxLength:"64" doc:"HL7 v3 purpose of use."`
}

// Claim is such a question with its outcome: a proven yes, or no answer. No answer is no
// "no": the patient may have declined, the device may be away.
type Claim struct {
	ID      string    `json:"id"`
	Patient string    `json:"patient"`
	Claim   string    `json:"claim"`
	Asked   time.Time `json:"asked"`
	Expires time.Time `json:"expires"`
	State   string    `json:"state" enum:"asked,attested,expired" doc:"attested: a proven yes. expired: no answer, which is no \"no\"."`
}

// ClaimEntry is what a list says of a claim.
type ClaimEntry struct {
	ID      string    `json:"id"`
	Asked   time.Time `json:"asked"`
	Expires time.Time `json:"expires"`
	Closed  bool      `json:"closed"`
}

type newClaim struct{ Body NewClaim }

type acceptedClaim struct {
	Location string `header:"Location" doc:"The claim."`
	Body     struct {
		ID string `json:"id"`
	}
}

type claimPath struct {
	Claim string `path:"claim" pattern:"^[0-9a-f]{64}$" doc:"The claim."`
	Conditional
}

type proofFile struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

func (s *Server) claims() {
	write(s, route{path: "/v1/claims", id: "claim", group: "claims", summary: "Ask for a proof of a claim about one patient", description: "What comes back is the proof or nothing. Asked again it is another claim: there is no idempotency key, since a claim costs no budget and a patient sees each.", roles: analysts, status: http.StatusAccepted}, s.claim)
	read(s, route{path: "/v1/claims", id: "listClaims", group: "claims", summary: "This institution's claims, newest first", roles: analysts}, s.listClaims)
	read(s, route{path: "/v1/claims/{claim}", id: "getClaim", group: "claims", summary: "A claim and what became of it", roles: analysts, foreign: "404"}, s.getClaim)
	binary := map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	r := route{method: http.MethodGet, path: "/v1/claims/{claim}/proof", id: "getProof", group: "claims", summary: "The proof of an attested claim", description: "As the ledger's contract has verified it; \"vitalveil verify\" checks it again.", roles: analysts, foreign: "404", formats: binary}
	huma.Register(s.huma, describe(s, s.add(r)), func(ctx context.Context, in *claimPath) (*proofFile, error) {
		p, err := s.claimed(ctx, in.Claim)
		if err != nil {
			return nil, problemOf(err)
		}
		if p.Status != record.PredicateAttested {
			return nil, problemOf(fault.New(fault.TooEarly, "claim %s is not attested; there is no proof", p.ID))
		}
		return &proofFile{"application/octet-stream", `attachment; filename="` + p.ID[:16] + `.proof"`, p.Proof}, nil
	})
}

func (s *Server) claim(ctx context.Context, in *newClaim) (*acceptedClaim, error) {
	said, err := claim.English.Parse(in.Body.Claim)
	if err != nil {
		return nil, fault.New(fault.Invalid, "claim: %w", err)
	}
	a, err := said.Ask()
	if err != nil {
		return nil, fault.New(fault.Invalid, "claim: %w", err)
	}
	if err := a.Patient.UnmarshalText([]byte(in.Body.Patient)); err != nil {
		return nil, fault.New(fault.Invalid, "patient: %w", err)
	}
	a.Purpose = in.Body.Purpose
	id, err := s.desk.AskPredicate(ctx, a)
	if err != nil {
		return nil, err
	}
	out := &acceptedClaim{Location: "/v1/claims/" + id}
	out.Body.ID = id
	return out, nil
}

func (s *Server) listClaims(_ context.Context, in *listed) (list[ClaimEntry], error) {
	all, err := s.desk.Index().ClaimsOf(s.desk.MSP(), in.Cursor, in.Limit+1)
	if err != nil {
		return list[ClaimEntry]{}, err
	}
	return pageOf(all, in.Page, func(p record.PredicateEntry) string { return p.ID }, func(p record.PredicateEntry) ClaimEntry {
		return ClaimEntry{p.ID, time.Unix(p.Asked, 0).UTC(), time.Unix(p.Expires, 0).UTC(), p.Status != record.PredicateAsked}
	}), nil
}

// claimed is one of this institution's claims.
func (s *Server) claimed(ctx context.Context, id string) (record.PredicateState, error) {
	if e, known := s.desk.Index().Predicate(id); known && e.Asker != s.desk.MSP() {
		return record.PredicateState{}, fault.New(fault.NotFound, "no claim %s of this institution's", id)
	}
	return s.desk.Predicate(ctx, id)
}

func (s *Server) getClaim(ctx context.Context, in *claimPath) (Claim, error) {
	p, err := s.claimed(ctx, in.Claim)
	if err != nil {
		return Claim{}, err
	}
	return Claim{p.ID, p.Ask.Patient.String(), claim.Sentence(p.Ask, claim.English), time.Unix(p.Asked, 0).UTC(), time.Unix(p.Expires, 0).UTC(), p.Status}, nil
}
