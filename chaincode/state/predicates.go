package state

import (
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Where what a request says travels off-chain.
const (
	// TransientQuestion is the transient entry in which Predicate:Request gets the
	// record.Question.
	TransientQuestion = "question"
	// TransientProof is the one in which Predicate:Close gets a proof; without it a
	// request is closed that nobody answered.
	TransientProof = "proof"
	// TransientTo is the one in which Predicate:Share gets the MSP ID of an institution.
	TransientTo = "to"
)

// Statement is what a proof must prove to answer a request about this metric.
func Statement(p *record.PredicateState, m wearable.Metric) verifier.Statement {
	return verifier.Statement{
		DataDigest: p.DataDigest, Binding: p.Binding, Slot: m.Slot, FirstDay: p.Ask.FirstDay, Bounds: p.Ask.Bounds,
	}
}
