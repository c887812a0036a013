package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// refusedInFHIR sends a request that has to be answered by an OperationOutcome.
func (w *world) refusedInFHIR(what string, r *http.Request, status int, issue string, code fault.Code) *http.Response {
	w.Helper()
	resp, body := w.raw(r)
	var o outcome
	if err := json.Unmarshal(body, &o); err != nil {
		w.Fatalf("%s: %s", what, body)
	}
	if resp.StatusCode != status || resp.Header.Get("Content-Type") != "application/fhir+json" || o.ResourceType != "OperationOutcome" ||
		len(o.Issue) != 1 || o.Issue[0].Severity != "error" || o.Issue[0].Code != issue || o.Issue[0].Diagnostics == "" ||
		o.Issue[0].Details.Coding[0].Code != string(code) {
		w.Errorf("%s: %d %s", what, resp.StatusCode, body)
	}
	return resp
}

func TestPatientAndMembersReadAConsentInFHIR(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	signed := p.consent()
	w.done(w.as("", nil).PutConsent(context.Background(), signed))
	for what, s := range map[string]*api.Signer{
		"the patient": {Party: api.PatientParty(p.id), Key: p.key},
		"a member":    {Party: api.MemberParty(hospitalB), Key: w.signers[hospitalB]},
	} {
		for _, query := range []string{"", "?_format=json"} {
			resp, body := w.raw(w.signed(s, "GET", "/fhir/Consent/"+signed.Document.ID.String()+query, nil, time.Now()))
			if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/fhir+json" {
				t.Fatalf("%s: %d %s", what, resp.StatusCode, body)
			}
			d, err := consent.FromFHIR(body)
			if err != nil || d.Digest(w.genesis.Network) != signed.Document.Digest(w.genesis.Network) {
				t.Errorf("%s read %+v, %v", what, d, err)
			}
		}
	}
}

func TestFHIRErrorsAreOperationOutcomes(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	late := p.consent(func(d *consent.Document) { d.Expires = consent.MaxTime })
	w.done(w.as("", nil).PutConsent(context.Background(), late))
	s := &api.Signer{Party: api.PatientParty(p.id), Key: p.key}
	member := &api.Signer{Party: api.MemberParty(hospitalA), Key: w.signers[hospitalA]}
	get := func(s *api.Signer, target string) *http.Request { return w.signed(s, "GET", target, nil, time.Now()) }
	target := "/fhir/Consent/" + late.Document.ID.String()

	w.refusedInFHIR("a time that FHIR cannot write", get(s, target), 400, "invalid", fault.Invalid)
	w.refusedInFHIR("XML", get(s, target+"?_format=xml"), 406, "not-supported", fault.Invalid)
	w.refusedInFHIR("a search", get(s, "/fhir/Consent?patient=1"), 404, "not-found", fault.NotFound)
	w.refusedInFHIR("an unknown parameter", get(s, target+"?_summary=true"), 400, "invalid", fault.Invalid)
	w.refusedInFHIR("no such consent, for a member", get(member, "/fhir/Consent/"+record.RandomID().String()), 404, "not-found", fault.NotFound)
	w.refusedInFHIR("nothing there", w.request("GET", "/fhir", nil), 404, "not-found", fault.NotFound)
	w.refusedInFHIR("a write", w.request("PUT", target, []byte("{}")), 405, "invalid", fault.Invalid)

	resp, body := w.raw(get(s, "/v1/consents/"+record.RandomID().String()))
	problem(t, resp, body, http.StatusForbidden, fault.Forbidden)
}

func TestAttackReadingOthersConsentsInFHIR(t *testing.T) {
	w := newWorld(t)
	p, other := w.enrolled(), w.enrolled()
	signed := p.consent()
	w.done(w.as("", nil).PutConsent(context.Background(), signed))
	target := "/fhir/Consent/" + signed.Document.ID.String()
	stranger := &api.Signer{Party: api.PatientParty(other.id), Key: other.key}

	there := w.refusedInFHIR("another patient", w.signed(stranger, "GET", target, nil, time.Now()), 403, "forbidden", fault.Forbidden)
	absent := w.refusedInFHIR("a consent that is not there",
		w.signed(stranger, "GET", "/fhir/Consent/"+record.RandomID().String(), nil, time.Now()), 403, "forbidden", fault.Forbidden)
	if there.ContentLength != absent.ContentLength {
		t.Error("a stranger can tell whether a consent exists")
	}
	unsigned := w.refusedInFHIR("unsigned", w.request("GET", target, nil), 401, "login", fault.BadSignature)
	if unsigned.Header.Get("WWW-Authenticate") == "" {
		t.Error("401 without a challenge")
	}
	native := w.signed(&api.Signer{Party: api.PatientParty(p.id), Key: p.key}, "GET", "/v1/consents/"+signed.Document.ID.String(), nil, time.Now())
	moved := w.request("GET", target, nil)
	copySignature(moved, native)
	w.refusedInFHIR("a signature for the native route", moved, 401, "login", fault.BadSignature)
	device := &api.Signer{Party: api.DeviceParty(record.RandomID()), Key: newKey(t)}
	w.refusedInFHIR("a device", w.signed(device, "GET", target, nil, time.Now()), 403, "forbidden", fault.Forbidden)
}

func TestTheFHIRInterfaceSaysWhatItCanDo(t *testing.T) {
	w := newWorld(t)
	resp, body := w.raw(w.request("GET", "/fhir/metadata", nil))
	var c struct {
		ResourceType, Status, Date, Kind, FHIRVersion string
		Format                                        []string
		Implementation                                struct{ Description string }
		Rest                                          []struct {
			Mode     string
			Resource []struct {
				Type        string
				Interaction []struct{ Code string }
			}
		}
	}
	w.ok(json.Unmarshal(body, &c))
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/fhir+json" ||
		c.ResourceType != "CapabilityStatement" || c.Status != "active" || c.Kind != "instance" || c.FHIRVersion != "4.0.1" ||
		len(c.Date) != 10 || c.Implementation.Description == "" || len(c.Format) == 0 || len(c.Rest) != 1 || c.Rest[0].Mode != "server" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	// What it names is there, and nothing else is.
	var named []string
	for _, res := range c.Rest[0].Resource {
		for _, i := range res.Interaction {
			named = append(named, i.Code+" "+res.Type)
		}
	}
	if len(named) != len(fhirRoutes)-1 || named[0] != "read Consent" {
		t.Errorf("named are %s", strings.Join(named, ", "))
	}
}

func TestEveryCodeHasAnIssueType(t *testing.T) {
	for code := range fault.Codes {
		if issueTypes[code] == "" {
			t.Errorf("%s has none", code)
		}
	}
}
