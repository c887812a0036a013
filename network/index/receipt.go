package index

import (
	"sort"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// MaxPage is the most receipts that one call returns.
const MaxPage = 500

// Row is where the sealed row of one device and hour is, as the ledger has it.
type Row struct {
	Blob       record.ID // SHA-256 of the blob that carries it
	Commitment record.ID // SHA-256 of the row
}

func (ix *Index) rowOf(deviceID record.ID, hour int64) (Row, bool) {
	d := ix.devices[deviceID]
	if d == nil || d.rows[hour] == nil {
		return Row{}, false
	}
	p := d.rows[hour].state.Signed.Pointer
	return Row{p.Blob, p.Commitment}, true
}

// Receipts returns the receipts of a device's pointers of one kind with index
// in [from, until), in ascending order, that at least threshold members have
// found available; at most MaxPage of them.
func (ix *Index) Receipts(deviceID record.ID, kind string, from, until int64) ([]record.Receipt, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	d := ix.devices[deviceID]
	if d == nil {
		return nil, fault.New(fault.NotFound, "no device %s", deviceID)
	}
	var byIndex map[int64]*pointer
	switch kind {
	case record.KindRow:
		byIndex = d.rows
	case record.KindDay:
		byIndex = d.days
	default:
		return nil, fault.New(fault.Invalid, "kinds of pointers are %q and %q, not %q", record.KindRow, record.KindDay, kind)
	}
	var found []*pointer
	for i, p := range byIndex { // sorted below
		if i >= from && i < until && p.posts >= ix.genesis.Threshold {
			found = append(found, p)
		}
	}
	sort.Slice(found, func(i, j int) bool {
		return found[i].state.Signed.Pointer.Index < found[j].state.Signed.Pointer.Index
	})
	if len(found) > MaxPage {
		found = found[:MaxPage]
	}
	out := make([]record.Receipt, len(found))
	for i, p := range found {
		out[i] = ix.receipt(p)
	}
	return out, nil
}

func (ix *Index) receipt(p *pointer) record.Receipt {
	b := ix.batches[p.state.Batch]
	b.treeOnce.Do(func() {
		leaves := make([]record.ID, len(b.pointers))
		for i, q := range b.pointers {
			if q != nil {
				leaves[i] = q.state.Signed.Pointer.Digest(ix.genesis.Network)
			}
		}
		b.tree = newTree(leaves)
	})
	r := record.Receipt{Pointer: p.state.Signed, Batch: b.id, Leaf: p.state.Leaf, Count: b.count, Path: b.tree.path(p.state.Leaf)}
	for _, m := range ix.genesis.Members {
		if post, ok := b.posts[m.MSP]; ok && bit(post.Post.Bitmap, p.state.Leaf) {
			r.Posts = append(r.Posts, post)
		}
	}
	return r
}

// bit returns bit i of a bitmap, least significant first; beyond its end it is
// not set.
func bit(bitmap []byte, i int) bool {
	return i >= 0 && i/8 < len(bitmap) && bitmap[i/8]>>(i%8)&1 == 1
}

// HourRow is a row of a cohort member.
type HourRow struct {
	Row
	Hour int64
}

// Rows returns the anchored rows of a cohort member, by hour. One that is missing
// is fault.Internal: a member's rows were anchored when the cohort was derived.
func (ix *Index) Rows(m record.CohortMember) ([]HourRow, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	var out []HourRow
	for _, r := range m.Ranges {
		for h := r[0]; h < r[1]; h++ {
			row, ok := ix.rowOf(m.Device, h)
			if !ok {
				return nil, fault.New(fault.Internal, "device %s has no row for hour %d", m.Device.Short(), h)
			}
			out = append(out, HourRow{row, h})
		}
	}
	return out, nil
}
