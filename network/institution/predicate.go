package institution

import (
	"context"
	"encoding/json"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// AskPredicate asks whether a claim about one patient is true and returns the
// request's identifier. A zero nonce is replaced by a fresh one. The question goes
// beside the chain.
func (in *Institution) AskPredicate(ctx context.Context, ask record.AskPredicate) (string, error) {
	if ask.Nonce.IsZero() {
		ask.Nonce = record.RandomID()
	}
	arg, transient, err := state.RequestArguments(in.cfg.Genesis.Network, record.Question{Ask: ask, Salt: record.RandomID()})
	if err != nil {
		return "", err
	}
	res, err := network.SubmitRetry(ctx, in.cfg.Client, network.Call{Function: "Predicate:Request", Args: []string{arg}, Transient: transient})
	if err != nil {
		return "", err
	}
	var e record.PredicateEntry
	if err := json.Unmarshal(res.Payload, &e); err != nil {
		return "", fault.New(fault.Internal, "Predicate:Request answered something else than expected: %w", err)
	}
	return e.ID, nil
}

// Predicate returns a request of this member's, or one that was passed on to it,
// with its outcome as far as it is known.
func (in *Institution) Predicate(ctx context.Context, id string) (record.PredicateState, error) {
	var p record.PredicateState
	raw, err := in.cfg.Client.Evaluate(ctx, network.Call{Function: "Predicate:Get", Args: []string{id}})
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return p, fault.New(fault.Internal, "Predicate:Get answered something else than expected: %w", err)
	}
	return p, nil
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
		if err := settled(in.perform(ctx, "Predicate:Close", record.NamePredicate{Request: id})); err != nil {
			return err
		}
	}
	return nil
}
