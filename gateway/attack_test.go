package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// signed is a request signed by a party at a time.
func (w *world) signed(s *api.Signer, method, target string, body []byte, at time.Time) *http.Request {
	w.Helper()
	r := w.request(method, target, body)
	w.ok(s.Sign(r, w.Genesis.Network, body, at))
	return r
}

// copySignature puts the signature of a request, with the digest that it covers, on another.
func copySignature(to, from *http.Request) {
	for _, name := range []string{api.HeaderInput, api.HeaderSignature, api.HeaderDigest, api.HeaderKey} {
		if v := from.Header.Get(name); v != "" {
			to.Header.Set(name, v)
		}
	}
}

// refused sends a request that has to be answered 401.
func (w *world) refused(what string, r *http.Request) {
	w.Helper()
	resp, body := w.raw(r)
	p := problem(w, resp, body, http.StatusUnauthorized, fault.BadSignature)
	if resp.Header.Get("WWW-Authenticate") == "" || !strings.Contains(resp.Header.Get("Accept-Signature"), api.Tag(w.Genesis.Network)) || p.Detail == "" {
		w.Errorf("%s: no challenge or detail: %+v", what, p)
	}
}

func TestAttackRequestsWithoutTheRightSignature(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	target := "/v1/devices/" + d.ID.String() + "/requests"
	signer := &api.Signer{Party: api.DeviceParty(d.ID), Key: d.Key}
	now := time.Now()

	resp, body := w.raw(w.signed(signer, "GET", target, nil, now))
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the right signature: %d %s", resp.StatusCode, body)
	}
	w.refused("unsigned", w.request("GET", target, nil))
	w.refused("another key", w.signed(&api.Signer{Party: signer.Party, Key: consortium.NewKey()}, "GET", target, nil, now))
	w.refused("unknown device", w.signed(&api.Signer{Party: api.DeviceParty(record.RandomID()), Key: consortium.NewKey()}, "GET", target, nil, now))
	w.refused("expired", w.signed(signer, "GET", target, nil, now.Add(-maxSkew-2*time.Second)))
	w.refused("from the future", w.signed(signer, "GET", target, nil, now.Add(maxSkew+2*time.Second)))

	foreign := w.request("GET", target, nil)
	w.ok(signer.Sign(foreign, "another-network", nil, now))
	w.refused("signed for another network", foreign)

	twice := w.signed(signer, "GET", target, nil, now)
	twice.Header.Add(api.HeaderSignature, twice.Header.Get(api.HeaderSignature))
	w.refused("two signatures", twice)

	moved := w.signed(signer, "GET", target, nil, now)
	moved.Header.Set(api.HeaderInput, strings.Replace(moved.Header.Get(api.HeaderInput), fmt.Sprint(now.Unix()), fmt.Sprint(now.Unix()+1), 1))
	w.refused("another time than was signed", moved)
}

func TestAttackSignaturesOfOtherParties(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d, other, p := w.device(), w.device(), w.enrolled()
	forbidden := func(what string, err error) {
		t.Helper()
		if err == nil || fault.Of(err) != fault.Forbidden {
			t.Errorf("%s: %v, want %s", what, err, fault.Forbidden)
		}
	}
	_, err := other.client().Requests(ctx, d.ID)
	forbidden("another device's requests", err)
	_, err = other.client().Receipts(ctx, d.ID, record.KindRow, 0, 1)
	forbidden("another device's receipts", err)
	_, err = other.client().Blob(ctx, d.Enrolment.Device.SeedBlob)
	forbidden("a blob, as a device", err)
	_, err = p.client().Consents(ctx, d.Enrolment.Device.Patient)
	forbidden("another patient's consents", err)
	_, err = p.client().History(ctx, d.Enrolment.Device.Patient)
	forbidden("another patient's history", err)
	_, err = w.member(hospitalA).History(ctx, p.ID)
	forbidden("a patient's history, as a member", err)
	_, err = p.client().Consent(ctx, record.RandomID())
	forbidden("a consent that does not exist: not told", err)
	data, pointers := d.rows(startHour, startHour+1)
	_, err = other.client().Upload(ctx, d.ID, [][]byte{data}, pointers)
	forbidden("an upload for another device", err)
	_, err = other.client().Upload(ctx, other.ID, [][]byte{data}, pointers)
	forbidden("another device's pointers in one's own upload", err)
}

