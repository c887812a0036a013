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
	// Codes is how many codes there are: a metric's largest is below it.
	Codes = 640
	// CodeBits is the width of a code in a commitment.
	CodeBits = 12
	// CodesPerElement is how many codes one field element holds, the first in
	// the lowest bits. It divides an hour: no element holds readings of two.
	CodesPerElement = 20
	// Slots is the number of metric slots of a day, in a tree whose nodes have Arity
	// children.
	Slots     = Arity * Arity
	Arity     = 4
	TreeDepth = 2

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

// Column commits to one metric of one day: codes holds ReadingsPerDay grid codes, 0
// where a minute is missing. It is the sponge in DomainColumn over slot, day, salt and
// the packed codes, five permutations. Salts must be secret and uniform.
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
	xs := []Element{number(uint64(slot)), d, salt}
	for i := 0; i < len(codes); i += CodesPerElement {
		packed, err := pack(codes[i : i+CodesPerElement])
		if err != nil {
			return Element{}, fmt.Errorf("minutes from %d: %w", i, err)
		}
		xs = append(xs, packed)
	}
	return Sponge(DomainColumn, xs...), nil
}

// pack puts CodesPerElement codes into one element, 240 bits. The error does not carry
// the code.
func pack(codes []uint16) (Element, error) {
	var b [32]byte
	for i := 0; i < len(codes); i += 2 { // two codes are three bytes
		if codes[i] >= Codes || codes[i+1] >= Codes {
			return Element{}, fmt.Errorf("a code is not below %d", Codes)
		}
		pair := uint32(codes[i]) | uint32(codes[i+1])<<CodeBits
		at := len(b) - 3*(i/2+1)
		b[at], b[at+1], b[at+2] = byte(pair>>16), byte(pair>>8), byte(pair)
	}
	var e Element
	e.SetBytes(b[:])
	return e, nil
}

// Tree is the Merkle tree over a day's columns, by slot. An inner node compresses its
// four children.
type Tree struct {
	levels [TreeDepth + 1][]Element // levels[0] are the leaves
}

// NewTree builds the tree over the commitments of all slots.
func NewTree(columns [Slots]Element) *Tree {
	t := new(Tree)
	t.levels[0] = columns[:]
	for l := range TreeDepth {
		below := t.levels[l]
		for i := 0; i < len(below); i += Arity {
			t.levels[l+1] = append(t.levels[l+1], Compress(below[i:i+Arity]...))
		}
	}
	return t
}

// Root is the metrics root of the day.
func (t *Tree) Root() Element { return t.levels[TreeDepth][0] }

// Path is what a root is recomputed from: at each level, lowest first, the children
// beside the own, whose place is zero.
type Path [TreeDepth][Arity]Element

// Path returns the path of a slot's leaf. The slot must be in 0..Slots-1.
func (t *Tree) Path(slot int) (Path, error) {
	var path Path
	if slot < 0 || slot >= Slots {
		return path, fmt.Errorf("metric slot %d is outside 0..%d", slot, Slots-1)
	}
	for l := range path {
		own := slot % Arity
		copy(path[l][:], t.levels[l][slot-own:])
		path[l][own] = Element{}
		slot /= Arity
	}
	return path, nil
}

// DayRoot commits to a whole day: DomainDay, day, salt and metrics root, compressed.
func DayRoot(day int64, salt, metricsRoot Element) (Element, error) {
	d, err := DayElement(day)
	if err != nil {
		return Element{}, err
	}
	return Compress(DomainDay.Element(), d, salt, metricsRoot), nil
}

// DataDigest commits to the consecutive day roots that a statement is about,
// the first day first: DomainData and the roots, with zeros up to MaxDays, compressed. A
// root that is not canonical is an error.
func DataDigest(roots []record.ID) (record.ID, error) {
	if len(roots) == 0 || len(roots) > MaxDays {
		return record.ID{}, fmt.Errorf("a statement is about 1 to %d day roots, not %d", MaxDays, len(roots))
	}
	xs := [digestWidth]Element{DomainData(len(roots)).Element()}
	for i, id := range roots {
		e, err := ToElement(id)
		if err != nil {
			return record.ID{}, fmt.Errorf("day root %d: %w", i, err)
		}
		xs[1+i] = e
	}
	return ToID(Compress(xs[:]...)), nil
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
