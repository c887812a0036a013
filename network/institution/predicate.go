package institution

import (
	"context"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// AskPredicate asks whether a claim about one patient is true and returns the
// request's identifier. A zero nonce is replaced by a fresh one.
func (in *Institution) AskPredicate(ctx context.Context, ask record.AskPredicate) (string, error) {
	if ask.Nonce.IsZero() {
		ask.Nonce = record.RandomID()
	}
	var p record.PredicateState
	_, err := in.submit(ctx, "Predicate:Request", ask, &p)
	return p.ID, err
}

// WaitPredicate waits until a request is attested or has expired; with a clock
// that does not move it waits for ctx.
func (in *Institution) WaitPredicate(ctx context.Context, id string) (record.PredicateState, error) {
	for {
		changed := in.blocks.next()
		if err := in.failure(); err != nil {
			return record.PredicateState{}, err
		}
		p, found := in.index.Predicate(id)
		if found && p.Status != record.PredicateAsked {
			return p, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return p, fault.New(fault.Unavailable, "request %s is not answered yet: %w", id, ctx.Err())
		}
	}
}

// expirePredicates closes this member's requests that nobody has answered.
func (in *Institution) expirePredicates(ctx context.Context) error {
	for _, id := range in.index.Lapsed(in.self.MSP) {
		if err := settled(in.perform(ctx, "Predicate:Expire", record.Expire{Request: id})); err != nil {
			return err
		}
	}
	return nil
}
