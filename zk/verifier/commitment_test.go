package verifier

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/internal/record"
)

// The permutations are those of the authors' script: of 0, 1, 2, ... comes what other
// implementations with its constants give.
func TestThePermutationsAreThePublishedOnes(t *testing.T) {
	for width, first := range map[int]string{
		4:           "01bd538c2ee014ed5141b29e9ae240bf8db3fe5b9a38629a9647cf8d76c01737",
		8:           "1d1a50bcde871247856df135d56a4ca61af575f1140ed9b1503c77528cf345df",
		SpongeWidth: "0fc2e6b758f493969e1d860f9a44ee3bdffdf796f382aa4ffb16fa4e9bcc333f",
	} {
		state := make([]Element, width)
		for i := range state {
			state[i] = number(uint64(i))
		}
		if err := permutations[width].Permutation(state); err != nil {
			t.Fatal(err)
		}
		if got := ToID(state[0]).String(); got != first {
			t.Errorf("width %d: %s, want %s", width, got, first)
		}
	}
}

// Two uses of the hash must never be taken for each other.
func TestDomainsAreSeparate(t *testing.T) {
	seen := map[Element]Domain{}
	for _, d := range []Domain{DomainColumn, DomainDay, DomainData(1), DomainData(2), DomainData(MaxDays)} {
		if len(d) >= fr.Bytes {
			t.Errorf("domain %q does not fit an element", d)
		}
		for _, h := range []Element{Sponge(d, number(1), number(2)), Compress(d.Element(), number(1), number(2), number(3))} {
			if other, taken := seen[h]; taken {
				t.Errorf("%q hashes as %q", d, other)
			}
			seen[h] = d
		}
	}
}

// TestSpongeTakesEveryElement, whatever block it is in.
func TestSpongeTakesEveryElement(t *testing.T) {
	xs := make([]Element, 75)
	seen := map[Element]int{Sponge(DomainColumn, xs...): -1}
	for i := range xs {
		xs[i] = number(1)
		h := Sponge(DomainColumn, xs...)
		if other, taken := seen[h]; taken {
			t.Errorf("element %d counts as little as %d", i, other)
		}
		seen[h] = i
		xs[i] = Element{}
	}
}

func TestColumnBindsEverything(t *testing.T) {
	codes := make([]uint16, ReadingsPerDay)
	codes[7] = 5
	commit := func(slot int, day int64, salt uint64, codes []uint16) Element {
		e, err := Column(slot, day, number(salt), codes)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	empty := make([]uint16, ReadingsPerDay)
	seen := map[Element]string{}
	add := func(name string, e Element) {
		if other, taken := seen[e]; taken {
			t.Errorf("%s commits as %s", name, other)
		}
		seen[e] = name
	}
	for name, codes := range map[string][]uint16{"": codes, "empty, ": empty} {
		add(name+"as it is", commit(3, newYear, 9, codes))
		add(name+"another slot", commit(4, newYear, 9, codes))
		add(name+"another day", commit(3, newYear+1, 9, codes))
		add(name+"a day before 1970", commit(3, -newYear, 9, codes))
		add(name+"another salt", commit(3, newYear, 10, codes))
	}
	for minute := range ReadingsPerDay {
		codes[minute]++
		add("another reading", commit(3, newYear, 9, codes))
		codes[minute]--
		if minute == 20 { // every place within an element, and the next
			break
		}
	}
	codes[1439]++
	add("the last reading", commit(3, newYear, 9, codes))
}

func TestCommitmentsRefuse(t *testing.T) {
	codes := make([]uint16, ReadingsPerDay)
	for name, err := range map[string]error{
		"a slot below":        second(Column(-1, 0, Element{}, codes)),
		"a slot above":        second(Column(Slots, 0, Element{}, codes)),
		"a short column":      second(Column(0, 0, Element{}, codes[1:])),
		"no column":           second(Column(0, 0, Element{}, nil)),
		"a code too large":    second(Column(0, 0, Element{}, append(codes[1:], Codes))),
		"a day out of range":  second(Column(0, MaxDay+1, Element{}, codes)),
		"a root's day":        second(DayRoot(MinDay-1, Element{}, Element{})),
		"no roots":            second(DataDigest(nil)),
		"too many roots":      second(DataDigest(make([]record.ID, MaxDays+1))),
		"a root not in field": second(DataDigest([]record.ID{{0xff}})),
		"a path's slot":       second(NewTree([Slots]Element{}).Path(Slots)),
		"a root of zero":      CheckRoot(record.ID{}),
		"a root too large":    CheckRoot(record.ID{0xff}),
	} {
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestTreePathsLeadToTheRoot(t *testing.T) {
	var columns [Slots]Element
	for i := range columns {
		columns[i] = number(uint64(i + 100))
	}
	tree := NewTree(columns)
	for slot := range Slots {
		path, err := tree.Path(slot)
		if err != nil {
			t.Fatal(err)
		}
		node, at := columns[slot], slot
		for _, row := range path {
			if !row[at%Arity].IsZero() {
				t.Errorf("the path of slot %d holds the node itself", slot)
			}
			row[at%Arity] = node
			node, at = Compress(row[:]...), at/Arity
		}
		if node != tree.Root() {
			t.Errorf("the path of slot %d leads elsewhere", slot)
		}
	}
}

func TestDataDigestBindsOrderAndNumber(t *testing.T) {
	a, b := record.ID{31: 1}, record.ID{31: 2}
	seen := map[record.ID]bool{}
	for _, roots := range [][]record.ID{{a}, {b}, {a, b}, {b, a}, {a, a}, {a, b, a}, {a, record.ID{}}} {
		digest, err := DataDigest(roots)
		if err != nil {
			t.Fatal(err)
		}
		if seen[digest] {
			t.Errorf("%v has the digest of others", roots)
		}
		seen[digest] = true
	}
}

func TestElementsHaveOneForm(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var id record.ID
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(rt, "id"))
		id[0] &= 0x3f
		e, err := ToElement(id)
		if err == nil && ToID(e) != id {
			rt.Fatalf("%s reads as %s", id, ToID(e))
		}
	})
	var order record.ID
	fr.Modulus().FillBytes(order[:])
	if _, err := ToElement(order); err == nil {
		t.Error("the order of the field is an element")
	}
}

