package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
)

// journal keeps operations. Keys: 'o' + id holds the state of an operation,
// 'r' + id the request of one that is not done (so that recovery reads these
// alone), 'd' + time + id orders the done ones for pruning and has the patient of a consent or a proof, 'p' is written to see
// whether writing goes on, 's' holds the secret.
//
// A write that fails ends the process (state.Quiet), since what is on the disk is not
// known then; while the disk has no room for what is written in the background, writes
// wait.
type journal struct {
	db    *pebble.DB
	store string // its directory
	// secret goes into the identifiers of operations that could be guessed. It stays.
	secret record.ID

	mu     sync.Mutex
	closed bool
	probe  *probe // under way
	probes sync.WaitGroup
}

// probe is a write that shows whether writing goes on.
type probe struct {
	done chan struct{}
	err  error // read after done
}

// entry is an operation with what is needed to run it.
type entry struct {
	id      record.ID
	state   *apiv1.Operation
	request *apiv1.StoredRequest
	tried
}

// party is whose operation it is: the patient or device that has proven so, or the
// address that it came from while the ledger could not be asked.
func (e entry) party() string { return e.request.Party }

// journalVersion is the schema of the journal's directory; a newer one is
// refused.
const journalVersion = 1

func openJournal(dir string) (*journal, error) {
	if _, err := state.Claim(dir, journalVersion); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	store := filepath.Join(dir, "store")
	db, err := pebble.Open(store, &pebble.Options{
		Logger: state.Quiet{}, EventListener: state.Quiet{}.Listener(), Cleaner: state.Remover{}, MemTableSize: 8 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", dir, err)
	}
	j := &journal{db: db, store: store}
	if j.secret, err = readSecret(db); err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", dir, err), db.Close())
	}
	return j, nil
}

// readSecret returns the secret, and makes it at first.
func readSecret(db *pebble.DB) (record.ID, error) {
	value, closer, err := db.Get([]byte{'s'})
	if errors.Is(err, pebble.ErrNotFound) {
		secret := record.RandomID()
		return secret, db.Set([]byte{'s'}, secret[:], pebble.Sync)
	}
	if err != nil {
		return record.ID{}, err
	}
	defer closer.Close()
	if len(value) != len(record.ID{}) {
		return record.ID{}, fmt.Errorf("a secret of %d bytes", len(value))
	}
	return record.ID(value), nil
}

func (j *journal) close() error {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.probes.Wait()
	return j.db.Close()
}

// writable returns why nothing can be written now, or nil. There is one write at a
// time for all who ask.
func (j *journal) writable(ctx context.Context) error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return fault.New(fault.Unavailable, "the gateway is closed")
	}
	p := j.probe
	if p == nil {
		p = &probe{done: make(chan struct{})}
		j.probe = p
		j.probes.Go(func() { j.try(p) })
	}
	j.mu.Unlock()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "the journal takes no writes now: its disk may be full")
	}
}

func (j *journal) try(p *probe) {
	p.err = j.db.Set([]byte{'p'}, nil, pebble.Sync)
	j.mu.Lock()
	j.probe = nil
	j.mu.Unlock()
	close(p.done)
}

func stateKey(id record.ID) []byte   { return append([]byte{'o'}, id[:]...) }
func requestKey(id record.ID) []byte { return append([]byte{'r'}, id[:]...) }

func doneKey(at time.Time, id record.ID) []byte {
	k := binary.BigEndian.AppendUint64([]byte{'d'}, uint64(at.Unix()))
	return append(k, id[:]...)
}

// accept stores an operation that is to be run. When it has returned, the
// operation survives a crash of the machine.
func (j *journal) accept(e entry) error {
	state, err := proto.Marshal(e.state)
	if err != nil {
		return err
	}
	request, err := proto.Marshal(e.request)
	if err != nil {
		return err
	}
	b := j.db.NewBatch()
	defer b.Close()
	err = errors.Join(b.Set(stateKey(e.id), state, nil), b.Set(requestKey(e.id), request, nil))
	if err != nil {
		return err
	}
	return b.Commit(pebble.Sync)
}

