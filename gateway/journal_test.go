package gateway

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

func TestReadinessIsTheJournalsToo(t *testing.T) {
	w := newWorld(t)
	j := w.gw.ops.journal
	resp, body := w.raw(w.request("GET", "/readyz", nil))
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	stuck := &probe{done: make(chan struct{})} // a write that the disk has no room for
	j.mu.Lock()
	j.probe = stuck
	j.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	wantFault(t, fault.Unavailable, j.writable(ctx))
	time.Sleep(readyLife)
	resp, body = w.raw(w.request("GET", "/readyz", nil))
	problem(t, resp, body, http.StatusServiceUnavailable, fault.Unavailable)
	resp, _ = w.raw(w.request("GET", "/healthz", nil))
	if resp.StatusCode != http.StatusOK {
		t.Error("the process does not live")
	}
	j.mu.Lock()
	j.probe = nil
	j.mu.Unlock()
	w.ok(j.writable(context.Background()))
}

// TestARepeatedDocumentWaitsNoLongerThanItsCaller: for a write of the journal that
// somebody else's call is stuck in.
func TestARepeatedDocumentWaitsNoLongerThanItsCaller(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	r := &apiv1.StoredRequest{Document: &apiv1.StoredRequest_Consent{Consent: apiv1.SignedConsentOf(p.consent())}}
	digest, err := requestDigest(r)
	w.ok(err)
	id := operationID(w.gw.genesis.Network, kindConsent, caller{}, digest, record.ID{})
	e := entry{id: id, request: r, state: &apiv1.Operation{Id: id.String(), Request: digest.String()}}
	op, fresh, err := w.gw.ops.reserve(e)
	if err != nil || !fresh {
		t.Fatal(fresh, err)
	}
	defer func() { w.gw.ops.drop(op) }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := w.gw.runner.begin(ctx, kindConsent, record.ID{}.String(), r, proven("nobody")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it ended with %v", err)
	}
	if _, _, err := w.gw.ops.accept(ctx, e); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it ended with %v", err)
	}
}