func TestBindingCoversEverything(t *testing.T) {
	seen := map[record.ID]bool{}
	for i, b := range []record.ID{
		Binding("c", "r", record.ID{1}, record.ID{2}, 3, record.ID{4}),
		Binding("d", "r", record.ID{1}, record.ID{2}, 3, record.ID{4}),
		Binding("c", "s", record.ID{1}, record.ID{2}, 3, record.ID{4}),
		Binding("c", "r", record.ID{2}, record.ID{2}, 3, record.ID{4}),
		Binding("c", "r", record.ID{1}, record.ID{3}, 3, record.ID{4}),
		Binding("c", "r", record.ID{1}, record.ID{2}, 4, record.ID{4}),
		Binding("c", "r", record.ID{1}, record.ID{2}, 3, record.ID{5}),
		Binding("c", "r", record.ID{2}, record.ID{1}, 3, record.ID{4}),
		Binding("cr", "", record.ID{1}, record.ID{2}, 3, record.ID{4}),
		Binding("c", "r", record.ID{1}, record.ID{2}, -3, record.ID{4}),
	} {
		if seen[b] {
			t.Errorf("binding %d is another's", i)
		}
		seen[b] = true
		if _, err := ToElement(b); err != nil || b[0] != 0 {
			t.Errorf("binding %d is not shifted into the field: %v", i, err)
		}
	}
}

// Commitments on ledgers outlive the code: these never change.
func TestVectors(t *testing.T) {
	codes := make([]uint16, ReadingsPerDay)
	for i := range codes {
		codes[i] = uint16(i%201 + 1)
	}
	column, err := Column(0, newYear, number(12345), codes)
	if err != nil {
		t.Fatal(err)
	}
	var columns [Slots]Element
	columns[0] = column
	empty := make([]uint16, ReadingsPerDay)
	for slot := 1; slot < Slots; slot++ {
		if columns[slot], err = Column(slot, newYear, number(uint64(slot)), empty); err != nil {
			t.Fatal(err)
		}
	}
	root, err := DayRoot(newYear, number(67890), NewTree(columns).Root())
	if err != nil {
		t.Fatal(err)
	}
	before, err := DayRoot(-1, number(1), number(2))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := DataDigest([]record.ID{ToID(root), ToID(before)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(map[string]record.ID{
		"column": ToID(column), "empty column": ToID(columns[1]), "day root": ToID(root),
		"day root before 1970": ToID(before), "data digest": digest,
		"binding": Binding("channel", "request", record.ID{1}, record.ID{2}, 3, record.ID{4}),
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const path = "testdata/vectors.json"
	if *update {
		if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(got)+"\n" {
		t.Errorf("commitments changed:\n%s\nwant\n%s", got, want)
	}
}
