package zk

import (
	"encoding/json"
	"testing"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr/poseidon2"
	"github.com/consensys/gnark/constraint"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"
	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// boundary is a statement at the edge of what holds. The verifier's Check, the
// native decision and the circuit must agree on it.
type boundary struct {
	name    string
	edit    func(*record.Bounds)
	columns [][]uint16
	holds   bool
}

// half a day each of two codes, 100 minutes in each half of the day.
func twoHalves(first, second int) []uint16 {
	return column([3]int{100, 200, first}, [3]int{800, 900, second})
}

func one(c []uint16) [][]uint16 { return [][]uint16{c} }

var boundaries = []boundary{
	{"K exactly reached", func(b *record.Bounds) { b.K = 6 }, one(column([3]int{0, 6, 50})), true},
	{"K one short", func(b *record.Bounds) { b.K = 7 }, one(column([3]int{0, 6, 50})), false},
	{"Lo itself is in range", func(b *record.Bounds) { b.K = 1 }, one(column([3]int{0, 1, 31})), true},
	{"below Lo is not", func(b *record.Bounds) { b.K = 1 }, one(column([3]int{0, 1, 30})), false},
	{"Hi itself is in range", func(b *record.Bounds) { b.K = 1 }, one(column([3]int{0, 1, 71})), true},
	{"above Hi is not", func(b *record.Bounds) { b.K = 1 }, one(column([3]int{0, 1, 72})), false},
	{
		"missing is not in a range from the first code", func(b *record.Bounds) { b.Lo, b.K, b.MinCount = 1, 7, 0 },
		one(column([3]int{0, 6, 1})), false,
	},
	{
		"all day in range", func(b *record.Bounds) { b.K, b.OutMax, b.MinCount = 1440, 0, 1440 },
		one(column([3]int{0, 1440, 71})), true,
	},
	{"OutMax exactly", func(b *record.Bounds) { b.OutMax = 3 }, one(column([3]int{0, 3, 72}, [3]int{5, 6, 40})), true},
	{"OutMax one more", func(b *record.Bounds) { b.OutMax = 2 }, one(column([3]int{0, 3, 72}, [3]int{5, 6, 40})), false},
	{"outside below the range counts too", func(b *record.Bounds) { b.OutMax = 0 }, one(column([3]int{0, 1, 1})), false},
	{"missing is not outside", func(b *record.Bounds) { b.OutMax, b.MinCount = 0, 2 }, one(column([3]int{0, 2, 50})), true},
	{"MinCount exactly", func(b *record.Bounds) { b.MinCount = 60 }, one(column([3]int{0, 60, 200})), true},
	{"MinCount one short", func(b *record.Bounds) { b.MinCount = 61 }, one(column([3]int{0, 60, 200})), false},
	{"an empty day fails", func(*record.Bounds) {}, one(column()), false},
	{"hour 23 counts", func(b *record.Bounds) { b.HourMask, b.K = 1<<23, 60 }, one(column([3]int{1380, 1440, 40})), true},
	{
		"the minute before the hour does not", func(b *record.Bounds) { b.HourMask, b.K = 1<<23, 60 },
		one(column([3]int{1379, 1439, 40})), false,
	},
	{"nor the minute after it", func(b *record.Bounds) { b.HourMask, b.MinCount = 1<<0, 1 }, one(column([3]int{60, 61, 40})), false},
	{
		"outside the mask nothing is outside", func(b *record.Bounds) { b.HourMask, b.OutMax = 1<<0, 0 },
		one(column([3]int{0, 1, 40}, [3]int{60, 1440, 200})), true,
	},
	{"mean exactly at both bounds", func(b *record.Bounds) { b.MeanLo, b.MeanHi = 50, 50 }, one(twoHalves(40, 60)), true},
	{
		"mean a fraction below", func(b *record.Bounds) { b.MeanLo = 50 },
		one(column([3]int{0, 100, 50}, [3]int{100, 101, 49})), false,
	},
	{
		"mean a fraction above", func(b *record.Bounds) { b.MeanHi = 50 },
		one(column([3]int{0, 100, 50}, [3]int{100, 101, 51})), false,
	},
	{"trend exactly at both bounds", trend(20, 20, 100), one(twoHalves(40, 60)), true},
	{"trend below", trend(21, 30, 100), one(twoHalves(40, 60)), false},
	{"trend above", trend(0, 19, 100), one(twoHalves(40, 60)), false},
	{"falling trend", trend(-20, -20, 100), one(twoHalves(60, 40)), true},
	{"trend a fraction above", trend(0, 0, 1), one(column([3]int{0, 10, 50}, [3]int{720, 729, 50}, [3]int{729, 730, 51})), false},
	{
		"MinHalf one short in the second", trend(-100, 100, 101),
		one(column([3]int{0, 101, 50}, [3]int{720, 820, 50})), false,
	},
	{
		"MinHalf one short in the first", trend(-100, 100, 101),
		one(column([3]int{0, 100, 50}, [3]int{720, 821, 50})), false,
	},
	{"MinHalf without a trend", func(b *record.Bounds) { b.MinHalf = 1 }, one(column([3]int{0, 1440, 50})), true},
	{"a half without data", trend(-100, 100, 1), one(column([3]int{0, 720, 50})), false},
	{"a half without data, no trend", func(b *record.Bounds) { b.MinHalf = 1 }, one(column([3]int{0, 720, 50})), false},
}

func trend(lo, hi int, minHalf uint32) func(*record.Bounds) {
	return func(b *record.Bounds) {
		b.TrendLo, b.TrendHi = uint32(verifier.TrendBias+lo), uint32(verifier.TrendBias+hi)
		b.MinHalf = minHalf
	}
}

// week is seven columns, of which the numbered ones are given.
func week(days map[int][]uint16) [][]uint16 {
	columns := make([][]uint16, 7)
	for d := range columns {
		columns[d] = column()
		if c, ok := days[d]; ok {
			columns[d] = c
		}
	}
	return columns
}

func good() []uint16 { return column([3]int{0, 60, 50}) }

var weekBoundaries = []boundary{
	{
		"DayK exactly reached, the other days empty", func(b *record.Bounds) { b.DayK, b.K = 2, 60 },
		week(map[int][]uint16{1: good(), 5: good()}), true,
	},
	{
		"DayK one short", func(b *record.Bounds) { b.DayK, b.K = 3, 60 },
		week(map[int][]uint16{1: good(), 5: good()}), false,
	},
	{
		"a day passes whole or not at all", func(b *record.Bounds) { b.DayK, b.K, b.OutMax = 1, 60, 0 },
		week(map[int][]uint16{0: column([3]int{0, 59, 50}), 1: column([3]int{0, 60, 50}, [3]int{60, 61, 200})}), false,
	},
	{
		"all days", func(b *record.Bounds) { b.DayK, b.K = 7, 60 },
		[][]uint16{good(), good(), good(), good(), good(), good(), good()},
		true,
	},
	{
		"the mean is over all days, not those that pass", func(b *record.Bounds) { b.K, b.MeanHi = 60, 50 },
		week(map[int][]uint16{0: good(), 3: column([3]int{0, 1, 90})}), false,
	},
	{
		"halves meet at noon of the fourth day", trend(10, 10, 60),
		week(map[int][]uint16{3: column([3]int{660, 720, 40}, [3]int{720, 780, 50})}), true,
	},
	{
		"a half of the week without data", trend(-200, 200, 1),
		week(map[int][]uint16{0: good(), 3: column([3]int{0, 720, 50})}), false,
	},
	{"all readings at the largest code", func(b *record.Bounds) {
		b.Lo, b.Hi, b.K, b.DayK, b.MinCount, b.MeanLo, b.MeanHi = 201, 201, 1440, 7, 1440, 201, 201
		b.TrendLo, b.TrendHi, b.MinHalf = verifier.TrendBias, verifier.TrendBias, 5040
	}, [][]uint16{full(201), full(201), full(201), full(201), full(201), full(201), full(201)}, true},
}

func full(code int) []uint16 { return column([3]int{0, 1440, code}) }

func TestBoundaries(t *testing.T)     { testBoundaries(t, boundaries) }
func TestWeekBoundaries(t *testing.T) { system(t, 7); testBoundaries(t, weekBoundaries) }

func testBoundaries(t *testing.T, cases []boundary) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, openings := about(t, heartRate, bounds(c.edit), c.columns...)
			holds, err := Holds(s, openings)
			if err != nil {
				t.Fatal(err)
			}
			if holds != c.holds {
				t.Errorf("natively it holds: %v, want %v", holds, c.holds)
			}
			if got := accepts(t, s, openings); got != c.holds {
				t.Errorf("the circuit accepts: %v, want %v", got, c.holds)
			}
		})
	}
}

