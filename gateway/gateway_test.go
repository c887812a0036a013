package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestTheNetworkIsDescribed(t *testing.T) {
	w := newWorld(t)
	n, err := w.as("", nil).Network(context.Background())
	w.ok(err)
	if record.Digest("test", "", n.Genesis) != record.Digest("test", "", w.Genesis) {
		t.Errorf("genesis %+v, want %+v", n.Genesis, w.Genesis)
	}
	if n.LedgerTime != start {
		t.Errorf("ledger time %d, want %d", n.LedgerTime, start)
	}
}

func TestAPatientEnrolsConsentsAndSeesIt(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p := w.newPatient()
	op := w.done(w.as("", nil).EnrolPatient(ctx, p.Enrolment, p.Boxes))
	if op.Subject != p.ID.String() || op.TxID == "" || op.Kind != kindPatient {
		t.Errorf("operation %+v", op)
	}
	signed := p.consent()
	w.done(w.as("", nil).PutConsent(ctx, signed))

	got, err := p.client().Consents(ctx, p.ID)
	w.ok(err)
	if len(got) != 1 || got[0].Document.Digest(w.Genesis.Network) != signed.Document.Digest(w.Genesis.Network) {
		t.Errorf("consents %+v, want %+v", got, signed)
	}
	one, err := w.member(hospitalB).Consent(ctx, signed.Document.ID)
	w.ok(err)
	if one.Document.ID != signed.Document.ID {
		t.Errorf("consent %+v", one)
	}
	w.eventually("the consent is in the history", func() bool {
		h, err := p.client().History(ctx, p.ID)
		return err == nil && len(h) == 1 && h[0].Kind == "consent" && h[0].Institution == hospitalA
	})
}

func TestARevocationIsAConsentLikeAnyOther(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p := w.enrolled()
	first := p.consent()
	w.done(w.as("", nil).PutConsent(ctx, first))
	second := first.Document
	second.Version, second.Previous, second.Status = 2, first.Document.Digest(w.Genesis.Network), consent.StatusRevoked
	w.done(w.as("", nil).PutConsent(ctx, p.Sign(second)))
	got, err := p.client().Consent(ctx, second.ID)
	w.ok(err)
	if got.Document.Status != consent.StatusRevoked {
		t.Errorf("status %s", got.Document.Status)
	}
}

func TestADeviceBecomesReadyWhenAllHoldItsSeeds(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d := w.device()
	s, err := d.client().Device(ctx, d.ID)
	w.ok(err)
	if s.Ready || len(s.AcknowledgedBy) != 0 || s.State.ID != d.ID {
		t.Errorf("fresh device: %+v", s)
	}
	got, err := w.member(hospitalA).Blob(ctx, d.Enrolment.Device.SeedBlob)
	w.ok(err)
	if !slices.Equal(got, d.Seeds) {
		t.Error("the member got other seeds than the device sent")
	}
	for msp := range w.Clients {
		w.Must(msp, contracts.RegistryAcknowledgeSeeds, record.AcknowledgeSeeds{Devices: []record.ID{d.ID}})
	}
	w.eventually("the device is ready", func() bool {
		s, err := d.client().Device(ctx, d.ID)
		return err == nil && s.Ready && len(s.AcknowledgedBy) == 3
	})
}

func TestAnUploadEndsInReceipts(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d := w.device()
	w.advance(10 * 3600)
	data, pointers := d.rows(startHour, startHour+5)
	pointers = append(pointers, d.Pointer(record.Pointer{
		Device: d.ID, Kind: record.KindDay, Index: startDay - 1, Commitment: record.ID{31: 1},
	}))
	op := w.done(d.client().Upload(ctx, d.ID, [][]byte{data}, pointers))
	if len(op.Items) != 6 {
		t.Fatalf("%d outcomes for 6 pointers", len(op.Items))
	}
	for i, item := range op.Items[:5] {
		if item.Outcome != record.Anchored || item.TxID == "" || item.Batch.IsZero() {
			t.Errorf("pointer %d: %+v", i, item)
		}
	}
	// The day before the device's first has its own refusal, and fails nobody.
	if op.Items[5].Outcome == record.Anchored && op.Items[5].Code != "" {
		t.Errorf("day: %+v", op.Items[5])
	}
	got, err := w.member(hospitalB).Blob(ctx, record.SumID(data))
	w.ok(err)
	if !slices.Equal(got, data) {
		t.Error("the member got another blob than the device sent")
	}
	none, err := d.client().Receipts(ctx, d.ID, record.KindRow, startHour, startHour+100)
	w.ok(err)
	if len(none) != 0 {
		t.Errorf("%d receipts before anybody found the rows available", len(none))
	}
	w.postAvailable(op.Items[0].Batch, hospitalA, hospitalB)
	w.eventually("there are receipts", func() bool {
		r, err := d.client().Receipts(ctx, d.ID, record.KindRow, startHour, startHour+100)
		return err == nil && len(r) == 5 && len(r[0].Posts) == 2 &&
			record.VerifyPath(r[0].Batch, r[0].Pointer.Pointer.Digest(w.Genesis.Network), r[0].Leaf, r[0].Count, r[0].Path) == nil
	})
}

