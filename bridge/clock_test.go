package bridge

import (
	"errors"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// wallHub is a hub in a network on wall time, whose own clock can be put ahead.
func wallHub(t *testing.T, w *world, dir string, others ...string) (*Hub, *atomic.Int64) {
	t.Helper()
	w.genesis.Clock = record.ClockWall
	cfg := w.config(dir)
	cfg.OtherGateways = others
	ahead, now := &atomic.Int64{}, cfg.Clock
	cfg.Clock = func() time.Time { return now().Add(time.Duration(ahead.Load()) * time.Second) }
	h, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h, ahead
}

// TestAClockThatWasAheadOnceCostsNothing: while it is ahead, no hour is sealed and no
// day committed that is not over, its owner is told, and later everything is sealed in
// its hour.
func TestAClockThatWasAheadOnceCostsNothing(t *testing.T) {
	w := newWorld(t)
	h, ahead := wallHub(t, w, filepath.Join(t.TempDir(), "hub"))
	d := w.enrolled(h, "heart_rate")
	push(t, d, at(t, 5, "61"))
	w.at(epochStart + 3*3600)
	if err := h.Advance(t.Context(), epochStart+3*3600); err != nil {
		t.Fatal(err)
	}
	syncs(t, h)

	const days = 10
	ahead.Store(days * 86400)
	for _, advance := range []func() error{
		func() error { return h.Advance(t.Context(), epochStart+3*3600+days*86400) },
		func() error { return d.Advance(t.Context(), epochStart+3*3600+days*86400) },
	} {
		if err := advance(); !errors.Is(err, ErrClockAhead) {
			t.Errorf("advance with a clock ahead: %v", err)
		}
	}
	if until, day := d.Progress(); until != epochStart/3600+3 || day != epochDay {
		t.Errorf("sealed until %d, committed until %d", until-epochStart/3600, day-epochDay)
	}
	r, err := h.Sync(t.Context())
	if err != nil || r.ClockAhead != days*24*time.Hour || h.ClockAhead() != r.ClockAhead {
		t.Errorf("its owner is told %s, %v", r.ClockAhead, err)
	}
	if o := push(t, d, at(t, 100, "62")); o.Gridded != 1 { // an hour that is sealed
		t.Errorf("late data while the clock is ahead: %+v", o)
	}

	ahead.Store(0)
	if h.ClockAhead() != 0 {
		t.Error("it is told although the clock was set")
	}
	w.at(epochStart + 26*3600)
	push(t, d, at(t, 25*60, "63"))
	if err := h.Advance(t.Context(), epochStart+26*3600); err != nil {
		t.Fatal(err)
	}
	if r := syncs(t, h); r.ClockAhead != 0 || r.Anchored != 23+1+1 || len(r.Refused)+r.Waiting != 0 {
		t.Errorf("after the clock was set: %+v", r) // 23 hours, one correction, one day
	}
	if c := d.Counts(); c.Late+c.Early+c.Counted != 0 || c.Gridded != 3 {
		t.Errorf("counts %+v", c)
	}
}

// TestAGatewayThatIsAheadSealsNothing: its word counts against the hub's clock only.
func TestAGatewayThatIsAheadSealsNothing(t *testing.T) {
	w := newWorld(t)
	h, ahead := wallHub(t, w, filepath.Join(t.TempDir(), "hub"))
	d := w.enrolled(h, "heart_rate")
	w.at(epochStart + 50*86400)
	ahead.Store(2*3600 - 50*86400)
	if err := d.Advance(t.Context(), epochStart+20*3600); err == nil {
		t.Error("sealed beyond the hub's clock")
	}
	if err := d.Advance(t.Context(), epochStart+2*3600); err != nil {
		t.Error(err)
	}
	if until, _ := d.Progress(); until != epochStart/3600+2 {
		t.Errorf("sealed until hour %d", until-epochStart/3600)
	}
}

// TestWithoutAGatewayHoursStayOpen, as nobody tells ledger time. It is told once and
// passes by itself then.
func TestWithoutAGatewayHoursStayOpen(t *testing.T) {
	w := newWorld(t)
	h, _ := wallHub(t, w, filepath.Join(t.TempDir(), "hub"))
	d := w.enrolled(h, "heart_rate")
	w.before = func(*http.Request) error { return fault.New(fault.Unavailable, "away") }
	w.at(epochStart + 3600)
	if err := d.Advance(t.Context(), epochStart+3600); fault.Of(err) != fault.Unavailable {
		t.Errorf("error %v", err)
	}
	if until, _ := d.Progress(); until != epochStart/3600 {
		t.Error("an hour was sealed")
	}
	w.before = nil
	if err := d.Advance(t.Context(), epochStart+3600); err != nil {
		t.Fatal(err)
	}
	w.before = func(*http.Request) error { return fault.New(fault.Unavailable, "away") }
	if err := d.Advance(t.Context(), epochStart+3600+300); err != nil {
		t.Errorf("within what is known: %v", err)
	}
}