func TestAttackReplayedRequests(t *testing.T) {
	w := newWorld(t)
	d, other := w.device(), w.device()
	w.advance(10 * 3600)
	data, pointers := d.rows(startHour, startHour+1)
	body := uploadBody(w, [][]byte{data}, pointers)
	target := "/v1/devices/" + d.ID.String() + "/uploads"
	signer := &api.Signer{Party: api.DeviceParty(d.ID), Key: d.Key}
	first := w.signed(signer, "POST", target, body, time.Now())
	resp, answer := w.raw(first)
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("%d %s", resp.StatusCode, answer)
	}
	var op struct{ ID string }
	w.ok(json.Unmarshal(answer, &op))
	id, err := record.ParseID(op.ID)
	w.ok(err)
	w.done(&api.Operation{ID: id}, nil)
	calls := w.client.calls.Load()

	replay := func(target string, body []byte) *http.Request {
		r := w.request("POST", target, body)
		copySignature(r, first)
		return r
	}
	resp, answer = w.raw(replay(target, body))
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(answer), op.ID) || w.client.calls.Load() != calls {
		t.Errorf("a repeated write did more than tell its outcome: %d %s", resp.StatusCode, answer)
	}
	otherData, otherPointers := d.rows(startHour+1, startHour+2)
	w.refused("under another body", replay(target, uploadBody(w, [][]byte{otherData}, otherPointers)))
	w.refused("on another path", replay("/v1/devices/"+other.ID.String()+"/uploads", body))
	w.refused("on another route", replay("/v1/requests/abc/proof", body))
	get := w.request("GET", "/v1/devices/"+d.ID.String()+"/requests", nil)
	copySignature(get, first)
	w.refused("with another method", get)
	w.clock.Store(int64((maxSkew + 5*time.Second) / time.Second))
	w.refused("after five minutes", replay(target, body))
}

func TestAttackAQueryThatWasNotSigned(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	signer := &api.Signer{Party: api.DeviceParty(d.ID), Key: d.Key}
	target := "/v1/devices/" + d.ID.String() + "/receipts?from=0&kind=row&until=1"
	r := w.signed(signer, "GET", target, nil, time.Now())
	r.URL.RawQuery = "from=0&kind=day&until=1"
	w.refused("another query", r)
	for _, bad := range []string{
		target + "&device=" + record.RandomID().String(), target + "&until=2", target + "&Kind=row", target + ";x=1", target + "&kind=day",
	} {
		resp, body := w.raw(w.signed(signer, "GET", bad, nil, time.Now()))
		problem(t, resp, body, http.StatusBadRequest, fault.Invalid)
	}
}

func TestAttackPathConfusion(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	signer := &api.Signer{Party: api.DeviceParty(d.ID), Key: d.Key}
	id := d.ID.String()
	for _, target := range []string{
		"/v1//devices/" + id + "/requests",
		"/v1/devices/" + id + "/../" + id + "/requests",
		"/v1/devices/./" + id + "/requests",
		"/v1/devices/" + id + "%2Frequests",
		"/v1/devices/" + strings.ToUpper(id) + "/requests",
		"/v1/devices/" + id + "/requests/",
		"/v1/devices/" + id + "/%72equests",
		"/v1/devices/" + id + ":watch",
		"/v1/blobs/" + id + "/../../operations/" + id,
		"/v1/requests/..%2f..%2fblobs/proof",
		"/V1/network",
		"/v1/", "/v1",
	} {
		// As written: a client library would clean the path before sending it.
		u, err := url.Parse(w.url)
		w.ok(err)
		r := w.request("GET", "/", nil)
		r.URL = &url.URL{Scheme: u.Scheme, Host: u.Host, Opaque: target}
		w.ok(signer.Sign(r, w.Genesis.Network, nil, time.Now()))
		resp, body := w.raw(r)
		if resp.StatusCode < 300 {
			t.Errorf("%s is served: %.100s", target, body)
		}
	}
	w.overriddenMethods(signer, id)
}

// overriddenMethods tries to be routed as another method than is on the line.
func (w *world) overriddenMethods(signer *api.Signer, id string) {
	w.Helper()
	form := w.request("POST", "/v1/devices/"+id+"/requests", []byte("x=1"))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	form.Header.Set("X-HTTP-Method-Override", "GET")
	w.ok(signer.Sign(form, w.Genesis.Network, []byte("x=1"), time.Now()))
	resp, body := w.raw(form)
	problem(w, resp, body, http.StatusMethodNotAllowed, fault.Invalid)
	if resp.Header.Get("Allow") != "GET, HEAD, OPTIONS" {
		w.Errorf("Allow is %q", resp.Header.Get("Allow"))
	}
	resp, body = w.raw(w.request("DELETE", "/docs", nil))
	problem(w, resp, body, http.StatusMethodNotAllowed, fault.Invalid)
}