// finish stores the outcome, and about which patient it is (patientOf). It is not synced: after a crash the operation runs
// again and finds what it recorded on the ledger.
func (j *journal) finish(id record.ID, state *apiv1.Operation, now time.Time, about string) error {
	value, err := proto.Marshal(state)
	if err != nil {
		return err
	}
	b := j.db.NewBatch()
	defer b.Close()
	err = errors.Join(
		b.Set(stateKey(id), value, nil),
		b.Delete(requestKey(id), nil),
		b.Set(doneKey(now, id), []byte(about), nil))
	if err != nil {
		return err
	}
	return b.Commit(pebble.NoSync)
}

// load returns the state of an operation, nil when there is none.
func (j *journal) load(id record.ID) (*apiv1.Operation, error) {
	value, closer, err := j.db.Get(stateKey(id))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	state := &apiv1.Operation{}
	return state, proto.Unmarshal(value, state)
}

// pending returns the operations that are not done.
func (j *journal) pending() ([]entry, error) {
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: []byte{'r'}, UpperBound: []byte{'r' + 1}})
	if err != nil {
		return nil, err
	}
	defer it.Close()
	var out []entry
	for it.First(); it.Valid(); it.Next() {
		e := entry{request: &apiv1.StoredRequest{}}
		if len(it.Key()) != 33 {
			return nil, fmt.Errorf("journal: a key of %d bytes", len(it.Key()))
		}
		copy(e.id[:], it.Key()[1:])
		if err := proto.Unmarshal(it.Value(), e.request); err != nil {
			return nil, fmt.Errorf("journal: operation %s: %w", e.id, err)
		}
		e.state, err = j.load(e.id)
		if err != nil || e.state == nil {
			return nil, fmt.Errorf("journal: operation %s has no state: %w", e.id, err)
		}
		out = append(out, e)
	}
	return out, it.Error()
}

// prune forgets operations that were done before the given time.
func (j *journal) prune(before time.Time) error {
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: []byte{'d'}, UpperBound: doneKey(before, record.ID{})})
	if err != nil {
		return err
	}
	defer it.Close()
	b := j.db.NewBatch()
	defer b.Close()
	for it.First(); it.Valid(); it.Next() {
		if len(it.Key()) != 41 {
			continue
		}
		var id record.ID
		copy(id[:], it.Key()[9:])
		if err := errors.Join(j.forget(b, id), b.Delete(it.Key(), nil)); err != nil {
			return err
		}
	}
	return errors.Join(it.Error(), b.Commit(pebble.NoSync))
}

// forgetPatients forgets the outcomes of some patients' consents and proofs, which may say
// what these were about, and makes sure that nothing which was deleted is in any file.
func (j *journal) forgetPatients(ctx context.Context, patients []record.ID) error {
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: []byte{'d'}, UpperBound: []byte{'d' + 1}})
	if err != nil {
		return err
	}
	b := j.db.NewBatch()
	defer b.Close()
	for it.First(); it.Valid(); it.Next() {
		about, err := record.ParseID(string(it.Value()))
		if err != nil || len(it.Key()) != 41 || !slices.Contains(patients, about) {
			continue
		}
		var id record.ID
		copy(id[:], it.Key()[9:])
		if err := errors.Join(j.forget(b, id), b.Delete(it.Key(), nil)); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	if err := errors.Join(it.Error(), it.Close(), b.Commit(pebble.Sync)); err != nil {
		return err
	}
	return j.scrub(ctx)
}

// scrub makes sure that requests and outcomes which were deleted are in no file.
func (j *journal) scrub(ctx context.Context) error {
	return state.Scrub(ctx, j.db, j.store, state.Span{From: []byte{'d'}, Before: []byte{'r' + 1}})
}

// forget drops a done operation; one that was taken up again stays.
func (j *journal) forget(b *pebble.Batch, id record.ID) error {
	state, err := j.load(id)
	if err != nil || state == nil || !state.Done {
		return err
	}
	return b.Delete(stateKey(id), nil)
}
