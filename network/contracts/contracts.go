// Package contracts is how programs call the contracts: each method once, as a constant
// that knows the document the method takes and the one it answers with.
//
//	tick, _, err := contracts.ClockTick.Submit(ctx, client, record.Tick{Time: now})
//	device, err := contracts.RegistryGetDevice.Evaluate(ctx, client, id)
//
// A constant has the name of its method, "Clock:Tick" is ClockTick; what a method does,
// who may call it and what it refuses is with the methods of package chaincode, which
// this package does not link.
//
// Entry points: Write.Submit for what changes the ledger; Write.Call for those who submit
// in a way of their own; Read.Evaluate for what only asks.
//
// # Trust
//
// The answer to Submit is in a committed transaction, which the ledger's policy has
// endorsed. The answer to Evaluate is one peer's word: whoever must not be deceived by
// that peer reads the blocks (network/index).
//
// # Promise
//
// What is private in an argument goes as transient data and is never in the transaction.
package contracts

import (
	"context"
	"encoding/json"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
)

// Method is a method of a contract, whatever it takes.
type Method interface {
	// Name is "Contract:Method", as it stands in transactions. For calls that the types
	// here do not allow, as tests make them, put it into a network.Call.
	Name() string
}

// Write is a method that changes the ledger: it takes an A and answers with an R.
type Write[A, R any] string

// Name implements Method.
func (m Write[A, R]) Name() string { return string(m) }

// Call is the call of the method with arg, for those who submit it themselves; others use
// Submit. Documents with private parts are split anew by each Call.
func (m Write[A, R]) Call(arg A) (network.Call, error) {
	onChain, transient := any(arg), map[string][]byte(nil)
	if p, ok := onChain.(private); ok {
		var err error
		if onChain, transient, err = p.split(); err != nil {
			return network.Call{}, err
		}
	}
	call, err := callOf(string(m), onChain)
	call.Transient = transient
	return call, err
}

// Submit calls the method and returns its answer once that is committed, and the
// transaction. It tries again where the transaction lost a race for a key
// (network.SubmitRetry). When ctx ends first the error is fault.Unavailable and the outcome
// unknown; the Result then names the transaction. To submit the same document again is
// harmless, but for QueryAsk and PredicateRequest, which ask anew each time they commit.
func (m Write[A, R]) Submit(ctx context.Context, c network.Client, arg A) (R, network.Result, error) {
	var none R
	call, err := m.Call(arg)
	if err != nil {
		return none, network.Result{}, err
	}
	res, err := network.SubmitRetry(ctx, c, call)
	if err != nil {
		return none, res, err
	}
	answer, err := m.Answer(res)
	return answer, res, err
}

// Answer is what the method answered in a transaction that called it.
func (m Write[A, R]) Answer(res network.Result) (R, error) { return answer[R](string(m), res.Payload) }

// Read is a method that changes nothing: it takes an A and answers with an R.
type Read[A, R any] string

// Name implements Method.
func (m Read[A, R]) Name() string { return string(m) }

// Evaluate asks the method, and leaves no trace on the ledger. The errors are those of the
// contract, of them fault.NotFound for what is not recorded and fault.Unavailable where
// nobody can answer now.
func (m Read[A, R]) Evaluate(ctx context.Context, c network.Client, arg A) (R, error) {
	var none R
	call, err := callOf(string(m), arg)
	if err != nil {
		return none, err
	}
	raw, err := c.Evaluate(ctx, call)
	if err != nil {
		return none, err
	}
	return answer[R](string(m), raw)
}

func callOf(method string, arg any) (network.Call, error) {
	raw, err := json.Marshal(arg)
	if err != nil {
		return network.Call{}, fault.New(fault.Internal, "the argument of %s: %w", method, err)
	}
	return network.Call{Function: method, Args: []string{string(raw)}}, nil
}

// answer is not strict: newer contracts may say more.
func answer[R any](method string, raw []byte) (R, error) {
	var r R
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, fault.New(fault.Internal, "%s answered something else than expected: %w", method, err)
	}
	return r, nil
}
