package network

import (
	"context"
	"errors"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
)

// losing is a ledger on which the first so many submissions lose their race.
type losing struct {
	losses, calls int
	err           error
}

func (l *losing) Submit(context.Context, Call) (Result, error) {
	l.calls++
	if l.calls <= l.losses {
		return Result{}, l.err
	}
	return Result{TxID: "won"}, nil
}

func (l *losing) Evaluate(context.Context, Call) ([]byte, error) { return nil, nil }

func (l *losing) Blocks(context.Context, uint64) iter.Seq2[*Block, error] { return nil }

func TestSubmitRetry(t *testing.T) {
	contention := fault.New(fault.Contention, "lost")
	for _, c := range []struct {
		name    string
		ledger  losing
		calls   int
		code    fault.Code
		atLeast time.Duration
	}{
		{"at once", losing{0, 0, contention}, 1, "", 0},
		{"after some", losing{5, 0, contention}, 6, "", 1},
		{"never: it is bounded", losing{1000, 0, contention}, retryAttempts, fault.Contention, 1},
		{"other errors are the caller's", losing{1, 0, fault.New(fault.Exhausted, "budget")}, 1, fault.Exhausted, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				res, err := SubmitRetry(t.Context(), &c.ledger, Call{})
				took := time.Since(start)
				if c.ledger.calls != c.calls {
					t.Fatalf("%d calls, want %d", c.ledger.calls, c.calls)
				}
				if c.code == "" && (err != nil || res.TxID != "won") || c.code != "" && fault.Of(err) != c.code {
					t.Fatalf("got %v, %v", res, err)
				}
				if took < c.atLeast || took > retryAttempts*retryMost {
					t.Fatalf("it took %v", took)
				}
			})
		})
	}
}

func TestSubmitRetryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		l := &losing{1000, 0, fault.New(fault.Contention, "lost")}
		_, err := SubmitRetry(ctx, l, Call{})
		if fault.Of(err) != fault.Contention || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
	})
}