func TestAttackHeadersThatPoseAsTheFront(t *testing.T) {
	w := newWorld(t)
	victim := w.enrolled()
	for _, prefix := range []string{"", "Grpc-Metadata-", "Grpcgateway-"} {
		r := w.signed(&api.Signer{Party: api.MemberParty(hospitalA), Key: w.Keys[hospitalA]}, "GET", "/v1/consents/"+record.RandomID().String(), nil, time.Now())
		r.URL.Path = "/v1/patients/" + victim.ID.String() + "/history"
		r.Header.Del(api.HeaderInput)
		r.Header.Del(api.HeaderSignature)
		r.Header.Set(prefix+"vitalveil-party-kind", api.PartyPatient)
		r.Header.Set(prefix+"vitalveil-party-name", victim.ID.String())
		w.refused("metadata from outside", r)

		stranger := w.enrolled()
		r = w.signed(&api.Signer{Party: api.PatientParty(stranger.ID), Key: stranger.Key}, "GET", "/v1/patients/"+victim.ID.String()+"/history", nil, time.Now())
		r.Header.Set(prefix+"vitalveil-party-kind", api.PartyPatient)
		r.Header.Set(prefix+"vitalveil-party-name", victim.ID.String())
		resp, body := w.raw(r)
		problem(t, resp, body, http.StatusForbidden, fault.Forbidden)
	}
}

func TestAttackOversizeBodies(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	signer := &api.Signer{Party: api.DeviceParty(d.ID), Key: d.Key}
	for target, limit := range map[string]int{
		"/v1/consents": api.MaxBody, "/v1/patients": api.MaxBody, "/v1/devices": api.MaxBody,
		"/v1/devices/" + d.ID.String() + "/uploads": api.MaxUpload,
	} {
		body := append([]byte(`{"x":"`), bytes.Repeat([]byte("a"), limit)...)
		announced := w.signed(signer, "POST", target, body, time.Now())
		announced.Header.Set("Expect", "100-continue") // to hear the answer before the body is sent
		resp, answer := w.raw(announced)
		problem(t, resp, answer, http.StatusRequestEntityTooLarge, fault.TooLarge)

		chunked := w.signed(signer, "POST", target, body, time.Now())
		chunked.ContentLength = -1 // the size is not announced
		resp, answer = w.raw(chunked)
		problem(t, resp, answer, http.StatusRequestEntityTooLarge, fault.TooLarge)
	}
	resp, answer := w.raw(w.request("GET", "/v1/network", []byte("x")))
	problem(t, resp, answer, http.StatusRequestEntityTooLarge, fault.TooLarge)
}

func TestAttackLenientJSON(t *testing.T) {
	w := newWorld(t)
	good, err := json.Marshal(w.enrolled().consent())
	w.ok(err)
	cut := string(good[1:])
	for what, body := range map[string]string{
		"duplicate key":            `{"key":"AAAA",` + cut,
		"duplicate under an alias": strings.Replace(string(good), `"data_from"`, `"dataFrom":1,"data_from"`, 1),
		"nested duplicate":         strings.Replace(string(good), `"version":1`, `"version":1,"version":2`, 1),
		"unknown field":            `{"surprise":1,` + cut,
		"trailing data":            string(good) + `{}`,
		"array":                    "[" + string(good) + "]",
		"nothing":                  "",
		"null":                     "null",
		"deep nesting":             strings.Repeat("[", 100) + strings.Repeat("]", 100),
		"not UTF-8":                strings.Replace(string(good), hospitalA, "Hospital\xff", 1),
	} {
		resp, answer := w.raw(w.request("POST", "/v1/consents", []byte(body)))
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d %s", what, resp.StatusCode, answer)
		}
		problem(t, resp, answer, http.StatusBadRequest, fault.Invalid)
	}
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"} {
		r := w.request("POST", "/v1/consents", good)
		r.Header.Set("Content-Type", kind)
		resp, answer := w.raw(r)
		problem(t, resp, answer, http.StatusUnsupportedMediaType, fault.Invalid)
	}
}

