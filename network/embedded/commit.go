package embedded

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// Bounds of a block: how many transactions and about how many bytes it gathers,
// and for how long it waits for ones that are being simulated. What arrives
// while a block is being written goes into the next one anyway.
const (
	maxGroup      = 512
	maxGroupBytes = 8 << 20
	groupWait     = time.Millisecond
)

// commitLoop orders transactions until the queue is closed.
func (l *Ledger) commitLoop() {
	for first := range l.queue {
		group := l.gather(first)
		if err := l.commit(group); err != nil {
			for _, s := range group {
				s.done <- outcome{err: fault.New(fault.Internal, "commit: %w", err)}
			}
		}
	}
}

// gather takes what is queued and, while others are about to be, waits a little.
func (l *Ledger) gather(first *submission) []*submission {
	group, size := []*submission{first}, len(first.data)
	var timer <-chan time.Time
	for len(group) < maxGroup && size < maxGroupBytes {
		select {
		case s, ok := <-l.queue:
			if !ok {
				return group
			}
			group, size = append(group, s), size+len(s.data)
			continue
		default:
		}
		if l.inFlight.Load() == 0 {
			return group
		}
		if timer == nil {
			timer = time.After(groupWait)
		}
		select {
		case s, ok := <-l.queue:
			if !ok {
				return group
			}
			group, size = append(group, s), size+len(s.data)
		case <-timer:
			return group
		}
	}
	return group
}

// blockDraft is a block in the making.
type blockDraft struct {
	header   header
	digests  []record.ID
	admitted []*submission
	purged   bool
}

// commit validates a group in order, writes it as one block and answers. When
// it returns an error nothing was written and nobody was answered.
func (l *Ledger) commit(group []*submission) error {
	last, hash := l.Tip()
	draft := &blockDraft{header: header{Number: last + 1, Previous: hash, Time: time.Now().UnixNano()}}
	batch := l.db.NewBatch()
	defer batch.Close()
	var refused []*submission
	view, seen := newBlockView(l.db), map[record.ID]bool{}
	for _, s := range group {
		known, err := getVersion(l.db, txIDKey(s.id))
		if err != nil {
			return err
		}
		if known != nil || seen[s.id] {
			refused = append(refused, s)
			continue
		}
		seen[s.id] = true
		if err := draft.admit(batch, view, s); err != nil {
			return err
		}
	}
	if len(draft.admitted) > 0 {
		if err := l.write(batch, draft); err != nil {
			return err
		}
	}
	for _, s := range refused {
		s.done <- outcome{err: fault.New(fault.Conflict, "transaction %s is on the ledger already", s.id)}
	}
	draft.answer()
	return nil
}

// admit gives a transaction its place in the block and its validation code.
func (d *blockDraft) admit(batch *pebble.Batch, view *blockView, s *submission) error {
	at := version{Block: d.header.Number, Tx: uint32(len(d.admitted))}
	c, err := view.validate(&s.set)
	if err != nil {
		return err
	}
	if err := batch.Set(txKey(at), s.data, nil); err != nil {
		return err
	}
	if err := view.applyTx(batch, s.id, &s.set, c, at, s.lookup); err != nil {
		return err
	}
	d.purged = d.purged || c == codeValid && s.purges()
	d.header.Codes = append(d.header.Codes, byte(c))
	d.digests = append(d.digests, s.digest)
	d.admitted = append(d.admitted, s)
	return nil
}

// lookup finds the private value of a write among those of the simulation.
func (s *submission) lookup(name string, w hashWrite, _ version) (privateValue, bool, error) {
	for _, p := range s.private {
		if p.collection == name && p.keyHash == w.KeyHash {
			return p.privateValue, true, nil
		}
	}
	return privateValue{}, false, fmt.Errorf("the simulation lost a private value of %q", name)
}

func (s *submission) purges() bool {
	for _, c := range s.set.Collections {
		for _, w := range c.Writes {
			if w.Purge {
				return true
			}
		}
	}
	return false
}

// write seals the block, makes it durable and tells followers.
func (l *Ledger) write(batch *pebble.Batch, d *blockDraft) error {
	d.header.Data = record.Root(d.digests)
	newTip, err := appendHeader(batch, l.Channel(), d.header, l.operator)
	if err != nil {
		return err
	}
	if d.purged {
		data, err := marshal(d.header.Number)
		if err != nil {
			return err
		}
		if err := batch.Set(keyPurged, data, nil); err != nil {
			return err
		}
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return err
	}
	l.mu.Lock()
	l.tip = newTip
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	if d.purged {
		select {
		case l.scrub <- struct{}{}:
		default:
		}
	}
	return nil
}

// answer tells the submitters what became of their transactions.
func (d *blockDraft) answer() {
	for i, s := range d.admitted {
		out := outcome{result: network.Result{
			TxID: s.id.String(), Block: d.header.Number, Index: i, Payload: s.response,
		}}
		if c := code(d.header.Codes[i]); c != codeValid {
			out.result.Payload = nil
			out.err = fault.New(fault.Contention, "transaction %s changed nothing: %s; submit it again", s.id, c)
		}
		s.done <- out
	}
}
