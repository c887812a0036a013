package index

import (
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Pointers are what a ledger has most of: one for each device and hour. They are
// therefore kept without anything that the garbage collector has to follow, in the
// array of their batch, and found by their device through 16 bytes each.

// pointer is one anchored pointer; the zero value is a leaf that was not written.
type pointer struct {
	blob, commitment record.ID
	signature        [64]byte // ES256
	index            int64
	device           uint32 // number in the order of enrolment
	posts            uint16 // members that found it available
	correction       uint8
	kind             kind
}

// kind is a pointer's kind, as package record names it.
type kind uint8

const (
	kindNone kind = iota
	kindRow
	kindDay
	kindPersonDay
)

func kindOf(name string) (kind, bool) {
	switch name {
	case record.KindRow:
		return kindRow, true
	case record.KindDay:
		return kindDay, true
	case record.KindPersonDay:
		return kindPersonDay, true
	}
	return kindNone, false
}

func (k kind) String() string {
	switch k {
	case kindRow:
		return record.KindRow
	case kindDay:
		return record.KindDay
	case kindPersonDay:
		return record.KindPersonDay
	}
	return ""
}

func (p *pointer) window() window { return window{p.index, p.correction} }

// pack takes what is kept of a pointer of the device with this number.
func pack(s record.SignedPointer, device uint32) (pointer, error) {
	ref := s.Pointer
	p := pointer{blob: ref.Blob, commitment: ref.Commitment, index: ref.Index, device: device, correction: ref.Correction}
	var ok bool
	if p.kind, ok = kindOf(ref.Kind); !ok {
		return p, fmt.Errorf("a pointer of unknown kind %q", ref.Kind)
	}
	if copy(p.signature[:], s.Signature) != len(p.signature) || len(s.Signature) != len(p.signature) {
		return p, fmt.Errorf("a pointer's signature has %d bytes, not %d", len(s.Signature), len(p.signature))
	}
	return p, nil
}

// pointer is the pointer as its device signed it; that of an empty leaf is zero.
func (an *anchors) pointer(p *pointer) record.Pointer {
	if p.kind == kindNone {
		return record.Pointer{}
	}
	return record.Pointer{
		Device: an.fleet.order[p.device], Kind: p.kind.String(), Index: p.index, Correction: p.correction,
		Blob: p.blob, Commitment: p.commitment,
	}
}

// slot is where a device's pointer is: the batch's number and the leaf.
type slot struct {
	index      int64
	batch      uint32
	leaf       uint16
	correction uint8
}

func (s slot) window() window { return window{s.index, s.correction} }

func (s slot) compare(w window) int { return s.window().compare(w) }

// slots are a device's pointers of one kind, in ascending order of their windows.
type slots []slot

// add enters a pointer; false if there is one in its place.
func (s *slots) add(n slot) bool {
	i, found := slices.BinarySearchFunc(*s, n.window(), slot.compare)
	if !found {
		*s = slices.Insert(*s, i, n)
	}
	return !found
}

func (s slots) find(w window) (slot, bool) {
	i, found := slices.BinarySearchFunc(s, w, slot.compare)
	if !found {
		return slot{}, false
	}
	return s[i], true
}

// between returns the slots with index in [from, until).
func (s slots) between(from, until int64) slots {
	i, _ := slices.BinarySearchFunc(s, window{hour: from}, slot.compare)
	j, _ := slices.BinarySearchFunc(s, window{hour: until}, slot.compare)
	return s[i:max(i, j)]
}

// of returns the device's pointers of a kind.
func (d *device) of(k kind) *slots {
	switch k {
	case kindDay:
		return &d.days
	case kindPersonDay:
		return &d.persons
	}
	return &d.rows
}

func (an *anchors) at(s slot) *pointer { return &an.order[s.batch].pointers[s.leaf] }
