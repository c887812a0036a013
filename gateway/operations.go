package gateway

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// domainOperation separates the identifiers of operations from other digests.
const domainOperation = "gateway-operation/v2"

// Bounds of what is accepted and not done yet.
const (
	maxPending  = 10_000  // operations
	maxPointers = 200_000 // pointers in them
	// urgentRoom is the part of maxPending that is kept for urgent operations.
	urgentRoom = 1_000
	// What one party may have, and of urgent ones as much again.
	partyPending  = 100
	partyPointers = 10 * record.MaxBatch
	// maxWrittenDaily is how many bytes of documents a share may bring on one day. The
	// journal keeps about as much of their outcomes for keepDone.
	maxWrittenDaily = 128 << 20
)

// operations holds the operations that are not done in memory, and all of them
// in the journal.
type operations struct {
	journal *journal
	now     func() time.Time
	log     *slog.Logger

	urgent, queue *lanes // for the workers
	written       quota  // of documents that were accepted, whose outcomes are kept

	mu     sync.Mutex
	open   map[record.ID]*operation
	total  usage
	shares map[string]usage
	named  map[record.ID]int  // how many open operations, or those about to be, name a blob
	going  map[record.ID]bool // blobs that are being deleted
}

// usage is what of the bounds is used.
type usage struct{ operations, pointers int }

func (u usage) plus(o usage) usage {
	return usage{u.operations + o.operations, u.pointers + o.pointers}
}

// usage is what an operation uses while it is open.
func (e entry) usage() usage { return usage{1, len(e.request.GetAnchor().GetPointers())} }

// share is whose share of the bounds an operation takes. Urgent ones have one of their
// own: what a patient's devices have waiting is in no revocation's way.
func (e entry) share() string {
	if urgent(e.request) {
		return "urgent " + e.party()
	}
	return e.party()
}

// operation is one that is not done. Its state is replaced, never changed.
type operation struct {
	entry
	stored  chan struct{} // closed once the journal holds it, or refused it
	changed chan struct{} // closed once it is done
	err     error         // why the journal refused it; read after stored
	let     bool          // it names its blobs no longer
}

func newOperations(j *journal, now func() time.Time, log *slog.Logger) *operations {
	return &operations{
		journal: j, now: now, log: log, open: map[record.ID]*operation{}, shares: map[string]usage{},
		named: map[record.ID]int{}, going: map[record.ID]bool{},
		urgent: newLanes(), queue: newLanes(), written: quota{most: maxWrittenDaily, what: "documents"},
	}
}