// postAvailable lets members say that they found every row of a batch.
func (w *world) postAvailable(batch record.ID, members ...string) {
	w.Helper()
	for _, msp := range members {
		b := w.batch(batch)
		bitmap := make([]byte, (b.Count+7)/8)
		for i := range b.Count {
			bitmap[i/8] |= 1 << (i % 8)
		}
		w.Must(msp, contracts.PointerAvailable, record.Available{Posts: []record.SignedAvailable{w.Available(msp, batch, b.Count, bitmap...)}})
	}
}

func (w *world) batch(id record.ID) record.Batch {
	w.Helper()
	b, err := contracts.PointerGetBatch.Evaluate(context.Background(), w.gw.client, id)
	w.ok(err)
	return b
}

func (w *world) eventually(what string, f func() bool) {
	w.Helper()
	consortium.Eventually(w, 10*time.Second, what, f)
}

func TestABlobOnceStoredNeedNotBeSentAgain(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d := w.device()
	w.advance(10 * 3600)
	data, pointers := d.rows(startHour, startHour+4)
	w.done(d.client().Upload(ctx, d.ID, [][]byte{data}, pointers[:2]))
	op := w.done(d.client().Upload(ctx, d.ID, nil, pointers))
	for i, want := range []string{record.Repeated, record.Repeated, record.Anchored, record.Anchored} {
		if op.Items[i].Outcome != want {
			t.Errorf("pointer %d: %s, want %s", i, op.Items[i].Outcome, want)
		}
	}
}

func TestUploadsOfManyDevicesShareTransactions(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	const devices, hours = 8, 20
	var all []*device
	for range devices {
		all = append(all, w.device())
	}
	w.advance((hours + 1) * 3600)
	before := w.client.calls.Load()
	ops := make(chan *api.Operation, devices)
	for _, d := range all {
		go func() {
			data, pointers := d.rows(startHour, startHour+hours)
			op, err := d.client().Upload(ctx, d.ID, [][]byte{data}, pointers)
			if err != nil {
				t.Error(err)
			}
			ops <- op
		}()
	}
	for range devices {
		op := w.done(<-ops, nil)
		for i, item := range op.Items {
			if item.Outcome != record.Anchored {
				t.Errorf("pointer %d: %+v", i, item)
			}
		}
	}
	if n := w.client.calls.Load() - before; n >= devices {
		t.Errorf("%d uploads took %d transactions: nothing was gathered", devices, n)
	}
}

func TestTheSameRequestIsTheSameOperation(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p := w.newPatient()
	c := w.as("", nil)
	a := w.done(c.EnrolPatient(ctx, p.Enrolment, p.Boxes))
	before := w.client.calls.Load()
	b, err := c.EnrolPatient(ctx, p.Enrolment, p.Boxes)
	w.ok(err)
	if a.ID != b.ID || !b.Done || b.TxID != a.TxID || w.client.calls.Load() != before {
		t.Errorf("second post: %+v, first %+v", b, a)
	}
}

func TestAFailedOperationMayBeTriedAgain(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p := w.enrolled()
	c := w.as("", nil)
	given := p.consent()
	w.done(c.PutConsent(ctx, given))
	revoked := given.Document
	revoked.Version, revoked.Previous, revoked.Status = 2, given.Document.Digest(w.Genesis.Network), consent.StatusRevoked
	w.done(c.PutConsent(ctx, p.Sign(revoked)))
	signed := p.consent()
	op, err := c.PutConsent(ctx, signed)
	w.ok(err)
	_, err = c.Wait(ctx, op)
	wantFault(t, fault.TooEarly, err) // so soon after the revocation
	w.advance(state.CoolingOff)
	again := w.done(c.PutConsent(ctx, signed))
	if again.ID != op.ID {
		t.Error("the same document became another operation")
	}
}

