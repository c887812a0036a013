package gateway

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// workers run the operations that are one transaction each; as many others run the
// urgent ones and nothing else.
const workers = 16

// submitTimeout bounds one transaction.
const submitTimeout = 30 * time.Second

// Waits before a transaction is tried again. While the ledger is away they grow to
// mostPause, so that its return is noticed soon.
const (
	firstPause = 20 * time.Millisecond
	mostPause  = 5 * time.Second
)

// patience is how an operation is tried that the ledger does not take while it takes
// others: the wait doubles with every try until it is most, and so many tries are all.
type patience struct {
	most  time.Duration
	tries int
}

// defaultPatience makes about two hours.
var defaultPatience = patience{most: 5 * time.Minute, tries: 40}

// urgent are the operations by which a patient stops something.
func urgent(r *apiv1.StoredRequest) bool {
	switch d := r.Document.(type) {
	case *apiv1.StoredRequest_Consent:
		return d.Consent.GetDocument().GetStatus() != consent.StatusActive
	case *apiv1.StoredRequest_Keys, *apiv1.StoredRequest_Erasure, *apiv1.StoredRequest_Retirement:
		return true
	}
	return false
}

// runner brings accepted operations onto the ledger. Each ends with an outcome in the
// journal, or stays there as the gateway ends, whatever becomes of the ledger meanwhile.
type runner struct {
	*ledger
	ops      *operations
	keys     *keyCache
	store    *store
	now      func() time.Time
	anchors  *batcher
	patience patience
}

// dispatch hands an accepted operation to whoever runs it. The batcher's channel has
// room for all that may be pending, so it does not block.
func (rn *runner) dispatch(e entry) {
	if e.request.GetAnchor() != nil {
		rn.anchors.uploads <- e
		return
	}
	rn.queue(e).put(e)
}

func (rn *runner) queue(e entry) *lanes {
	if urgent(e.request) {
		return rn.ops.urgent
	}
	return rn.ops.queue
}

// worker runs operations of a queue until that is closed.
func (rn *runner) worker(ctx context.Context, q *lanes) {
	for {
		e, ok := q.next()
		if !ok {
			return
		}
		rn.run(ctx, e)
		q.leave(e)
	}
}

// run tries an operation once. It is done then, or waits for its next turn in no
// worker's way, or stays in the journal as the gateway ends. Submitting an identical
// document twice is harmless, chaincode answers with what is recorded.
func (rn *runner) run(ctx context.Context, e entry) {
	call, err := callOf(rn.genesis, e.request)
	if err != nil {
		rn.ops.finish(e.id, failed(e.state, err))
		return
	}
	res, err := rn.submit(ctx, call)
	if err == nil {
		if m := e.request.GetPatient(); m != nil && erasedBefore(res.Payload) {
			rn.ops.letGo(e.id)
			rn.store.discardBoxes(ctx, m)
		}
		if keys := e.request.GetKeys(); keys != nil {
			rn.keys.forget(api.PartyPatient + ":" + keys.Change.Patient)
		}
		out := proto.CloneOf(e.state)
		out.TxId, out.Block = res.TxID, res.Block
		rn.ops.finish(e.id, out)
		return
	}
	if passing(err) {
		if pause, more := rn.patience.after(&e.tried, rn.index.Height()); more {
			rn.log.Warn("the ledger did not take a transaction; trying again", "function", call.Function, "code", string(fault.Of(err)), "counted", e.counted)
			q := rn.queue(e)
			time.AfterFunc(pause/2+rand.N(pause), func() { q.put(e) })
			return
		}
		rn.ops.finish(e.id, failed(e.state, e.givenUp(err)))
		return
	}
	rn.discardRefused(ctx, e, err) // before the journal forgets the request
	rn.ops.finish(e.id, failed(e.state, err))
}

