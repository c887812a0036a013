package institution

import (
	"context"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// AskPredicate asks whether a claim about one patient is true and returns the
// request's identifier. A zero nonce is replaced by a fresh one. The question goes
// off-chain.
func (in *Institution) AskPredicate(ctx context.Context, ask record.AskPredicate) (string, error) {
	if ask.Nonce.IsZero() {
		ask.Nonce = record.RandomID()
	}
	q := record.Question{Ask: ask, Salt: record.RandomID()}
	e, _, err := submit(ctx, in, contracts.PredicateRequest, contracts.Question{Network: in.cfg.Genesis.Network, Question: q})
	return e.ID, err
}

// Predicate returns a request of this member's, or one that was passed on to it,
// with its outcome as far as it is known.
func (in *Institution) Predicate(ctx context.Context, id string) (record.PredicateState, error) {
	return contracts.PredicateGet.Evaluate(ctx, in.cfg.Client, id)
}

// WaitPredicate waits until a request is closed and returns it with its outcome;
// with a clock that does not move it waits for ctx.
func (in *Institution) WaitPredicate(ctx context.Context, id string) (record.PredicateState, error) {
	for {
		changed := in.Next()
		if err := in.Failure(); err != nil {
			return record.PredicateState{}, err
		}
		if e, found := in.index.Predicate(id); found && e.Status != record.PredicateAsked {
			p, err := in.Predicate(ctx, id)
			if err != nil || p.Status != record.PredicateAsked { // a peer may be behind the index
				return p, err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return record.PredicateState{}, fault.New(fault.Unavailable, "request %s is not answered yet: %w", id, ctx.Err())
		}
	}
}

// expirePredicates closes this member's requests that nobody has answered.
func (in *Institution) expirePredicates(ctx context.Context) error {
	for _, id := range in.index.Lapsed(in.self.MSP) {
		if err := settled(perform(ctx, in, contracts.PredicateClose, contracts.Outcome{Request: id})); err != nil {
			return err
		}
	}
	return nil
}
