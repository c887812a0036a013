package index

import (
	"bytes"
	"fmt"

	"github.com/vitalveil/vitalveil/chaincode/state"
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

func (an *anchors) rowOf(k kind, deviceID record.ID, w window) (Row, error) {
	d := an.fleet.devices[deviceID]
	if d == nil {
		return Row{}, fault.New(fault.Internal, "there is no device %s", deviceID.Short())
	}
	s, ok := d.of(k).find(w)
	if !ok {
		return Row{}, fault.New(fault.Internal, "device %s has no %s %d, correction %d", deviceID.Short(), k, w.hour, w.number)
	}
	if b := an.order[s.batch]; !an.rooted(b) {
		return Row{}, fault.New(fault.Internal, "the pointers of batch %s are not those whose availability members have attested", b.id.Short())
	}
	p := an.at(s)
	return Row{p.blob, p.commitment}, nil
}

// rooted reports whether a batch has the pointers that its name is the Merkle root of,
// which is what members sign when they attest the availability of rows. It is looked at when rows are
// used, once.
func (an *anchors) rooted(b *batch) bool {
	if b.rooted.Load() {
		return true
	}
	ok := an.treeOf(b).root() == b.id
	b.rooted.Store(ok)
	return ok
}

// Receipts returns the receipts of a device's pointers of one kind with index
// in [from, until), in ascending order of index and correction, that at least
// threshold members have found available; at most MaxPage of them, and all or
// none of an index.
func (ix *Index) Receipts(deviceID record.ID, kind string, from, until int64) ([]record.Receipt, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	d := ix.fleet.devices[deviceID]
	if d == nil {
		return nil, fault.New(fault.NotFound, "no device %s", deviceID)
	}
	k, ok := kindOf(kind)
	if !ok {
		return nil, fault.New(fault.Invalid, "kinds of pointers are %q, %q and %q, not %q", record.KindRow, record.KindDay, record.KindPersonDay, kind)
	}
	var found slots
	for _, s := range d.of(k).between(from, until) {
		if int(ix.anchors.at(s).posts) >= ix.policy.epochOf(d).Threshold {
			found = append(found, s)
		}
	}
	found = page(found)
	out := make([]record.Receipt, len(found))
	for i, s := range found {
		out[i] = ix.anchors.receipt(s)
	}
	return out, nil
}

// page cuts a sorted list at MaxPage, before the index that would be torn apart:
// who reads on does so from the last index plus one.
func page(list slots) slots {
	n := MaxPage
	if len(list) <= n {
		return list
	}
	torn := list[n].index
	for list[n-1].index == torn {
		n--
	}
	return list[:n]
}

func (an *anchors) receipt(s slot) record.Receipt {
	b, p, leaf := an.order[s.batch], an.at(s), int(s.leaf)
	r := record.Receipt{
		Pointer: record.SignedPointer{Pointer: an.pointer(p), Signature: bytes.Clone(p.signature[:])},
		Batch:   b.id, Leaf: leaf, Count: b.count, Path: an.treeOf(b).path(leaf),
	}
	epoch := an.policy.epochOf(an.fleet.devices[r.Pointer.Pointer.Device])
	for _, m := range epoch.Members {
		if post := b.post(m.MSP); post != nil && bit(post.Post.Bitmap, leaf) && an.policy.speaks(epoch.Number, *post) {
			r.Posts = append(r.Posts, *post)
		}
	}
	return r
}

// bit returns bit i of a bitmap, least significant first; beyond its end it is
// not set.
func bit(bitmap []byte, i int) bool {
	return i >= 0 && i/8 < len(bitmap) && bitmap[i/8]>>(i%8)&1 == 1
}

// Place is where a row is in its blob, as record.BlobRow has it.
type Place struct {
	Hour       int64
	Correction uint8
}

// Daily reports whether it is a day row.
func (p Place) Daily() bool { return p.Correction == record.PersonDayMark }

func (p Place) String() string {
	if p.Daily() {
		return fmt.Sprintf("day %d", p.Hour/state.DayHours)
	}
	return fmt.Sprintf("hour %d, correction %d", p.Hour, p.Correction)
}

// CohortRow is a row of a cohort member.
type CohortRow struct {
	Row
	Place
}

// Rows returns the anchored rows of a cohort member: those of its hours, then
// its corrections; or its day rows. One that is missing is fault.Internal: a member's
// rows were anchored when the cohort was derived.
func (ix *Index) Rows(m record.CohortMember, daily bool) ([]CohortRow, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	var out []CohortRow
	take := func(k kind, w window, at Place) error {
		row, err := ix.anchors.rowOf(k, m.Device, w)
		if err != nil {
			return err
		}
		out = append(out, CohortRow{row, at})
		return nil
	}
	for _, r := range m.Ranges {
		for h := r[0]; h < r[1]; h++ {
			var err error
			switch {
			case !daily:
				err = take(kindRow, window{hour: h}, Place{Hour: h})
			case h%state.DayHours == 0:
				err = take(kindPersonDay, window{hour: h / state.DayHours}, Place{h, record.PersonDayMark})
			}
			if err != nil {
				return nil, err
			}
		}
	}
	for _, c := range m.Corrections {
		w := window{c[0], uint8(c[1])}
		if err := take(kindRow, w, Place{w.hour, w.number}); err != nil {
			return nil, err
		}
	}
	return out, nil
}