// near draws a bound at or next to an actual figure, within limits.
func near(t *rapid.T, label string, figure, low, high int64) uint32 {
	return uint32(max(low, min(high, figure+rapid.Int64Range(-1, 1).Draw(t, label))))
}

// drawColumn draws a few runs of codes around the range 31..71.
func drawColumn(t *rapid.T) []uint16 {
	codes := make([]uint16, wearable.MinutesPerDay)
	for range rapid.IntRange(0, 6).Draw(t, "runs") {
		from := rapid.IntRange(0, len(codes)-1).Draw(t, "from")
		until := min(len(codes), from+rapid.IntRange(1, 400).Draw(t, "length"))
		code := rapid.SampledFrom([]uint16{0, 1, 30, 31, 32, 50, 70, 71, 72, 201}).Draw(t, "code")
		for i := from; i < until; i++ {
			codes[i] = code
		}
	}
	return codes
}

// drawStatement draws bounds close to what the columns bear out, so that each
// part fails and holds often.
func drawStatement(t *rapid.T, columns [][]uint16) record.Bounds {
	b := bounds(func(*record.Bounds) {})
	b.HourMask = rapid.SampledFrom([]uint32{verifier.AllHours, 1<<12 - 1, 0xf0f0f0, 1}).Draw(t, "hours")
	var day, all tally
	for d, codes := range columns {
		for i, code := range codes {
			if b.HourMask>>(i/minutesPerHour)&1 == 1 {
				all.add(code, b.Lo, b.Hi)
				if d == 0 {
					day.add(code, b.Lo, b.Hi)
				}
			}
		}
	}
	b.K = near(t, "k", day.inRange, 0, 1440)
	b.OutMax = near(t, "out", day.present-day.inRange, 0, 1440)
	b.MinCount = near(t, "count", day.present, 1, 1440)
	b.DayK = uint32(rapid.IntRange(1, len(columns)).Draw(t, "days"))
	if all.present > 0 && rapid.Bool().Draw(t, "bound the mean") {
		b.MeanLo = near(t, "mean lo", all.sum/all.present, 1, 201)
		b.MeanHi = near(t, "mean hi", all.sum/all.present+1, int64(b.MeanLo), 201)
	}
	if rapid.Bool().Draw(t, "bound the trend") {
		b.TrendLo = verifier.TrendBias + uint32(rapid.IntRange(0, 40).Draw(t, "trend lo")) - 20
		b.TrendHi = b.TrendLo + uint32(rapid.IntRange(0, 100).Draw(t, "trend"))
		b.MinHalf = uint32(rapid.IntRange(0, 60).Draw(t, "half"))
	}
	return b
}