// operationID is the same for the same document, or for the same key of the same
// party. An Idempotency-Key on an open route belongs to nobody, and does not
// count: there the document is the key. Whoever has the identifier sees the operation:
// documents cannot be guessed, keys can, so a secret of the journal goes in with them.
func operationID(network, kind string, c caller, document, secret record.ID) record.ID {
	if c.key != "" && c.party.Kind != "" {
		return record.Digest(domainOperation, network, []any{"key", kind, c.party.String(), c.key, secret})
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
func (o *operations) accept(ctx context.Context, e entry) (*apiv1.Operation, bool, error) {
	op, fresh, err := o.reserve(e)
	if err != nil {
		return nil, false, err
	}
	if op == nil { // done before
		return e.state, false, nil
	}
	if !fresh {
		state, err := op.wait(ctx)
		return state, false, err
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

// wait waits until the journal holds an operation that somebody else has posted.
func (op *operation) wait(ctx context.Context) (*apiv1.Operation, error) {
	select {
	case <-op.stored:
		return op.state, op.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// find returns an operation that is open or settled, and nil for one that is new or
// would be taken up again.
func (o *operations) find(ctx context.Context, e entry) (*apiv1.Operation, error) {
	o.mu.Lock()
	op, known, err := o.known(e)
	o.mu.Unlock()
	if err != nil || op == nil {
		return known, err
	}
	return op.wait(ctx)
}

// known returns an operation that is open, or else the outcome of one that is
// settled. It is called with mu held.
func (o *operations) known(e entry) (*operation, *apiv1.Operation, error) {
	if op := o.open[e.id]; op != nil {
		return op, nil, sameDocument(op.state, e.state)
	}
	known, err := o.journal.load(e.id)
	if err != nil || known == nil {
		return nil, nil, err
	}
	if err := sameDocument(known, e.state); err != nil || !settled(known) {
		return nil, nil, err
	}
	return nil, known, nil
}

// reserve finds the operation or makes its place. It returns nil when the
// journal has it done, with e.state set to the outcome.
func (o *operations) reserve(e entry) (*operation, bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	op, known, err := o.known(e)
	if err != nil || op != nil {
		return op, false, err
	}
	if known != nil {
		proto.Reset(e.state)
		proto.Merge(e.state, known)
		return nil, false, nil
	}
	if err := o.room(e); err != nil {
		return nil, false, err
	}
	if err := o.written.take(e.share(), proto.Size(e.request), o.now()); err != nil {
		return nil, false, err
	}
	op = &operation{entry: e, stored: make(chan struct{}), changed: make(chan struct{})}
	o.add(op)
	return op, true, nil
}

// room refuses what is over a bound. It is called with mu held.
func (o *operations) room(e entry) error {
	most := maxPending
	if !urgent(e.request) {
		most -= urgentRoom
	}
	total, own := o.total.plus(e.usage()), o.shares[e.share()].plus(e.usage())
	switch {
	case total.operations > most || total.pointers > maxPointers:
		return fault.New(fault.Unavailable, "too many operations wait for the ledger; try again later")
	case own.operations > partyPending || own.pointers > partyPointers:
		return fault.New(fault.Unavailable, "too many operations of %s wait for the ledger; try again when some are done", e.party())
	}
	return nil
}

// add makes an operation an open one. It is called with mu held.
func (o *operations) add(op *operation) {
	o.open[op.id] = op
	o.total = o.total.plus(op.usage())
	o.shares[op.share()] = o.shares[op.share()].plus(op.usage())
	for _, id := range blobsNamed(op.request) {
		o.named[id]++
	}
}

// hold keeps blobs from being deleted until the function that it returns is called.
func (o *operations) hold(blobs []record.ID) (func(), error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range blobs {
		if o.going[id] {
			return nil, fault.New(fault.Unavailable, "blob %s was refused before and is being deleted; try again", id.Short())
		}
	}
	for _, id := range blobs {
		o.named[id]++
	}
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.unname(blobs)
	}, nil
}

// unname is called with mu held.
func (o *operations) unname(blobs []record.ID) {
	for _, id := range blobs {
		if o.named[id]--; o.named[id] <= 0 {
			delete(o.named, id)
		}
	}
}

// letGo says that an operation, which has come to its end, names its blobs no longer.
func (o *operations) letGo(id record.ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if op := o.open[id]; op != nil {
		o.letGoOf(op)
	}
}

// letGoOf is called with mu held.
func (o *operations) letGoOf(op *operation) {
	if !op.let {
		op.let = true
		o.unname(blobsNamed(op.request))
	}
}

// remove reports whether no operation names a blob, and none can then until the
// function that it returns is called.
func (o *operations) remove(blob record.ID) (func(), bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.named[blob] > 0 || o.going[blob] {
		return nil, false
	}
	o.going[blob] = true
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.going, blob)
	}, true
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
		o.add(&operation{entry: e, stored: stored, changed: make(chan struct{})})
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
	o.mu.Lock()
	op := o.open[id]
	o.mu.Unlock()
	about := ""
	if op != nil {
		about = patientOf(op.request)
	}
	if err := o.journal.finish(id, outcome, o.now(), about); err != nil {
		// The operation runs again at the next start and ends the same way.
		o.log.Error("the journal could not be written", "error", err)
	}
	if op != nil {
		o.drop(op)
	}
}

// patientOf returns the patient of a consent or of a proof, empty for other requests:
// what consents say and what was asked has to be forgotten. A proof shows which claim
// it proves to whoever tries them, so its request is not needed for that.
func patientOf(r *apiv1.StoredRequest) string {
	if r.GetAttest() != nil {
		return strings.TrimPrefix(r.Party, api.PartyPatient+":")
	}
	return r.GetConsent().GetDocument().GetPatient()
}

// waits reports whether a consent of a patient, or a proof about one, is not done yet.
func (o *operations) waits(patient record.ID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, op := range o.open {
		if patientOf(op.request) == patient.String() {
			return true
		}
	}
	return false
}

func (o *operations) drop(op *operation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.open, op.id)
	used := op.usage()
	back := usage{-used.operations, -used.pointers}
	o.total = o.total.plus(back)
	if left := o.shares[op.share()].plus(back); left != (usage{}) {
		o.shares[op.share()] = left
	} else {
		delete(o.shares, op.share())
	}
	o.letGoOf(op)
	close(op.changed)
}

// failed makes the outcome of an operation that ended with a fault.
func failed(state *apiv1.Operation, err error) *apiv1.Operation {
	f := asFault(err)
	out := proto.CloneOf(state)
	out.Error = &apiv1.Failure{Code: string(f.Code), Detail: f.Detail}
	return out
}
