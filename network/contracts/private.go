package contracts

import (
	"encoding/json"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
)

// private is an argument of which only a part goes on the chain.
type private interface {
	// split returns the argument of the call and its transient data.
	split() (any, map[string][]byte, error)
}

// Consent is a version of a consent as ConsentPut takes it: a salted hash goes on the
// chain, what it says is private.
type Consent struct {
	Network string
	Details consent.Details
}

func (c Consent) split() (any, map[string][]byte, error) {
	return hidden(c.Details.Entry(c.Network), state.TransientDetails, c.Details)
}

// Question is a claim about one patient as PredicateRequest takes it: the hash goes on the
// chain, the claim is private.
type Question struct {
	Network  string
	Question record.Question
}

func (q Question) split() (any, map[string][]byte, error) {
	return hidden(record.RequestPredicate{Hash: q.Question.Hash(q.Network)}, state.TransientQuestion, q.Question)
}

func hidden(onChain any, name string, value any) (any, map[string][]byte, error) {
	raw, err := json.Marshal(value)
	return onChain, map[string][]byte{name: raw}, err
}

// Outcome is what became of a request as PredicateClose takes it: whether there is a proof
// is private. Without one the request is closed as unanswered, once it has expired.
type Outcome struct {
	Request string // its identifier
	Proof   []byte
}

func (o Outcome) split() (any, map[string][]byte, error) {
	onChain := record.NamePredicate{Request: o.Request}
	if o.Proof == nil {
		return onChain, nil, nil
	}
	return onChain, map[string][]byte{state.TransientProof: o.Proof}, nil
}

// Sharing is to whom a request is passed on, as PredicateShare takes it; that is private.
type Sharing struct {
	Request string // its identifier
	To      string // an institution's MSP ID
}

func (s Sharing) split() (any, map[string][]byte, error) {
	return record.NamePredicate{Request: s.Request}, map[string][]byte{state.TransientTo: []byte(s.To)}, nil
}