func TestAttackContentThatIsNotWhatWasSigned(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d := w.device()
	w.advance(10 * 3600)
	data, pointers := d.rows(startHour, startHour+1)
	wrong := bytes.Clone(data)
	wrong[0] ^= 1
	for what, blobs := range map[string][][]byte{"other content": {wrong}, "one too many": {data, wrong}, "none": nil} {
		_, err := d.client().Upload(ctx, d.ID, blobs, pointers)
		wantFault(t, fault.Invalid, err)
		if err == nil || !strings.Contains(err.Error(), "SHA-256") && !strings.Contains(err.Error(), "send the blob along") {
			t.Errorf("%s: %v does not say what to do", what, err)
		}
		if ok, err := w.blobs.Has(ctx, record.SumID(wrong)); ok || err != nil {
			t.Errorf("%s: the wrong content was stored (%v)", what, err)
		}
	}
	p := w.enrolled()
	dev := p.newDevice()
	_, err := w.as("", nil).EnrolDevice(ctx, dev.Enrolment, append(dev.Seeds, 0))
	wantFault(t, fault.Invalid, err)
}

func TestAttackForgedDocuments(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p, c := w.enrolled(), w.as("", nil)

	tampered := p.consent()
	tampered.Document.CapMicro++
	_, err := c.PutConsent(ctx, tampered)
	wantFault(t, fault.BadSignature, err)

	// Well signed, with somebody else's key: the ledger tells.
	thief := p.with(consortium.NewKey())
	_, err = c.PutConsent(ctx, thief.consent())
	wantFault(t, fault.BadSignature, err)

	unvouched := w.newPatient()
	unvouched.Enrolment.Vouchers[0].Signature = consortium.Sign(consortium.NewKey(), record.Digest(record.DomainVoucher, w.Genesis.Network, unvouched.Enrolment.Voucher))
	_, err = c.EnrolPatient(ctx, unvouched.Enrolment, unvouched.Boxes)
	wantFault(t, fault.BadSignature, err)

	dev := p.newDevice()
	dev.Enrolment.PatientSignature = consortium.Sign(consortium.NewKey(), record.Digest(record.DomainDevice, w.Genesis.Network, dev.Enrolment.Device))
	_, err = c.EnrolDevice(ctx, dev.Enrolment, dev.Seeds)
	wantFault(t, fault.BadSignature, err)
	if ok, err := w.blobs.Has(ctx, dev.Enrolment.Device.SeedBlob); ok || err != nil {
		t.Errorf("a stranger left a blob behind (%v)", err)
	}
}

func TestAttackAGatewayCannotAlterWhatItPassesOn(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	for what, change := range map[string]func(*consent.Document){
		"grantee": func(d *consent.Document) { d.Grantee = hospitalB },
		"metrics": func(d *consent.Document) { d.Metrics = []string{"heart_rate", "spo2"} },
		"period":  func(d *consent.Document) { d.DataUntil++ },
	} {
		signed := p.consent()
		change(&signed.Document)
		call, err := consentCall(w.Genesis.Network, apiv1.SignedConsentOf(signed))
		w.ok(err)
		var sent consent.Details
		w.ok(record.DecodeJSON(call.Transient[state.TransientDetails], consent.MaxDetails, &sent))
		got, err := json.Marshal(sent.Signed)
		w.ok(err)
		arg, err := json.Marshal(signed)
		w.ok(err)
		if string(got) != string(arg) {
			t.Errorf("the gateway would submit another document than it got:\n%s\n%s", got, arg)
		}
		_, err = w.client.Submit(context.Background(), call)
		if fault.Of(err) != fault.BadSignature {
			t.Errorf("%s altered: %v, want %s", what, err, fault.BadSignature)
		}
	}
	d := w.device()
	w.advance(10 * 3600)
	_, pointers := d.rows(startHour, startHour+1)
	pointers[0].Pointer.Commitment = record.RandomID()
	arg, err := json.Marshal(record.Anchor{Pointers: pointers})
	w.ok(err)
	var r record.AnchorResult
	res := w.Must(association, contracts.PointerAnchor, json.RawMessage(arg))
	w.ok(json.Unmarshal(res.Payload, &r))
	if r.Items[0].Outcome != record.Refused || r.Items[0].Code != string(fault.BadSignature) {
		t.Errorf("an altered pointer: %+v", r.Items[0])
	}
}
