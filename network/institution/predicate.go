package institution

import (
	"context"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// claims asks whether claims about one patient are true.
type claims struct{ *member }

// AskPredicate asks whether a claim about one patient is true and returns the
// request's identifier. A zero nonce is replaced by a fresh one. The question is signed
// and goes off-chain.
func (cm *claims) AskPredicate(ctx context.Context, ask record.AskPredicate) (string, error) {
	if ask.Nonce.IsZero() {
		ask.Nonce = record.RandomID()
	}
	var err error
	if ask.Signature, err = record.Sign(cm.cfg.SignKey, ask.Digest(cm.cfg.Genesis.Network, cm.self.MSP)); err != nil {
		return "", err
	}
	q := record.Question{Ask: ask, Salt: record.RandomID()}
	e, _, err := submit(ctx, cm.member, contracts.PredicateRequest, contracts.Question{Network: cm.cfg.Genesis.Network, Question: q})
	return e.ID, err
}

// Predicate returns a request of this member's, or one that was passed on to it,
// with its outcome as far as it is known.
func (cm *claims) Predicate(ctx context.Context, id string) (record.PredicateState, error) {
	return contracts.PredicateGet.Evaluate(ctx, cm.cfg.Client, id)
}

// WaitPredicate waits until a request is closed and returns it with its outcome;
// with a clock that does not move it waits for ctx.
func (cm *claims) WaitPredicate(ctx context.Context, id string) (record.PredicateState, error) {
	for {
		changed := cm.Next()
		if err := cm.Failure(); err != nil {
			return record.PredicateState{}, err
		}
		if e, found := cm.index.Predicate(id); found && e.Status != record.PredicateAsked {
			p, err := cm.Predicate(ctx, id)
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
func (cm *claims) expirePredicates(ctx context.Context) error {
	for _, id := range cm.index.Lapsed(cm.self.MSP) {
		if err := settled(perform(ctx, cm.member, contracts.PredicateClose, contracts.Outcome{Request: id})); err != nil {
			return err
		}
	}
	return nil
}
