package index

import (
	"bytes"
	"slices"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Height returns the number of blocks applied, which is the number of the next.
func (ix *Index) Height() uint64 {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.height
}

// Time returns ledger time in Unix seconds: the median of the members' latest
// ticks, 0 before there are any.
func (ix *Index) Time() int64 {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.clock.now
}

// median is the ledger's own rule (package chaincode, Clock): the lower middle
// tick of the current epoch's members, where one that never ticked counts as long
// ago, and not before that epoch began; false while there is no such time.
func (cl *clock) median() (int64, bool) {
	members := cl.policy.current().Members
	all := make([]int64, 0, len(members))
	for _, m := range members {
		t, ok := cl.ticks[m.MSP]
		if !ok {
			t = noTick
		}
		all = append(all, t)
	}
	slices.Sort(all)
	now := all[(len(all)-1)/2]
	if cl.policy.roster.Current > 0 {
		now = max(now, cl.policy.roster.Floor)
	}
	return now, now != noTick
}

// Genesis returns the network's policy as the ledger has it.
func (ix *Index) Genesis() (record.Genesis, bool) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if ix.policy.genesis == nil {
		return record.Genesis{}, false
	}
	return *ix.policy.genesis, true
}

// Device returns the ledger's record of a device, who has acknowledged its seeds,
// in the order of members, whether all have, and whether there is such a device.
func (ix *Index) Device(id record.ID) (record.DeviceState, []string, bool, bool) {
	var acknowledged []string
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	d := ix.fleet.devices[id]
	if d == nil || ix.policy.genesis == nil {
		return record.DeviceState{}, nil, false, false
	}
	for _, m := range ix.policy.epochOf(d).Members {
		if slices.Contains(d.acks, m.MSP) {
			acknowledged = append(acknowledged, m.MSP)
		}
	}
	return d.state, acknowledged, ix.fleet.ready(d), true
}

// Devices returns the devices from number `from` on in the order of their
// enrolment.
func (ix *Index) Devices(from int) []record.DeviceState {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if from < 0 || from >= len(ix.fleet.order) {
		return nil
	}
	out := make([]record.DeviceState, 0, len(ix.fleet.order)-from)
	for _, id := range ix.fleet.order[from:] {
		out = append(out, ix.fleet.devices[id].state)
	}
	return out
}

// Acknowledged reports whether a member has acknowledged a device's seeds.
func (ix *Index) Acknowledged(device record.ID, member string) bool {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	d := ix.fleet.devices[device]
	return d != nil && slices.Contains(d.acks, member)
}

// PieceKey is the ledger's record of the PRF key of an epoch's piece.
type PieceKey struct {
	State record.PieceKeyState
	At    Position // where it was last changed
}

// PieceKey returns the record of a piece's key. The key is the one of every query
// but those of before it that an earlier key, found faulty since, may have answered:
// two answers under different keys would show more than one of them may.
func (ix *Index) PieceKey(epoch uint32, piece int) (PieceKey, bool) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	k, ok := ix.policy.pieceKeys[pieceOf{epoch, piece}]
	return k, ok
}

// Serves reports whether the key may answer a query.
func (ix *Index) Serves(k PieceKey, query string) bool {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	q := ix.cohorts.queries[query]
	return k.State.Posted != nil && q != nil && (len(k.State.Faulty) == 0 || before(k.At, q.at))
}

// Batch is a batch of pointers in leaf order.
type Batch struct {
	ID       record.ID
	Pointers []record.Pointer
	// Signatures are those that came with the pointers; nobody has checked them here.
	Signatures [][]byte
}

// Batches returns the batches from number `from` on in ledger order.
func (ix *Index) Batches(from int) []Batch {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if from < 0 || from >= len(ix.anchors.order) {
		return nil
	}
	out := make([]Batch, 0, len(ix.anchors.order)-from)
	for _, b := range ix.anchors.order[from:] {
		v := Batch{ID: b.id, Pointers: make([]record.Pointer, len(b.pointers)), Signatures: make([][]byte, len(b.pointers))}
		for i := range b.pointers {
			v.Pointers[i] = ix.anchors.pointer(&b.pointers[i])
			v.Signatures[i] = bytes.Clone(b.pointers[i].signature[:])
		}
		out = append(out, v)
	}
	return out
}

// Attested returns the bitmap that a member has posted for a batch, nil if none,
// and whether every row is in it.
func (ix *Index) Attested(batchID record.ID, member string) ([]byte, bool) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	b := ix.anchors.batches[batchID]
	if b == nil {
		return nil, false
	}
	post := b.post(member)
	if post == nil {
		return nil, false
	}
	for i := range b.pointers {
		if !bit(post.Post.Bitmap, i) {
			return post.Post.Bitmap, false
		}
	}
	return post.Post.Bitmap, true
}

// Counts is what anyone who reads the ledger sees.
type Counts struct {
	Blocks       uint64         `json:"blocks"`
	Transactions int            `json:"transactions"`
	Invalid      int            `json:"invalid"` // of these, without effect
	Refused      int            `json:"refused"` // records that do not follow from signatures and count for nothing
	Patients     int            `json:"patients"`
	Devices      int            `json:"devices"`
	Ready        int            `json:"ready"` // devices whose seeds every holder has
	Quarantined  int            `json:"quarantined"`
	Consents     int            `json:"consents"`
	Pointers     int            `json:"pointers"`
	Available    int            `json:"available"` // of these, found by threshold members
	Batches      int            `json:"batches"`
	Studies      int            `json:"studies"`
	Queries      map[string]int `json:"queries"`    // by status
	Predicates   map[string]int `json:"predicates"` // by status
}

// Counts returns the totals so far.
func (ix *Index) Counts() Counts {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	c := Counts{
		Blocks: ix.height, Transactions: ix.txs, Invalid: ix.invalid, Refused: ix.refusals.count, Patients: len(ix.people.patients), Devices: len(ix.fleet.devices),
		Pointers: ix.anchors.anchored, Available: ix.anchors.available, Batches: len(ix.anchors.batches), Studies: len(ix.cohorts.studies),
		Queries: map[string]int{}, Predicates: map[string]int{},
	}
	for _, d := range ix.fleet.devices {
		if ix.fleet.ready(d) {
			c.Ready++
		}
		if d.state.Quarantined != nil {
			c.Quarantined++
		}
	}
	for _, p := range ix.people.patients {
		c.Consents += len(p.consents)
	}
	for _, q := range ix.cohorts.queries {
		c.Queries[q.state.Status]++
	}
	for _, p := range ix.claims.predicates {
		c.Predicates[p.Status]++
	}
	return c
}
