package gateway

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// keys is the patient's next change, signed by the patient's key.
func (p *patient) keys(revokeAll bool, keys ...*ecdsa.PrivateKey) consent.SignedKeys {
	p.w.Helper()
	now, err := p.w.member(hospitalA).Patient(context.Background(), p.ID)
	p.w.ok(err)
	return p.w.SignKeys(p.KeysAfter(now, revokeAll, keys...), p.Key)
}

func TestAPatientSignsWithTheKeysThatCountNow(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p, open := w.enrolled(), w.as("", nil)
	old := p.client()
	before, err := old.Patient(ctx, p.ID)
	w.ok(err)
	if before.ID != p.ID || before.Keys != nil || before.RevokedAt != nil || before.Inception.PatientID(w.Genesis.Network) != p.ID {
		t.Errorf("before: %+v", before)
	}
	fresh := consortium.NewKey()
	change := p.keys(false, fresh)
	first := w.done(open.ChangeKeys(ctx, change))
	again := w.done(open.ChangeKeys(ctx, change))
	if first.ID != again.ID || first.Kind != "change_keys" || first.Subject != p.ID.String() {
		t.Errorf("the same change is %v and then %v", first, again)
	}
	_, err = old.Patient(ctx, p.ID)
	wantFault(t, fault.BadSignature, err)
	abandoned := p.newDevice()
	_, err = open.EnrolDevice(ctx, abandoned.Enrolment, abandoned.Seeds)
	wantFault(t, fault.BadSignature, err)

	p.Key = fresh
	now, err := p.client().Patient(ctx, p.ID)
	w.ok(err)
	if now.KeysVersion() != 1 || now.RecoveryHash() != before.RecoveryHash() {
		t.Errorf("after: %+v", now)
	}
	w.done(open.PutConsent(ctx, p.consent()))
	d := p.newDevice()
	w.done(open.EnrolDevice(ctx, d.Enrolment, d.Seeds))
}

func TestRevokingEverythingShowsWhereverConsentsDo(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p, open := w.enrolled(), w.as("", nil)
	code := record.NewRecoveryCode()
	signed := p.consent()
	w.done(open.PutConsent(ctx, signed))
	w.advance(100)
	op := w.done(open.ChangeKeys(ctx, p.keys(true, p.Key)))

	now, err := p.client().Patient(ctx, p.ID)
	w.ok(err)
	if now.RevokedAt == nil || *now.RevokedAt != start+100 {
		t.Errorf("revoked at %v, want %d", now.RevokedAt, start+100)
	}
	s := &api.Signer{Party: api.PatientParty(p.ID), Key: p.Key}
	resp, body := w.raw(w.signed(s, "GET", "/fhir/Consent/"+signed.Document.ID.String(), nil, time.Now()))
	var inFHIR struct{ ResourceType, Status string }
	if err := json.Unmarshal(body, &inFHIR); err != nil || resp.StatusCode != http.StatusOK || inFHIR.ResourceType != "Consent" || inFHIR.Status != "inactive" {
		t.Errorf("in FHIR it is %s", body)
	}
	_, body = w.raw(w.signed(s, "GET", "/v1/patients/"+p.ID.String()+"/consents", nil, time.Now()))
	var list struct {
		RevokedAt string `json:"revoked_at"`
	}
	if err := json.Unmarshal(body, &list); err != nil || list.RevokedAt != "1735689700" {
		t.Errorf("the list of consents does not say that all are revoked: %s", body)
	}
	w.eventually("what was waited for comes", func() bool { return w.index.Height() > op.Block })
	history, err := p.client().History(ctx, p.ID)
	w.ok(err)
	last := history[len(history)-1]
	if last.Kind != "keys" || last.Status != "revoked" || !strings.Contains(last.Text, "everything that you had permitted") {
		t.Errorf("the history ends with %v", last)
	}
	// The recovery code brings the patient back, and nothing that was permitted.
	lost := p.keys(false, consortium.NewKey())
	key, err := code.Key(w.Genesis.Network)
	w.ok(err)
	_, err = open.ChangeKeys(ctx, w.SignKeys(lost.Change, key))
	wantFault(t, fault.BadSignature, err) // not this patient's code
}

func TestAttackForgedKeysAtTheGateway(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p, q, open := w.enrolled(), w.enrolled(), w.as("", nil)
	tampered := p.keys(false, p.Key)
	tampered.Change.RevokeAll = true
	_, err := open.ChangeKeys(ctx, tampered)
	wantFault(t, fault.BadSignature, err)

	body, err := json.Marshal(p.keys(false, p.Key))
	w.ok(err)
	resp, answer := w.raw(w.request("POST", "/v1/patients/"+q.ID.String()+"/keys", body))
	problem(t, resp, answer, http.StatusBadRequest, fault.Invalid)

	thief := consortium.NewKey()
	_, err = open.ChangeKeys(ctx, w.SignKeys(p.keys(false, thief).Change, thief))
	wantFault(t, fault.BadSignature, err) // well signed; the ledger tells
	_, err = q.client().Patient(ctx, p.ID)
	wantFault(t, fault.Forbidden, err)
	if now, err := p.client().Patient(ctx, p.ID); err != nil || now.Keys != nil {
		t.Errorf("the patient is %+v (%v)", now, err)
	}
}

func TestAcceptedKeysSurviveARestart(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p := w.enrolled()
	signed := p.keys(true, p.Key)
	w.client.away()
	op, err := w.as("", nil).ChangeKeys(ctx, signed)
	w.ok(err)
	w.stop()
	w.client.before.Store(nil)
	w.startGateway()
	w.done(op, nil)
	if got, err := p.client().Patient(ctx, p.ID); err != nil || got.RevokedAt == nil {
		t.Errorf("after the restart: %+v (%v)", got, err)
	}
}
