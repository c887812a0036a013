package verifier

import (
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

const (
	// ReadingsPerDay is the length of a column: one code a minute.
	ReadingsPerDay = wearable.MinutesPerDay
	// CodeBits is the width of a code in a commitment.
	CodeBits = 16
	// CodesPerElement is how many codes one field element holds, the first in
	// the lowest bits.
	CodesPerElement = 15
	// Slots is the number of metric slots of a day, TreeDepth its logarithm.
	Slots     = 1 << TreeDepth
	TreeDepth = 4

	// dayBias makes every day number a small non-negative field element.
	dayBias = 1 << 31
	// MinDay and MaxDay bound day numbers: 0001-01-01 and 9999-12-31.
	MinDay = -719162
	MaxDay = 2932896
)

// DayElement is a Unix day as circuits and commitments encode it. Days outside
// MinDay..MaxDay have no encoding.
func DayElement(day int64) (Element, error) {
	if day < MinDay || day > MaxDay {
		return Element{}, fmt.Errorf("day %d is outside the years 1 to 9999", day)
	}
	return number(uint64(day + dayBias)), nil
}

// Column commits to one metric of one day: codes holds ReadingsPerDay grid
// codes, 0 where a minute is missing. The chain is slot, day, salt and the
// packed codes in DomainColumn; a column without any reading is slot, day and
// salt in DomainEmpty, which costs little and, being salted, looks like any
// other. Salts must be secret and uniform.
func Column(slot int, day int64, salt Element, codes []uint16) (Element, error) {
	if slot < 0 || slot >= Slots {
		return Element{}, fmt.Errorf("metric slot %d is outside 0..%d", slot, Slots-1)
	}
	if len(codes) != ReadingsPerDay {
		return Element{}, fmt.Errorf("a column has %d codes, not %d", ReadingsPerDay, len(codes))
	}
	d, err := DayElement(day)
	if err != nil {
		return Element{}, err
	}
	if isEmpty(codes) {
		return Hash(DomainEmpty, number(uint64(slot)), d, salt), nil
	}
	return columnOf(number(uint64(slot)), d, salt, codes), nil
}

func columnOf(slot, day, salt Element, codes []uint16) Element {
	c := newChain(DomainColumn)
	c.absorb(&slot)
	c.absorb(&day)
	c.absorb(&salt)
	for i := 0; i < len(codes); i += CodesPerElement {
		packed := pack(codes[i : i+CodesPerElement])
		c.absorb(&packed)
	}
	return c.state
}

func isEmpty(codes []uint16) bool {
	for _, code := range codes {
		if code != 0 {
			return false
		}
	}
	return true
}

// pack puts CodesPerElement codes into one element, 240 bits.
func pack(codes []uint16) Element {
	var b [32]byte
	for i, code := range codes {
		at := len(b) - 2*(i+1)
		b[at], b[at+1] = byte(code>>8), byte(code)
	}
	var e Element
	e.SetBytes(b[:])
	return e
}

// Tree is the Merkle tree over a day's columns, by slot. An inner node is its
// two children in DomainNode.
type Tree struct {
	levels [TreeDepth + 1][]Element // levels[0] are the leaves
}

// NewTree builds the tree over the commitments of all slots.
func NewTree(columns [Slots]Element) *Tree {
	t := new(Tree)
	t.levels[0] = columns[:]
	for l := range TreeDepth {
		below := t.levels[l]
		t.levels[l+1] = make([]Element, len(below)/2)
		for i := range t.levels[l+1] {
			t.levels[l+1][i] = Hash(DomainNode, below[2*i], below[2*i+1])
		}
	}
	return t
}

// Root is the metrics root of the day.
func (t *Tree) Root() Element { return t.levels[TreeDepth][0] }

// Path returns the siblings of a slot's leaf, lowest first. The slot must be in
// 0..Slots-1.
func (t *Tree) Path(slot int) ([TreeDepth]Element, error) {
	var path [TreeDepth]Element
	if slot < 0 || slot >= Slots {
		return path, fmt.Errorf("metric slot %d is outside 0..%d", slot, Slots-1)
	}
	for l := range path {
		path[l] = t.levels[l][(slot>>l)^1]
	}
	return path, nil
}

// DayRoot commits to a whole day: day, salt and metrics root in DomainDay.
func DayRoot(day int64, salt, metricsRoot Element) (Element, error) {
	d, err := DayElement(day)
	if err != nil {
		return Element{}, err
	}
	return Hash(DomainDay, d, salt, metricsRoot), nil
}

// DataDigest commits to the consecutive day roots that a statement is about,
// the first day first: their number and the roots in DomainData. A root that is
// not canonical is an error.
func DataDigest(roots []record.ID) (record.ID, error) {
	if len(roots) == 0 || len(roots) > MaxDays {
		return record.ID{}, fmt.Errorf("a statement is about 1 to %d day roots, not %d", MaxDays, len(roots))
	}
	xs := []Element{number(uint64(len(roots)))}
	for i, id := range roots {
		e, err := ToElement(id)
		if err != nil {
			return record.ID{}, fmt.Errorf("day root %d: %w", i, err)
		}
		xs = append(xs, e)
	}
	return ToID(Hash(DomainData, xs...)), nil
}

// CheckRoot tells whether a device may anchor this identifier as a day root: it
// must be canonical. The caller refuses the pointer otherwise.
func CheckRoot(root record.ID) error {
	if root.IsZero() {
		return errors.New("a day root is not zero")
	}
	_, err := ToElement(root)
	return err
}
