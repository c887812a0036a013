package index

import (
	"fmt"

	"github.com/vitalveil/vitalveil/internal/record"
)

func (an *anchors) batch(id record.ID) *batch {
	b := an.batches[id]
	if b == nil {
		b = &batch{id: id, number: uint32(len(an.order))}
		an.batches[id] = b
		an.order = append(an.order, b)
	}
	return b
}

// post returns what a member has posted about the batch, nil if nothing.
func (b *batch) post(member string) *record.SignedAvailable {
	for i := range b.posts {
		if b.posts[i].Member == member {
			return &b.posts[i]
		}
	}
	return nil
}

func (an *anchors) putPointer(w write) error {
	s, err := decode[record.PointerState](w)
	if err != nil {
		return err
	}
	ref := s.Signed.Pointer
	d := an.fleet.devices[ref.Device]
	if d == nil {
		return refuse("device %s is not enrolled", ref.Device.Short())
	}
	if s.Leaf < 0 || s.Leaf >= record.MaxBatch {
		return fmt.Errorf("leaf %d is beyond a batch of %d", s.Leaf, record.MaxBatch)
	}
	if s.Leaf >= len(w.tx.Writes) { // memory goes by what came
		return refuse("leaf %d of a batch was anchored by a transaction of %d writes", s.Leaf, len(w.tx.Writes))
	}
	if ref.Kind == record.KindPersonDay {
		if err := an.policy.checkDay(ref); err != nil {
			return err
		}
	}
	p, err := pack(s.Signed, d.number)
	if err != nil {
		return err
	}
	b := an.batch(s.Batch)
	if s.Leaf < len(b.pointers) && b.pointers[s.Leaf].kind != kindNone {
		return fmt.Errorf("leaf %d of batch %s was written before", s.Leaf, s.Batch.Short())
	}
	if !d.of(p.kind).add(slot{index: p.index, batch: b.number, leaf: uint16(s.Leaf), correction: p.correction}) {
		return fmt.Errorf("%s %d (correction %d) of device %s was anchored before", ref.Kind, ref.Index, ref.Correction, ref.Device.Short())
	}
	for len(b.pointers) <= s.Leaf {
		b.pointers = append(b.pointers, pointer{})
	}
	b.pointers[s.Leaf] = p
	an.anchored++
	return nil
}

// maxDay bounds days in both directions, as the contracts do: beyond it hours overflow.
const maxDay = 1 << 27

// checkDay refuses day rows that no contract anchors.
func (po *policy) checkDay(p record.Pointer) error {
	switch {
	case po.schema.Day() == nil:
		return refuse("a day row in a network whose schema, %s, has none", po.schema.Name)
	case p.Correction != 0:
		return refuse("correction %d of a day row", p.Correction)
	case p.Index < -maxDay || p.Index > maxDay:
		return refuse("day %d is out of bounds", p.Index)
	}
	return nil
}

func (an *anchors) putBatch(w write) error {
	s, err := decode[record.Batch](w)
	if err != nil {
		return err
	}
	id, err := record.ParseID(w.parts[0])
	if err != nil {
		return err
	}
	b := an.batch(id)
	b.root, b.count = s.Root, s.Count
	b.pointers = append(make([]pointer, 0, len(b.pointers)), b.pointers...) // it will not grow any more
	return nil
}

// putAvailable counts the rows whose availability a member attests. A bit that was set
// once stays set: cohorts may have been derived with it.
func (an *anchors) putAvailable(w write) error {
	s, err := decode[record.SignedAvailable](w)
	if err != nil {
		return err
	}
	b := an.batches[s.Post.Batch]
	if b == nil {
		return refuse("there is no batch %s", s.Post.Batch.Short())
	}
	speaks := an.policy.speakers(s)
	if len(speaks) == 0 {
		return refuse("%q has not signed this post", s.Member)
	}
	if old := b.post(s.Member); old != nil && !covers(s.Post.Bitmap, old.Post.Bitmap) {
		return refuse("an earlier post of %s says more", s.Member) // repeated: its bits would count again
	}
	old := b.take(s, an.names.one(s.Member))
	for i := range b.pointers {
		p := &b.pointers[i]
		if p.kind == kindNone || !bit(s.Post.Bitmap, i) || bit(old, i) {
			continue
		}
		device := an.fleet.devices[an.fleet.order[p.device]]
		if !speaks[device.state.Device.Epoch] {
			continue // a row counts by the members who can open it
		}
		p.posts++
		if int(p.posts) != an.policy.epochOf(device).Threshold {
			continue
		}
		an.available++
		device.count(p)
	}
	return nil
}

// covers reports whether bitmap a has every bit of b.
func covers(a, b []byte) bool {
	for i, bits := range b {
		if i < len(a) {
			bits &^= a[i]
		}
		if bits != 0 {
			return false
		}
	}
	return true
}

// take keeps a member's post in place of the one before, whose bitmap it returns.
func (b *batch) take(s record.SignedAvailable, member string) []byte {
	s.Member = member
	if old := b.post(member); old != nil {
		bitmap := old.Post.Bitmap
		*old = s
		return bitmap
	}
	b.posts = append(b.posts, s)
	return nil
}
