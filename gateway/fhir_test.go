package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/consent/fhir"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/consortium"
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
		"the patient": {Party: api.PatientParty(p.ID), Key: p.Key},
		"a member":    {Party: api.MemberParty(hospitalB), Key: w.Keys[hospitalB]},
	} {
		for _, query := range []string{"", "?_format=json"} {
			resp, body := w.raw(w.signed(s, "GET", "/fhir/Consent/"+signed.Document.ID.String()+query, nil, time.Now()))
			if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/fhir+json" {
				t.Fatalf("%s: %d %s", what, resp.StatusCode, body)
			}
			d, err := fhir.Read(body)
			if err != nil || d.Digest(w.Genesis.Network) != signed.Document.Digest(w.Genesis.Network) {
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
	s := &api.Signer{Party: api.PatientParty(p.ID), Key: p.Key}
	member := &api.Signer{Party: api.MemberParty(hospitalA), Key: w.Keys[hospitalA]}
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
	stranger := &api.Signer{Party: api.PatientParty(other.ID), Key: other.Key}

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
	native := w.signed(&api.Signer{Party: api.PatientParty(p.ID), Key: p.Key}, "GET", "/v1/consents/"+signed.Document.ID.String(), nil, time.Now())
	moved := w.request("GET", target, nil)
	copySignature(moved, native)
	w.refusedInFHIR("a signature for the native route", moved, 401, "login", fault.BadSignature)
	device := &api.Signer{Party: api.DeviceParty(record.RandomID()), Key: consortium.NewKey()}
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

func TestFHIRFormatsAreAskedForAsClientsDo(t *testing.T) {
	w := newWorld(t)
	for query, ok := range map[string]bool{
		"_format=json":                                             true,
		"_format=text/json":                                        true,
		"_format=application/json":                                 true,
		"_format=application/fhir%2Bjson":                          true,
		"_format=application/fhir+json":                            true,
		"_format=application/fhir+json;fhirVersion=4.0":            true,
		"_format=application%2Ffhir%2Bjson%3B%20fhirVersion%3D4.0": true,
		"_format=json&_pretty=true&_summary=false&mode=full":       true,
		"_pretty=false":                                            true,
		"_format=xml":                                              false,
		"_format=application/fhir+xml":                             false,
		"_format=ttl":                                              false,
		"_format=application/fhir+json;fhirVersion=3.0":            false,
		"_format=": false,
	} {
		resp, body := w.raw(w.request("GET", "/fhir/metadata?"+query, nil))
		if ok && (resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != fhirJSON) {
			t.Errorf("%s: %d %s", query, resp.StatusCode, body)
		}
		if !ok {
			w.refusedInFHIR(query, w.request("GET", "/fhir/metadata?"+query, nil), http.StatusNotAcceptable, "not-supported", fault.Invalid)
		}
	}
	for accept, ok := range map[string]bool{
		"application/fhir+json":                                    true,
		"application/fhir+json; fhirVersion=4.0":                   true,
		"application/fhir+json;q=1.0, application/json+fhir;q=0.9": true,
		"application/fhir+xml;q=1.0, application/fhir+json;q=0.5":  true,
		"application/json":                                         true,
		"*/*":                                                      true,
		"text/html, application/xhtml+xml, */*;q=0.8":              true,
		"application/fhir+xml":                                     false,
		"application/fhir+xml, application/fhir+json;q=0":          false,
		"application/fhir+json; fhirVersion=5.0":                   false,
		"text/html":                                                false,
		"nonsense,,;":                                              false,
	} {
		r := w.request("GET", "/fhir/metadata", nil)
		r.Header.Set("Accept", accept)
		if !ok {
			w.refusedInFHIR(accept, r, http.StatusNotAcceptable, "not-supported", fault.Invalid)
			continue
		}
		if resp, body := w.raw(r); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", accept, resp.StatusCode, body)
		}
	}
	r := w.request("GET", "/fhir/metadata?_format=json", nil)
	r.Header.Set("Accept", "application/fhir+xml")
	if resp, body := w.raw(r); resp.StatusCode != http.StatusOK {
		t.Errorf("_format does not count before Accept: %d %s", resp.StatusCode, body)
	}
	for _, query := range []string{"_pretty=maybe", "_summary=true", "mode=terminology", "_elements=id", "_format=json&_format=json"} {
		w.refusedInFHIR(query, w.request("GET", "/fhir/metadata?"+query, nil), http.StatusBadRequest, "invalid", fault.Invalid)
	}
}

func TestFHIRResourcesAreAskedForByHead(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	signed := p.consent()
	w.done(w.as("", nil).PutConsent(context.Background(), signed))
	s := &api.Signer{Party: api.PatientParty(p.ID), Key: p.Key}
	target := "/fhir/Consent/" + signed.Document.ID.String()
	resp, body := w.raw(w.signed(s, "HEAD", target, nil, time.Now()))
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != fhirJSON || len(body) > 0 {
		t.Errorf("%d %s %s", resp.StatusCode, resp.Header.Get("Content-Type"), body)
	}
	moved := w.request("HEAD", target, nil)
	copySignature(moved, w.signed(s, "GET", target, nil, time.Now()))
	if resp, _ := w.raw(moved); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a signature of GET passes for HEAD: %d", resp.StatusCode)
	}
}