func TestAPointerThatCameTooEarlyMayBeSentAgain(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d := w.device()
	w.advance(3600)
	data, pointers := d.rows(startHour, startHour+5)
	first := w.done(d.client().Upload(ctx, d.ID, [][]byte{data}, pointers))
	if first.Items[0].Outcome != record.Anchored || first.Items[4].Code != string(fault.TooEarly) {
		t.Fatalf("items %+v", first.Items)
	}
	w.advance(10 * 3600)
	again := w.done(d.client().Upload(ctx, d.ID, [][]byte{data}, pointers))
	if again.ID != first.ID || again.Items[0].Outcome != record.Repeated || again.Items[4].Outcome != record.Anchored {
		t.Errorf("items %+v", again.Items)
	}
}

func TestAnIdempotencyKeyStandsForOneDocument(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	w.advance(10 * 3600)
	post := func(hour int64) (*http.Response, []byte) {
		data, pointers := d.rows(hour, hour+1)
		body := uploadBody(w, [][]byte{data}, pointers)
		r := w.request("POST", "/v1/devices/"+d.ID.String()+"/uploads", body)
		r.Header.Set("Idempotency-Key", "hour-of-the-day")
		w.ok((&api.Signer{Party: api.DeviceParty(d.ID), Key: d.Key}).Sign(r, w.Genesis.Network, body, time.Now()))
		return w.raw(r)
	}
	if resp, body := post(startHour); resp.StatusCode != http.StatusAccepted || !strings.HasPrefix(resp.Header.Get("Location"), "/v1/operations/") {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	resp, body := post(startHour + 1)
	problem(t, resp, body, http.StatusConflict, fault.Conflict)
}

func TestOperationsAreWatchedAsServerSentEvents(t *testing.T) {
	w := newWorld(t)
	hold := make(chan struct{})
	w.client.hold(hold)
	op, err := w.newPatient().post(context.Background())
	w.ok(err)
	if op.Done {
		t.Fatal("done before the ledger was asked")
	}
	r := w.request("GET", "/v1/operations/"+op.ID.String()+":watch", nil)
	r.Header.Set("Accept", eventStream)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	w.ok(err)
	defer resp.Body.Close()
	first := make([]byte, 1)
	_, err = io.ReadFull(resp.Body, first)
	w.ok(err)
	close(hold) // what is watched ends only now
	rest, err := io.ReadAll(resp.Body)
	w.ok(err)
	body := append(first, rest...)
	if resp.Header.Get("Content-Type") != eventStream {
		t.Errorf("content type %q", resp.Header.Get("Content-Type"))
	}
	events := strings.Split(strings.TrimSpace(string(body)), "\n\n")
	if len(events) != 2 || !strings.HasPrefix(events[0], "data: {") || !strings.Contains(strings.ReplaceAll(events[1], " ", ""), `"done":true`) {
		t.Errorf("events %q", events)
	}
}

func TestHealthAndDocuments(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]string{
		"/healthz": `"status":"ok"`, "/readyz": `"ledger_time":`, "/openapi.json": "/v1/devices/{device}/uploads",
		"/docs": "Request signatures", "/": "Gateway of vitalveil-test",
	} {
		resp, body := w.raw(w.request("GET", path, nil))
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %.200s", path, resp.StatusCode, body)
		}
		for header, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Content-Security-Policy": "default-src 'none'",
		} {
			if !strings.HasPrefix(resp.Header.Get(header), want) {
				t.Errorf("%s: %s is %q", path, header, resp.Header.Get(header))
			}
		}
	}
}

func TestTheRuleThatARequestBreaksIsNamed(t *testing.T) {
	w := newWorld(t)
	for field, body := range map[string]string{
		"consent":             `{"document":{}}`,
		"consent.document.id": `{"document":{"version":1},"signature":"` + strings.Repeat("A", 86) + `=="}`,
	} {
		resp, answer := w.raw(w.request("POST", "/v1/consents", []byte(body)))
		p := problem(t, resp, answer, http.StatusBadRequest, fault.Invalid)
		if len(p.Errors) != 1 || p.Errors[0].Field != field || p.Errors[0].Detail == "" {
			t.Errorf("%s breaks the rules %v, want that of %s alone", body, p.Errors, field)
		}
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	w.advance(10 * 3600)
	data, pointers := d.rows(startHour, startHour+1)
	w.done(d.client().Upload(context.Background(), d.ID, [][]byte{data}, pointers))
	log := w.logged.String()
	if !strings.Contains(log, "/v1/devices/{device}/uploads") {
		t.Fatalf("the log does not show the upload at all:\n%s", log)
	}
	for what, secret := range map[string]string{
		"device": d.ID.String(), "patient": d.Enrolment.Device.Patient.String(), "blob": record.SumID(data).String(),
		"signature": fmt.Sprintf("%x", pointers[0].Signature), "header": "keyid",
	} {
		if strings.Contains(log, secret) {
			t.Errorf("the log names the %s", what)
		}
	}
}
