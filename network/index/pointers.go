package index

import (
	"fmt"

	"github.com/vitalveil/vitalveil/internal/record"
)

func (ix *Index) batch(id record.ID) *batch {
	b := ix.batches[id]
	if b == nil {
		b = &batch{id: id, posts: map[string]record.SignedAvailable{}}
		ix.batches[id] = b
		ix.batchOrder = append(ix.batchOrder, id)
	}
	return b
}

func (ix *Index) putPointer(w write) error {
	s, err := decode[record.PointerState](w)
	if err != nil {
		return err
	}
	ref := s.Signed.Pointer
	d := ix.devices[ref.Device]
	if d == nil {
		return fmt.Errorf("pointer of unknown device %s", ref.Device)
	}
	if s.Leaf < 0 || s.Leaf >= record.MaxBatch {
		return fmt.Errorf("leaf %d is beyond a batch of %d", s.Leaf, record.MaxBatch)
	}
	p := &pointer{state: s}
	if !d.keep(p) {
		return fmt.Errorf("%s %d (correction %d) of device %s was anchored before", ref.Kind, ref.Index, ref.Correction, ref.Device.Short())
	}
	b := ix.batch(s.Batch)
	for len(b.pointers) <= s.Leaf {
		b.pointers = append(b.pointers, nil)
	}
	b.pointers[s.Leaf] = p
	ix.anchored++
	return nil
}

func (ix *Index) putBatch(w write) error {
	s, err := decode[record.Batch](w)
	if err != nil {
		return err
	}
	id, err := record.ParseID(w.parts[0])
	if err != nil {
		return err
	}
	b := ix.batch(id)
	b.root, b.count = s.Root, s.Count
	return nil
}

// putAvailable counts the rows that a member vouches for. A bit that was set
// once stays set: cohorts may have been derived with it.
func (ix *Index) putAvailable(w write) error {
	s, err := decode[record.SignedAvailable](w)
	if err != nil {
		return err
	}
	b := ix.batches[s.Post.Batch]
	if b == nil {
		return fmt.Errorf("post about unknown batch %s", s.Post.Batch)
	}
	old := b.posts[s.Member]
	b.posts[s.Member] = s
	speaks := map[uint32]bool{}
	for number := range ix.epochs {
		speaks[number] = ix.speaks(number, s)
	}
	for i, p := range b.pointers {
		if p == nil || !bit(s.Post.Bitmap, i) || bit(old.Post.Bitmap, i) {
			continue
		}
		ref := p.state.Signed.Pointer
		device := ix.devices[ref.Device]
		if !speaks[device.state.Device.Epoch] {
			continue // a row counts by the members who can open it
		}
		p.posts++
		if p.posts != ix.epochOf(device).Threshold {
			continue
		}
		ix.available++
		if ref.Kind == record.KindRow {
			ix.devices[ref.Device].count(windowOf(ref))
		}
	}
	return nil
}
