package index

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// Apply takes the next block. Blocks come in order of their numbers, from 0,
// each naming the hash of the one before; anything else is fault.Conflict and
// changes nothing. A write that the index cannot read is fault.Internal: the
// chaincode and this program are not of one version, and a cohort derived
// without that write would be wrong, so the caller must stop.
func (ix *Index) Apply(b *network.Block) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.broken {
		return fault.New(fault.Internal, "block %d was applied in part: this index is unusable", ix.height)
	}
	if b.Number != ix.height {
		return fault.New(fault.Conflict, "block %d comes next, not %d", ix.height, b.Number)
	}
	if b.Number > 0 && b.Previous != ix.lastHash {
		return fault.New(fault.Conflict, "block %d does not follow block %d: it names another hash", b.Number, b.Number-1)
	}
	for i := range b.Txs {
		tx := &b.Txs[i]
		ix.txs++
		if !tx.Valid {
			ix.invalid++
			continue
		}
		if err := ix.applyTx(tx, Position{b.Number, tx.Index}); err != nil {
			ix.broken = true
			return fault.New(fault.Internal, "block %d, transaction %d (%s): %w", b.Number, tx.Index, tx.ID, err)
		}
	}
	ix.clock.note(b.Number)
	ix.cohorts.settle()
	ix.height, ix.lastHash = b.Number+1, b.Hash
	return nil
}

// write is one decoded write and where it stands.
type write struct {
	at    Position
	tx    *network.Tx
	doc   *submitted
	parts []string
	value []byte
}

// applying says how each kind of key changes a part. Kinds that are missing
// (look-up keys of the chaincode) change nothing.
func (r *reading) applying() map[state.Kind]func(write) error {
	return map[state.Kind]func(write) error{
		state.KindGenesis:    r.policy.putGenesis,
		state.KindLayout:     r.policy.putLayout,
		state.KindTick:       r.clock.putTick,
		state.KindClock:      r.clock.putClock,
		state.KindClockVote:  r.clock.putClockVote,
		state.KindPatient:    r.people.putPatient,
		state.KindKeys:       r.people.putKeys,
		state.KindDevice:     r.fleet.putDevice,
		state.KindAck:        r.fleet.putAck,
		state.KindPieceKey:   r.policy.putPieceKey,
		state.KindConsent:    r.people.putConsent,
		state.KindErasure:    r.putErasure,
		state.KindErased:     r.people.putErased,
		state.KindPointer:    r.anchors.putPointer,
		state.KindBatch:      r.anchors.putBatch,
		state.KindAvailable:  r.anchors.putAvailable,
		state.KindStudy:      r.cohorts.putStudy,
		state.KindQuery:      r.cohorts.putQuery,
		state.KindCohort:     r.cohorts.putCohort,
		state.KindAbandon:    r.cohorts.putAbandonVote,
		state.KindPredicate:  r.claims.putPredicate,
		state.KindDeviceVote: r.fleet.putDeviceVote,
		state.KindDeviceFlag: r.fleet.putDeviceFlag,
		state.KindEpoch:      r.putEpoch,
		state.KindEpochEnd:   r.policy.putEpochEnd,
	}
}

func (ix *Index) applyTx(tx *network.Tx, at Position) error {
	var doc submitted
	for _, w := range tx.Writes {
		kind, parts, err := state.ParseKey(w.Key)
		if err != nil {
			return err
		}
		apply := ix.appliers[kind]
		if apply == nil {
			continue
		}
		if ix.policy.genesis == nil && kind != state.KindGenesis {
			return fmt.Errorf("%s %v before the genesis document", kind, parts)
		}
		if ix.policy.layout == 0 && kind != state.KindGenesis && kind != state.KindLayout {
			return errors.New("the ledger does not say which layout its state has: it is of an older version than this program reads")
		}
		if w.Delete {
			return fmt.Errorf("%s %q was deleted, which no contract does", kind, w.Key)
		}
		if err := apply(write{at: at, tx: tx, doc: &doc, parts: parts, value: w.Value}); err != nil {
			what := fmt.Sprintf("%s %s", kind, strings.Join(parts, " "))
			if err := ix.refusals.keep(at, tx.ID, what, err); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
	}
	return nil
}

// decode reads what the chaincode wrote: every index reads it alike, so this is not
// the place to refuse duplicate keys.
func decode[T any](w write) (T, error) {
	var v T
	err := record.Unmarshal(w.value, &v)
	return v, err
}

func (po *policy) putGenesis(w write) error {
	g, err := decode[record.Genesis](w)
	if err != nil {
		return err
	}
	if po.genesis != nil || len(g.Members) == 0 || g.Threshold < 1 {
		return errors.New("a network has one genesis document, with members")
	}
	schema, ok := privacy.SchemaByDigest(g.Schema)
	if !ok {
		return fmt.Errorf("the network seals rows by schema %s, which this version does not know: upgrade", g.Schema.Short())
	}
	po.genesis, po.schema, po.roster = &g, schema, g.FirstRoster()
	po.epochs[0] = record.EpochState{Epoch: g.FirstEpoch()}
	return nil
}

// putLayout stops at a layout that this version does not know: what follows would
// be taken for something else.
func (po *policy) putLayout(w write) error {
	l, err := state.ParseLayout(w.value)
	if err != nil {
		return err
	}
	po.layout = l.Version
	return nil
}

// note keeps ledger time at the end of each block in which it changed.
func (cl *clock) note(block uint64) {
	if n := len(cl.times); n == 0 && cl.now != 0 || n > 0 && cl.times[n-1].now != cl.now {
		cl.times = append(cl.times, timeAt{block, cl.now})
	}
}
