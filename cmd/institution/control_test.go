package institution

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/network/fabric"
	"github.com/vitalveil/vitalveil/network/site"
)

// stalledLedger has not ordered anything since a moment.
type stalledLedger struct {
	site.Ledger
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

type embeddedLedger struct{ site.Ledger }
