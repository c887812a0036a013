package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"path"
	"strings"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
)

const fhirJSON = "application/fhir+json"

// fhirRoutes is the FHIR R4 interface. It is signed like the REST interface.
var fhirRoutes = []route{
	newRoute("GET", "/fhir/metadata", 0, []string{"_format"}),
	newRoute("GET", "/fhir/Consent/{id}", 0, []string{"_format"}, api.PartyPatient, api.PartyMember),
}

// isFHIR reports whether a path belongs to the FHIR interface.
func isFHIR(path string) bool { return path == "/fhir" || strings.HasPrefix(path, "/fhir/") }

// serveFHIR answers a request that the front let through.
func (g *Gateway) serveFHIR(w http.ResponseWriter, r *http.Request) {
	var resource []byte
	err := g.guard("fhir", func() error {
		var err error
		resource, err = g.fhirResource(r)
		return err
	})
	if err != nil {
		if asFault(err).Code == fault.Internal {
			g.log.Error("request failed", "method", "fhir", "error", err)
		}
		refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", fhirJSON)
	w.Write(resource)
}

func (g *Gateway) fhirResource(r *http.Request) ([]byte, error) {
	switch r.URL.Query().Get("_format") {
	case "", "json", "application/json", fhirJSON:
	default:
		return nil, fault.New(fault.Invalid, "resources are here in the format %s only", fhirJSON)
	}
	if r.URL.Path == "/fhir/metadata" {
		return g.capabilities()
	}
	return g.fhirConsent(r.Context(), path.Base(r.URL.Path))
}

func (g *Gateway) fhirConsent(ctx context.Context, id string) ([]byte, error) {
	who, _ := ctx.Value(callerKey{}).(caller)
	state, err := g.consentFor(ctx, who, id)
	if err != nil {
		return nil, err
	}
	p, err := g.patient(ctx, state.Signed.Document.Patient)
	if err != nil {
		return nil, err
	}
	image := consent.ToFHIR
	if p.RevokedSince(state.Time) {
		image = consent.WithdrawnToFHIR
	}
	resource, err := image(state.Signed.Document)
	if err != nil {
		return nil, fault.New(fault.Invalid, "this consent has no form in FHIR, read it at /v1/consents/%s: %w", id, err)
	}
	return resource, nil
}

// capabilitiesDate is when the FHIR interface last changed.
const capabilitiesDate = "2026-11-20"

// capabilities says what the FHIR interface can do (CapabilityStatement).
func (g *Gateway) capabilities() ([]byte, error) {
	type object = map[string]any
	return json.Marshal(object{
		"resourceType": "CapabilityStatement",
		"status":       "active",
		"date":         capabilitiesDate,
		"kind":         "instance",
		"software":     object{"name": "Vitalveil gateway"},
		"implementation": object{
			"description": "Consents of the network " + g.genesis.Network + ", for reading. What patients sign and the ledger records is at /v1.",
		},
		"fhirVersion": "4.0.1",
		"format":      []string{fhirJSON},
		"rest": []object{{
			"mode": "server",
			"security": object{
				"description": "Requests are signed as the description of the REST interface at /docs says, by the patient or a member.",
			},
			"resource": []object{{
				"type":        "Consent",
				"interaction": []object{{"code": "read"}},
				"versioning":  "no-version",
			}},
		}},
	})
}

// issueTypes are the codes of FHIR's issue-type that are nearest to ours, which
// travel in the details.
var issueTypes = map[fault.Code]string{
	fault.Invalid:      "invalid",
	fault.Forbidden:    "forbidden",
	fault.NotFound:     "not-found",
	fault.Conflict:     "conflict",
	fault.BadSignature: "security",
	fault.Exhausted:    "business-rule",
	fault.TooEarly:     "business-rule",
	fault.Expired:      "expired",
	fault.Purged:       "deleted",
	fault.TooLarge:     "too-long",
	fault.TooFew:       "business-rule",
	fault.Contention:   "lock-error",
	fault.Unavailable:  "transient",
	fault.Internal:     "exception",
}

// outcome is a FHIR OperationOutcome.
type outcome struct {
	ResourceType string  `json:"resourceType"`
	Issue        []issue `json:"issue"`
}

type issue struct {
	Severity    string  `json:"severity"`
	Code        string  `json:"code"`
	Details     concept `json:"details"`
	Diagnostics string  `json:"diagnostics,omitempty"`
}

type concept struct {
	Coding []coding `json:"coding"`
	Text   string   `json:"text"`
}

type coding struct {
	System string `json:"system"`
	Code   string `json:"code"`
}

// outcomeOf is a problem as an OperationOutcome.
func outcomeOf(p api.Problem) outcome {
	kind := issueTypes[p.Code]
	if p.Status == http.StatusUnauthorized {
		kind = "login"
	}
	return outcome{ResourceType: "OperationOutcome", Issue: []issue{{
		Severity: "error", Code: kind, Diagnostics: p.Detail,
		Details: concept{Coding: []coding{{System: strings.TrimSuffix(problemType, ":"), Code: string(p.Code)}}, Text: p.Title},
	}}}
}