// The circuit and the native decision agree wherever both are defined, also on
// statements that Check would refuse. Ten thousand cases: -rapid.checks 10000.
func TestCircuitAgreesWithNativeDecision(t *testing.T) {
	agree(t, 1)
}

func TestWeekCircuitAgreesWithNativeDecision(t *testing.T) {
	system(t, 7)
	agree(t, 7)
}

func agree(t *testing.T, days int) {
	outcomes := map[bool]int{}
	rapid.Check(t, func(rt *rapid.T) { outcomes[agreesOnce(t, rt, days)]++ })
	if outcomes[true] == 0 || outcomes[false] == 0 {
		t.Errorf("the cases were one-sided: %v", outcomes)
	}
}

// agreesOnce draws a case and returns whether its statement holds.
func agreesOnce(t testing.TB, rt *rapid.T, days int) bool {
	var columns [][]uint16
	for range days {
		columns = append(columns, drawColumn(rt))
	}
	slot := rapid.SampledFrom([]int{heartRate, spo2, glucose}).Draw(rt, "slot")
	s, openings := about(t, slot, drawStatement(rt, columns), columns...)
	failed := failedParts(s, columns)
	if got := accepts(t, s, openings); got != (len(failed) == 0) {
		rt.Fatalf("the circuit accepts: %v, natively these parts fail: %v", got, failed)
	}
	return len(failed) == 0
}

