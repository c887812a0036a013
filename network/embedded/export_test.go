package embedded

import (
	"context"
	"time"

	"github.com/vitalveil/vitalveil/network"
)

// Verifies checks all that a ledger has stored.
var Verifies = verifies

// SubmitAt submits a call in a transaction that the client dates.
func (l *Ledger) SubmitAt(ctx context.Context, id network.Identity, call network.Call, at time.Time) error {
	s, err := signCall(id, l.Channel(), call, at)
	if err != nil {
		return err
	}
	_, err = l.submit(ctx, s)
	return err
}
