package bridge

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// liar is a gateway in front of the world's that, while it lies, refuses every
// pointer with a code, and shows something as what the ledger has.
type liar struct {
	w     *world
	code  fault.Code
	shows func(record.SignedPointer) *record.SignedPointer
	lies  atomic.Bool
}

func (l *liar) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if !l.lies.Load() || !strings.HasSuffix(r.URL.Path, "/uploads") {
		l.w.ServeHTTP(out, r)
		return
	}
	up := &apiv1.Upload{}
	if err := proto.Unmarshal(body, up); err != nil {
		l.w.t.Error(err)
	}
	op := done("upload", body)
	for _, m := range up.Pointers {
		item := &apiv1.AnchorItem{Outcome: record.Refused, Code: string(l.code), Detail: "it says so"}
		s, err := m.Record()
		if err != nil {
			l.w.t.Error(err)
		}
		if l.shows != nil {
			item.Recorded = apiv1.SignedPointerOf(*l.shows(s))
		}
		op.Items = append(op.Items, item)
	}
	answer, err := protojson.Marshal(op)
	if err != nil {
		l.w.t.Error(err)
	}
	out.Header().Set("Content-Type", "application/json")
	_, _ = out.Write(answer)
}

func (l *liar) serve(t *testing.T) string {
	t.Helper()
	l.lies.Store(true)
	s := httptest.NewServer(l)
	t.Cleanup(s.Close)
	return s.URL
}

// TestAttackARefusalThatNobodySigned: no word of a gateway retires a device or loses
// a row. Whatever was refused is offered again, and gets to the ledger.
func TestAttackARefusalThatNobodySigned(t *testing.T) {
	stranger := newKey(t)
	for name, l := range map[string]*liar{
		"a conflict":             {code: fault.Conflict},
		"an invalid pointer":     {code: fault.Invalid},
		"a bad signature":        {code: fault.BadSignature},
		"an expired device":      {code: fault.Expired},
		"a forbidden one":        {code: fault.Forbidden},
		"a code that is none":    {code: "NEVER"},
		"a conflict with itself": {code: fault.Conflict, shows: func(s record.SignedPointer) *record.SignedPointer { return &s }},
		"a conflict with another's": {code: fault.Conflict, shows: func(s record.SignedPointer) *record.SignedPointer {
			s.Pointer.Commitment[0] ^= 1
			s.Signature, _ = record.Sign(stranger, s.Pointer.Digest("bridge-test"))
			return &s
		}},
	} {
		w := newWorld(t)
		l.w = w
		var ahead atomic.Int64
		cfg := w.config(filepath.Join(t.TempDir(), "hub"))
		now := cfg.Clock
		cfg.GatewayURL, cfg.Clock = l.serve(t), func() time.Time { return now().Add(time.Duration(ahead.Load())) }
		h, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		d := sealedFor(t, w, h, 30)
		for range 3 {
			r, err := h.Sync(t.Context())
			if err != nil || r.Anchored != 0 || d.Retired() != "" || len(r.Retired) != 0 {
				t.Errorf("%s: %+v, %v, retired %q", name, r, err, d.Retired())
			}
			ahead.Add(int64(time.Hour))
		}
		if refused, err := d.Refused(); err != nil || len(refused) != 31 {
			t.Errorf("%s: %d refused, %v", name, len(refused), err)
		}
		l.lies.Store(false)
		ahead.Add(int64(time.Hour))
		if r := syncs(t, h); r.Anchored != 31 {
			t.Errorf("%s, then the truth: %+v", name, r)
		}
		w.findAvailable(2)
		if r := syncs(t, h); r.Receipts != 31 || r.Awaited != 0 {
			t.Errorf("%s, receipts: %+v", name, r)
		}
		if uploads, err := d.outbox.uploads(); err != nil || len(uploads) != 0 {
			t.Errorf("%s: %d uploads are left, %v", name, len(uploads), err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestWhatOneGatewayRefusesGoesToTheNext, at once.
func TestWhatOneGatewayRefusesGoesToTheNext(t *testing.T) {
	w := newWorld(t)
	l := &liar{w: w, code: fault.Invalid}
	cfg := w.config(filepath.Join(t.TempDir(), "hub"))
	cfg.GatewayURL, cfg.OtherGateways = l.serve(t), []string{cfg.GatewayURL}
	h, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	sealedFor(t, w, h, 5)
	if r := syncs(t, h); len(r.Refused) != 5 {
		t.Fatalf("%+v", r)
	}
	if r := syncs(t, h); r.Anchored != 5 {
		t.Errorf("%+v", r)
	}
}

func TestRefusedPointersAreOfferedLessAndLessOften(t *testing.T) {
	var p pointerRecord
	now, last := int64(1000), int64(0)
	for i := range 40 {
		p.refused(record.AnchorItem{Code: "INVALID"}, now, 2)
		wait := p.Again - now
		if i == 0 && wait != 0 || wait < last || wait > againMost || i > 20 && wait != againMost {
			t.Errorf("after %d refusals the wait is %d s", i+1, wait)
		}
		last = wait
	}
}

// TestRefusalsKeepOnlyTheirOwnUpload: the root of a day that is refused for ever keeps
// no rows that are on the ledger.
func TestRefusalsKeepOnlyTheirOwnUpload(t *testing.T) {
	w := newWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	d := sealedFor(t, w, h, 30)
	w.at(epochStart + 20*86400) // the root of the first day is due no more
	r := syncs(t, h)
	if len(r.Refused) != 1 || r.Refused[0].Kind != record.KindDay || r.Anchored != 30 {
		t.Fatalf("%+v", r)
	}
	w.findAvailable(2)
	syncs(t, h)
	uploads, err := d.outbox.uploads()
	if err != nil || len(uploads) != 1 || uploads[0].RowsFrom != uploads[0].RowsUntil || uploads[0].DaysUntil-uploads[0].DaysFrom != 1 {
		t.Errorf("left: %+v, %v", uploads, err)
	}
	if sealedRow(t, d, epochStart/3600) != nil {
		t.Error("a row that the members keep is still here")
	}
}

// TestAnEnrolmentThatAGatewayKeptBackIsHandedInAgain, where the next gateway does not
// know the device.
func TestAnEnrolmentThatAGatewayKeptBackIsHandedInAgain(t *testing.T) {
	w := newWorld(t)
	s := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.ServeHTTP(out, r)
			return
		}
		answer, err := protojson.Marshal(done("enrol_device", nil)) // and no more
		if err != nil {
			t.Error(err)
		}
		out.Header().Set("Content-Type", "application/json")
		_, _ = out.Write(answer)
	}))
	t.Cleanup(s.Close)
	cfg := w.config(filepath.Join(t.TempDir(), "hub"))
	cfg.GatewayURL, cfg.OtherGateways = s.URL, []string{cfg.GatewayURL}
	h, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	d := sealedFor(t, w, h, 5)
	if len(w.devices) != 0 {
		t.Fatal("the gateway passed it on")
	}
	anchored := 0
	for range 4 { // the first fails at the gateway that lied, the next at the other
		r, _ := h.Sync(t.Context())
		anchored += r.Anchored
	}
	if anchored != 5 || d.rec.SeedBlob == nil {
		t.Errorf("%d anchored; the sealed seeds are kept: %v", anchored, d.rec.SeedBlob != nil)
	}
	w.findAvailable(2)
	for range 2 {
		_, _ = h.Sync(t.Context())
	}
	if d.rec.SeedBlob != nil {
		t.Error("the sealed seeds are kept though a receipt shows the device on the ledger")
	}
}
