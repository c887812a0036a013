package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/vitalveil/vitalveil/consent/fhir"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
)

const (
	fhirJSON    = "application/fhir+json"
	fhirVersion = "4.0" // as media types name it
)

// fhirRoutes is the FHIR R4 interface. It is signed like the REST interface.
var fhirRoutes = []route{
	{method: http.MethodGet, name: "/fhir/metadata", path: regexp.MustCompile(`^/fhir/metadata$`), query: append([]string{"mode"}, fhirParameters...)},
	{
		method: http.MethodGet, name: "/fhir/Consent/{consent}", path: regexp.MustCompile(`^/fhir/Consent/[0-9a-f]{64}$`),
		parties: []string{api.PartyPatient, api.PartyMember}, query: fhirParameters,
	},
}

// fhirParameters are those that every interaction has; only _format can change an answer.
var fhirParameters = []string{"_format", "_pretty", "_summary"}

// isFHIR reports whether a path belongs to the FHIR interface.
func isFHIR(path string) bool { return path == "/fhir" || strings.HasPrefix(path, "/fhir/") }

// serveFHIR answers a request that the front let through.
func (g *Gateway) serveFHIR(w http.ResponseWriter, r *http.Request) {
	var resource []byte
	err := g.door.guard("fhir", func() error {
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
	if r.URL.Path == "/fhir/metadata" {
		return g.capabilities()
	}
	return g.fhirConsent(r.Context(), path.Base(r.URL.Path))
}

// checkFHIRFormat insists that what is asked for is what there is: a whole resource in
// JSON. _format counts before Accept, and its plus may stand for itself.
func checkFHIRFormat(r *http.Request) error {
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return fault.New(fault.Invalid, "the query string cannot be read")
	}
	for name, possible := range map[string][]string{"_pretty": {"true", "false"}, "_summary": {"false"}, "mode": {"full"}} {
		if query.Has(name) && !slices.Contains(possible, query.Get(name)) {
			return fault.New(fault.Invalid, "%s can be %s here", name, strings.Join(possible, " or "))
		}
	}
	wanted := ranges(r.Header)
	if query.Has("_format") {
		wanted = []mediaRange{parseRange(strings.Replace(query.Get("_format"), "fhir json", "fhir+json", 1))}
	} else if r.Header["Accept"] == nil {
		return nil
	}
	if !slices.ContainsFunc(wanted, isFHIRJSON) {
		return statusError{fault.New(fault.Invalid, "resources are here as %s of FHIR %s only", fhirJSON, fhirVersion), http.StatusNotAcceptable}
	}
	return nil
}

// isFHIRJSON says that a media range has FHIR R4 in JSON.
func isFHIRJSON(m mediaRange) bool {
	version, has := m.params["fhirversion"]
	if has && version != fhirVersion {
		return false
	}
	switch m.kind {
	case "json", "application/json", fhirJSON, "text/json", "application/*", "*/*":
		return true
	}
	return false
}

func (g *Gateway) fhirConsent(ctx context.Context, id string) ([]byte, error) {
	state, err := g.consentFor(ctx, callerOf(ctx), id)
	if err != nil {
		return nil, err
	}
	p, err := g.patient(ctx, state.Signed.Document.Patient)
	if err != nil {
		return nil, err
	}
	image := fhir.Write
	if p.RevokedSince(state.Time) {
		image = fhir.WriteWithdrawn
	}
	resource, err := image(state.Signed.Document)
	if err != nil {
		return nil, fault.New(fault.Invalid, "this consent has no form in FHIR, read it at /v1/consents/%s: %w", id, err)
	}
	return resource, nil
}

// capabilitiesDate is when the FHIR interface last changed.
const capabilitiesDate = "2026-11-30"

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
		"format":      []string{fhirJSON, "json"},
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
	if p.Status == http.StatusNotAcceptable {
		kind = "not-supported"
	}
	return outcome{ResourceType: "OperationOutcome", Issue: []issue{{
		Severity: "error", Code: kind, Diagnostics: p.Detail,
		Details: concept{Coding: []coding{{System: strings.TrimSuffix(problemType, ":"), Code: string(p.Code)}}, Text: p.Title},
	}}}
}
