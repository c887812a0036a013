package institution

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network/fabric"
)

// An ended call says that it was ended, and not that the institution is down.
func TestAnEndedCallDoesNotBlameTheInstitution(t *testing.T) {
	dir, err := os.MkdirTemp("", "vv") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := Call(t.Context(), dir, "tick", struct{}{}, nil); !strings.Contains(err.Error(), "no institution answers") {
		t.Errorf("nobody is there: %v", err)
	}
	l, err := listenControl(dir) // it takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err = Call(ctx, dir, "tick", struct{}{}, nil)
	if fault.Of(err) != fault.Unavailable || !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "no institution answers") {
		t.Errorf("somebody is there: %v", err)
	}
}

// stalledLedger has not ordered anything since a moment.
type stalledLedger struct {
	ledger
	since time.Time
}

func (s stalledLedger) Stalled() (time.Time, error) {
	return s.since, errors.New("the orderers' disk is full")
}

var _ staller = (*fabric.Client)(nil)

func TestStatusSaysSinceWhenNothingIsOrdered(t *testing.T) {
	for since, want := range map[time.Time]int64{{}: 0, time.Unix(1_700_000_000, 0): 1_700_000_000} {
		at, why := stall(stalledLedger{since: since})
		if at != want || (want != 0) != strings.Contains(why, "disk is full") {
			t.Errorf("stalled since %v: status says %d, %q", since, at, why)
		}
	}
	if at, _ := stall(embeddedLedger{}); at != 0 {
		t.Errorf("an embedded ledger says %d", at)
	}
}

type embeddedLedger struct{ ledger }
