package gateway

import (
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// domainOperation separates the identifiers of operations from other digests.
const domainOperation = "gateway-operation/v1"

// Bounds of what is accepted and not done yet.
const (
	maxPending  = 10_000  // operations
	maxPointers = 200_000 // pointers in them
)

// operations holds the operations that are not done in memory, and all of them
// in the journal.
type operations struct {
	journal *journal
	now     func() time.Time
	log     *slog.Logger

	urgent, queue chan entry // for the workers

	mu       sync.Mutex
	open     map[record.ID]*operation
	pointers int
}

// operation is one that is not done. Its state is replaced, never changed.
type operation struct {
	entry
	stored  chan struct{} // closed once the journal holds it, or refused it
	changed chan struct{} // closed once it is done
	err     error         // why the journal refused it; read after stored
}

func newOperations(j *journal, now func() time.Time, log *slog.Logger) *operations {
	return &operations{
		journal: j, now: now, log: log, open: map[record.ID]*operation{},
		urgent: make(chan entry, maxPending), queue: make(chan entry, maxPending),
	}
}

// operationID is the same for the same document, or for the same key of the same
// party. An Idempotency-Key on an open route belongs to nobody, and does not
// count: there the document is the key.
func operationID(network, kind string, c caller, document record.ID) record.ID {
	if c.key != "" && c.party.Kind != "" {
		return record.Digest(domainOperation, network, []any{"key", kind, c.party.String(), c.key})
	}
	return record.Digest(domainOperation, network, []any{"document", kind, c.party.String(), document})
}

// requestDigest identifies a document for operationID and to tell two documents
// under one key apart.
func requestDigest(r *apiv1.StoredRequest) (record.ID, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	return record.SumID(b), err
}

// accept journals an operation and says whether it is new and has to be
// dispatched. One that failed, or that has a refused pointer, is taken up again.
func (o *operations) accept(e entry) (*apiv1.Operation, bool, error) {
	op, fresh, err := o.reserve(e)
	if err != nil {
		return nil, false, err
	}
	if op == nil { // done before
		return e.state, false, nil
	}
	if !fresh {
		<-op.stored
		return op.state, false, op.err
	}
	op.err = o.journal.accept(e)
	close(op.stored)
	if op.err != nil {
		o.log.Error("the journal could not be written", "error", op.err)
		o.drop(op)
		return nil, false, fault.New(fault.Unavailable, "the gateway could not store the operation; try again")
	}
	return e.state, true, nil
}

// reserve finds the operation or makes its place. It returns nil when the
// journal has it done, with e.state set to the outcome.
func (o *operations) reserve(e entry) (*operation, bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if op := o.open[e.id]; op != nil {
		return op, false, sameDocument(op.state, e.state)
	}
	known, err := o.journal.load(e.id)
	if err != nil {
		return nil, false, err
	}
	if known != nil {
		if err := sameDocument(known, e.state); err != nil {
			return nil, false, err
		}
		if settled(known) {
			proto.Reset(e.state)
			proto.Merge(e.state, known)
			return nil, false, nil
		}
	}
	n := len(e.request.GetAnchor().GetPointers())
	if len(o.open) >= maxPending || o.pointers+n > maxPointers {
		return nil, false, fault.New(fault.Unavailable, "too many operations wait for the ledger; try again later")
	}
	op := &operation{entry: e, stored: make(chan struct{}), changed: make(chan struct{})}
	o.open[e.id] = op
	o.pointers += n
	return op, true, nil
}

// settled says that running the operation again could change nothing. A pointer
// that was refused may have come too early.
func settled(op *apiv1.Operation) bool {
	if !op.Done || op.Error != nil {
		return false
	}
	for _, item := range op.Items {
		if item.Outcome == record.Refused {
			return false
		}
	}
	return true
}

func sameDocument(known, asked *apiv1.Operation) error {
	if known.Request != asked.Request {
		return fault.New(fault.Conflict, "this Idempotency-Key stands for another document; use a new key")
	}
	return nil
}

// recover returns the operations that the journal holds and are not done.
func (o *operations) recover() ([]entry, error) {
	pending, err := o.journal.pending()
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	stored := make(chan struct{})
	close(stored)
	for _, e := range pending {
		o.open[e.id] = &operation{entry: e, stored: stored, changed: make(chan struct{})}
		o.pointers += len(e.request.GetAnchor().GetPointers())
	}
	return pending, nil
}

// get returns an operation's state and, while it is not done, a channel that is
// closed when it is.
func (o *operations) get(id record.ID) (*apiv1.Operation, <-chan struct{}, error) {
	o.mu.Lock()
	op := o.open[id]
	if op != nil {
		defer o.mu.Unlock()
		return op.state, op.changed, nil
	}
	o.mu.Unlock()
	state, err := o.journal.load(id)
	if err != nil {
		return nil, nil, err
	}
	if state == nil {
		return nil, nil, fault.New(fault.NotFound, "no operation %s; done ones are kept for %s", id, keepDone)
	}
	return state, nil, nil
}

// finish records the outcome of an operation. The outcome is changed by then.
func (o *operations) finish(id record.ID, outcome *apiv1.Operation) {
	outcome.Done = true
	if err := o.journal.finish(id, outcome, o.now()); err != nil {
		// The operation runs again at the next start and ends the same way.
		o.log.Error("the journal could not be written", "error", err)
	}
	o.mu.Lock()
	op := o.open[id]
	o.mu.Unlock()
	if op != nil {
		o.drop(op)
	}
}

func (o *operations) drop(op *operation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.open, op.id)
	o.pointers -= len(op.request.GetAnchor().GetPointers())
	close(op.changed)
}

// failed makes the outcome of an operation that ended with a fault.
func failed(state *apiv1.Operation, err error) *apiv1.Operation {
	f := asFault(err)
	out := proto.CloneOf(state)
	out.Error = &apiv1.Failure{Code: string(f.Code), Detail: f.Detail}
	return out
}