// discardRefused deletes what was stored for an operation that was refused for good.
// Seeds that another device has named stay: when it is gone, the one they belong to
// enrols.
func (rn *runner) discardRefused(ctx context.Context, e entry, why error) {
	rn.ops.letGo(e.id)
	if fault.Of(why) != fault.Conflict {
		rn.store.discardSeeds(ctx, e.request.GetDevice())
	}
	rn.store.discardBoxes(ctx, e.request.GetPatient())
}

// tried is what is known of an operation's tries that failed.
type tried struct {
	counted int           // while the ledger took others
	height  uint64        // of the ledger at the last one
	pause   time.Duration // after it, where it does not count
}

// after notes a try that failed with the ledger at this height, and returns how long
// to wait for the next, if there is to be one. A try counts if the ledger has taken
// something since the one before: then it is not away, and it is this operation that
// it does not take.
func (p patience) after(t *tried, height uint64) (time.Duration, bool) {
	if height <= t.height {
		t.pause = min(max(2*t.pause, firstPause), mostPause)
		return t.pause, true
	}
	t.height = height
	t.counted++
	return min(firstPause<<min(t.counted, 30), p.most), t.counted < p.tries
}

// givenUp says so in the operation's result.
func (t tried) givenUp(err error) error {
	f := asFault(err)
	return fault.New(f.Code, "given up after %d tries while the ledger took other transactions; post it again to have it tried anew: %s", t.counted, f.Detail)
}

func (rn *runner) submit(ctx context.Context, call network.Call) (network.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, submitTimeout)
	defer cancel()
	return rn.client.Submit(ctx, call)
}

// pause waits about d; it reports false when the gateway is closed meanwhile.
func pause(d time.Duration, quit <-chan struct{}) bool {
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-quit:
		return false
	case <-t.C:
		return true
	}
}

// passing says that the ledger was away or busy: nothing is wrong with the
// transaction itself.
func passing(err error) bool {
	code := asFault(err).Code
	return code == fault.Unavailable || code == fault.Contention
}

// callOf makes the chaincode call of a journaled request.
func callOf(genesis record.Genesis, r *apiv1.StoredRequest) (network.Call, error) {
	switch d := r.Document.(type) {
	case *apiv1.StoredRequest_Patient:
		return callWith(contracts.RegistryEnrolPatient, d.Patient.Record)
	case *apiv1.StoredRequest_Consent:
		return consentCall(genesis.Network, d.Consent)
	case *apiv1.StoredRequest_Keys:
		return callWith(contracts.RegistryChangeKeys, d.Keys.Record)
	case *apiv1.StoredRequest_Erasure:
		return callWith(contracts.RegistryErase, d.Erasure.Record)
	case *apiv1.StoredRequest_Device:
		return callWith(contracts.RegistryEnrolDevice, d.Device.Record)
	case *apiv1.StoredRequest_Attest:
		// Whatever came as the proof is one: that a request has none would close it.
		proof := append([]byte{}, d.Attest.Proof...)
		return contracts.PredicateClose.Call(contracts.Outcome{Request: d.Attest.Request, Proof: proof})
	case *apiv1.StoredRequest_Retirement:
		return callWith(contracts.RegistryRetireDevice, d.Retirement.Record)
	}
	return network.Call{}, fault.New(fault.Internal, "the journal holds a request of an unknown kind")
}

// consentCall puts a consent on the ledger. Every attempt to submit it has a salt of
// its own, of which the first that commits stays.
func consentCall(networkName string, m *apiv1.SignedConsent) (network.Call, error) {
	signed, err := m.Record()
	if err != nil {
		return network.Call{}, fault.New(fault.Invalid, "%w", err)
	}
	return contracts.ConsentPut.Call(contracts.Consent{
		Network: networkName, Details: consent.Details{Salt: record.RandomID(), Signed: signed},
	})
}

func callWith[A, R any](m contracts.Write[A, R], document func() (A, error)) (network.Call, error) {
	doc, err := document()
	if err != nil {
		return network.Call{}, fault.New(fault.Invalid, "%w", err)
	}
	return m.Call(doc)
}