func FuzzCircuitAgreesWithNativeDecision(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(rt *rapid.T) { agreesOnce(f, rt, 1) }))
}

// The circuit's public inputs are the verifier's, in its order.
func TestPublicInputsAreThoseOfTheStatement(t *testing.T) {
	s, openings := about(t, spo2, bounds(func(b *record.Bounds) {
		b.HourMask, b.K, b.OutMax, b.MinCount, b.MeanLo, b.MeanHi = 7, 2, 3, 4, 5, 6
		trend(-7, 8, 9)(b)
	}), column())
	w, err := newWitness(s, openings)
	if err != nil {
		t.Fatal(err)
	}
	public, err := w.Public()
	if err != nil {
		t.Fatal(err)
	}
	want, err := s.Inputs()
	if err != nil {
		t.Fatal(err)
	}
	got := public.Vector().(fr.Vector)
	if len(got) != len(want) || len(got) != verifier.PublicInputs {
		t.Fatalf("%d public inputs, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("public input %d is %s, want %s", i, got[i].String(), want[i].String())
		}
	}
}

// Growth of a circuit or of its proofs is a decision, not an accident.
func TestCircuitSizesArePinned(t *testing.T) {
	var pinned []sizes
	if err := json.Unmarshal(pinnedSizes, &pinned); err != nil {
		t.Fatal(err)
	}
	var got []sizes
	for i, c := range verifier.Classes() {
		system := system(t, c.Days)
		digest, err := systemDigest(system)
		if err != nil {
			t.Fatal(err)
		}
		s := sizes{c.Name, system.GetNbConstraints(), digest, verifier.ProofBytes, 0, 0}
		if c.Days == 1 || soak {
			k := keysOf(t, c.Name)
			s.ProvingKeyBytes, s.VerifyingKeyBytes = k.provingKeyBytes, len(k.VerifyingKey)
		} else if i < len(pinned) {
			s.ProvingKeyBytes, s.VerifyingKeyBytes = pinned[i].ProvingKeyBytes, pinned[i].VerifyingKeyBytes
		}
		got = append(got, s)
	}
	text, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/circuits.golden.json", append(text, '\n'))
}

// permutation compares the permutation in a circuit with package verifier's.
type permutation struct{ In, Out []frontend.Variable }

func (c *permutation) Define(api frontend.API) error {
	state := append([]frontend.Variable(nil), c.In...)
	permute(api, state)
	for i := range state {
		api.AssertIsEqual(state[i], c.Out[i])
	}
	return nil
}

func TestThePermutationIsThatOfCommitments(t *testing.T) {
	for _, width := range []int{4, 8, verifier.SpongeWidth} {
		c := &permutation{make([]frontend.Variable, width), make([]frontend.Variable, width)}
		w := &permutation{make([]frontend.Variable, width), make([]frontend.Variable, width)}
		state := make([]fr.Element, width)
		for i := range state {
			state[i].SetUint64(uint64(i*i + 7))
			w.In[i] = state[i]
		}
		full, partial := verifier.Rounds(width)
		if err := poseidon2.NewPermutation(width, full, partial).Permutation(state); err != nil {
			t.Fatal(err)
		}
		for i := range state {
			w.Out[i] = state[i]
		}
		system, err := frontend.Compile(ecc.BN254.ScalarField(), r1cs.NewBuilder[constraint.U64], c)
		if err != nil {
			t.Fatal(err)
		}
		witness, err := frontend.NewWitness(w, ecc.BN254.ScalarField())
		if err != nil {
			t.Fatal(err)
		}
		if err := system.IsSolved(witness); err != nil {
			t.Errorf("width %d: another permutation", width)
		}
	}
}
