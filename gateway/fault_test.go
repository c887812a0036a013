package gateway

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// hold lets transactions wait until the channel is closed.
func (f *faulty) hold(until <-chan struct{}) {
	fn := func(ctx context.Context, _ network.Call) error {
		select {
		case <-until:
			return nil
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "the outcome is unknown")
		}
	}
	f.before.Store(&fn)
}

// away lets every transaction fail as if the ledger could not be reached.
func (f *faulty) away() {
	fn := func(context.Context, network.Call) error { return fault.New(fault.Unavailable, "the ledger is away") }
	f.before.Store(&fn)
}

func uploadBody(w *world, blobs [][]byte, pointers []record.SignedPointer) []byte {
	w.Helper()
	m := &apiv1.Upload{Blobs: blobs}
	for _, p := range pointers {
		m.Pointers = append(m.Pointers, apiv1.SignedPointerOf(p))
	}
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	w.ok(err)
	return b
}

func TestAcceptedOperationsSurviveARestart(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d := w.device()
	w.advance(10 * 3600)
	w.client.away()
	p := w.newPatient()
	enrolment, err := w.as("", nil).EnrolPatient(ctx, p.Enrolment, p.Boxes)
	w.ok(err)
	data, pointers := d.rows(startHour, startHour+3)
	upload, err := d.client().Upload(ctx, d.ID, [][]byte{data}, pointers)
	w.ok(err)

	w.restart()
	now, err := w.as("", nil).Operation(ctx, upload.ID)
	w.ok(err)
	if now.Done {
		t.Fatal("done although the ledger is away")
	}
	w.client.before.Store(nil)
	w.done(w.as("", nil).Operation(ctx, enrolment.ID))
	op := w.done(w.as("", nil).Operation(ctx, upload.ID))
	for i, item := range op.Items {
		if item.Outcome != record.Anchored {
			t.Errorf("pointer %d: %+v", i, item)
		}
	}
}

func TestAnAnswerThatWasLostIsFoundOnTheLedger(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d := w.device()
	w.advance(10 * 3600)
	// What a crash between commit and journal looks like to the next start.
	lost := func(context.Context, network.Call) error { return fault.New(fault.Unavailable, "the answer was lost") }
	w.client.after.Store(&lost)
	enrolment, err := w.newPatient().post(ctx)
	w.ok(err)
	data, pointers := d.rows(startHour, startHour+2)
	upload, err := d.client().Upload(ctx, d.ID, [][]byte{data}, pointers)
	w.ok(err)
	time.Sleep(100 * time.Millisecond)
	w.client.after.Store(nil)
	w.restart()
	w.done(w.as("", nil).Operation(ctx, enrolment.ID))
	op := w.done(w.as("", nil).Operation(ctx, upload.ID))
	for i, item := range op.Items {
		if item.Outcome != record.Repeated && item.Outcome != record.Anchored {
			t.Errorf("pointer %d: %+v", i, item)
		}
	}
}

func TestALostRaceHalvesTheBatch(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d := w.device()
	w.advance(40 * 3600)
	var sizes []int
	var busy atomic.Bool
	race := func(_ context.Context, c network.Call) error {
		var a record.Anchor
		if c.Function != contracts.PointerAnchor.Name() || json.Unmarshal([]byte(c.Args[0]), &a) != nil {
			return nil
		}
		if !busy.CompareAndSwap(false, true) {
			t.Error("two halves at once")
		}
		defer busy.Store(false)
		sizes = append(sizes, len(a.Pointers))
		if len(a.Pointers) > 8 {
			return fault.New(fault.Contention, "another transaction was first")
		}
		return nil
	}
	w.client.before.Store(&race)
	data, pointers := d.rows(startHour, startHour+32)
	op := w.done(d.client().Upload(ctx, d.ID, [][]byte{data}, pointers))
	for i, item := range op.Items {
		if item.Outcome != record.Anchored {
			t.Errorf("pointer %d: %+v", i, item)
		}
	}
	if len(sizes) != 7 || sizes[0] != 32 || sizes[1] != 16 || sizes[2] != 8 {
		t.Errorf("transactions of %v pointers", sizes)
	}
}

func TestAPointerThatSpoilsABatchIsSingledOut(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d := w.device()
	w.advance(20 * 3600)
	data, pointers := d.rows(startHour, startHour+8)
	poison := func(_ context.Context, c network.Call) error {
		var a record.Anchor
		if json.Unmarshal([]byte(c.Args[0]), &a) != nil {
			return nil
		}
		for _, p := range a.Pointers {
			if p.Pointer.Index == startHour+5 {
				return fault.New(fault.Invalid, "the argument is not the document expected")
			}
		}
		return nil
	}
	w.client.before.Store(&poison)
	op, err := d.client().Upload(ctx, d.ID, [][]byte{data}, pointers)
	w.ok(err)
	op, err = d.client().Wait(ctx, op)
	wantFault(t, fault.Invalid, err)
	for i, item := range op.Items {
		want := record.Anchored
		if i == 5 {
			want = record.Refused
		}
		if item.Outcome != want {
			t.Errorf("pointer %d: %+v", i, item)
		}
	}
}

func TestPendingOperationsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.client.away()
	w.gw.ops.mu.Lock()
	w.gw.ops.total.pointers = maxPointers
	w.gw.ops.mu.Unlock()
	d := w.newPatient().newDevice()
	data, pointers := d.rows(startHour, startHour+1)
	m := &apiv1.StoredRequest{Document: &apiv1.StoredRequest_Anchor{Anchor: &apiv1.AnchorRequest{
		Pointers: []*apiv1.SignedPointer{apiv1.SignedPointerOf(pointers[0])},
	}}}
	_ = data
	_, err := w.gw.runner.begin(context.Background(), kindUpload, d.ID.String(), m, proven(api.DeviceParty(d.ID)))
	wantFault(t, fault.Unavailable, err)
}

func TestTheJournalForgetsWhatIsLongDone(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p := w.newPatient()
	op := w.done(w.as("", nil).EnrolPatient(ctx, p.Enrolment, p.Boxes))
	w.ok(w.gw.ops.journal.prune(time.Now().Add(-time.Hour)))
	_, err := w.as("", nil).Operation(ctx, op.ID)
	w.ok(err)
	w.ok(w.gw.ops.journal.prune(time.Now().Add(time.Hour)))
	_, err = w.as("", nil).Operation(ctx, op.ID)
	wantFault(t, fault.NotFound, err)
	// Forgotten is not undone: the ledger still answers for it.
	w.done(w.as("", nil).EnrolPatient(ctx, p.Enrolment, p.Boxes))
}
