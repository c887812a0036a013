package he

import (
	"errors"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/wearable"
)

func pairParams(t testing.TB) *Params {
	t.Helper()
	sharing, err := NewSharing(3, 2)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(DefaultProfile(), privacy.V2(), sharing)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// extremeHour has every metric at the upper or the lower end of its range in
// every minute.
func extremeHour(high bool) privacy.Hour {
	h := privacy.Hour{Codes: map[int][]uint16{}, Stratum: 8}
	for _, m := range wearable.Vitals() {
		codes := make([]uint16, privacy.MinutesPerRow)
		for i := range codes {
			codes[i] = 1
			if high {
				codes[i] = m.MaxCode()
			}
		}
		h.Codes[m.Slot] = codes
	}
	return h
}

// TestSealedPairsOpenAtTheBounds: rows whose every value is at an end of its range
// open exactly, hundreds of them by default and 5,000 in the long form.
func TestSealedPairsOpenAtTheBounds(t *testing.T) {
	p := pairParams(t)
	devices := 25
	if os.Getenv("VITALVEIL_SOAK") != "" {
		devices = 250
	}
	const windows = 20
	for _, high := range []bool{true, false} {
		payloads, err := p.Schema().HourRow(extremeHour(high))
		if err != nil {
			t.Fatal(err)
		}
		var all []*testDevice
		var rows [][]byte
		var hours []Window
		for h := range int64(windows) {
			hours = append(hours, Window{Hour: 100 + h})
		}
		for range devices {
			d := newTestDevice(t, p, testContext)
			all = append(all, d)
			for _, w := range hours {
				rows = append(rows, d.seal(t, p, testContext, w, payloads))
			}
		}
		groups := groupsOf(t, p, all, hours...)
		for _, q := range p.Schema().Questions() {
			if q.Shape != privacy.ShapePair {
				continue
			}
			shares := map[int][]byte{}
			for piece := range groups {
				shares[piece] = shareOf(t, p, piece, q.Slot, groups[piece], int64(len(rows)), nil)
			}
			opened, err := p.Open(sumOf(t, p, q.Slot, rows), shares)
			if err != nil {
				t.Fatal(err)
			}
			for i, c := range p.Schema().MetricCoefficients(q.Slot) {
				want := new(big.Int).Mul(payloads[c].Big(), big.NewInt(int64(len(rows))))
				if opened[i].Cmp(privacy.Centre(want)) != 0 {
					t.Errorf("%s: coefficient %d of %d rows opens to %s, want %s", q.Key, c, len(rows), opened[i], want)
				}
			}
			x, _ := wearable.ByKey(q.Metrics[0])
			y, _ := wearable.ByKey(q.Metrics[1])
			vx, vy := x.MinUnits(), y.MinUnits()
			if high {
				vx, vy = x.MaxUnits(), y.MaxUnits()
			}
			r, err := p.Schema().Result(q.Slot, opened, nil, 3)
			if n := int64(len(rows)) * 60; err != nil || r.Pair.Sums.N != n || r.Pair.Sums.SumXY != n*vx*vy || r.Pair.Sums.SumSqX != n*vx*vx {
				t.Errorf("%s: released %+v (%v)", q.Key, r.Pair, err)
			}
		}
	}
}

// TestAttackForeignCoefficients: a share covers coefficients of the one question
// that was asked: none of another metric, pair or stratum's metric, and none that
// no question has.
func TestAttackForeignCoefficients(t *testing.T) {
	p := pairParams(t)
	s := p.Schema()
	for _, q := range s.Questions() {
		plan, err := s.Plan(q.Slot, 1, 500_000)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range s.Questions() {
			if other.Slot == q.Slot {
				continue
			}
			r := request(p, 0, q.Slot, 1, plan)
			r.Coeffs[len(r.Coeffs)-1] = s.MetricCoefficients(other.Slot)[0]
			slices.Sort(r.Coeffs)
			v := &KeyVector{context: testContext, kind: p.profile.Name, coeffs: r.Coeffs, residues: make([]uint64, 4*len(r.Coeffs))}
			if _, err := p.Share(testKeys[0], r, v); err == nil {
				t.Errorf("a share of %s covers a coefficient of %s", q.Key, other.Key)
			}
		}
	}
	for _, slot := range []int{9, 15, 21, 36, -1} {
		r := request(p, 0, slot, 1, nil)
		r.Coeffs = []int{s.ZeroCoefficient()}
		v := &KeyVector{context: testContext, kind: p.profile.Name, coeffs: r.Coeffs, residues: make([]uint64, 4)}
		if _, err := p.Share(testKeys[0], r, v); err == nil {
			t.Errorf("a share of slot %d, which the schema does not have", slot)
		}
	}
}

// TestAttackExactStrataShare: there is no share of a metric by stratum without
// noise, and none with the noise of the metric itself.
func TestAttackExactStrataShare(t *testing.T) {
	p := pairParams(t)
	q, ok := p.Schema().Question("heart_rate@stratum")
	if !ok {
		t.Fatal("no strata")
	}
	r := request(p, 0, q.Slot, 1, nil)
	v := &KeyVector{context: testContext, kind: p.profile.Name, coeffs: r.Coeffs, residues: make([]uint64, 4*len(r.Coeffs))}
	if _, err := p.Share(testKeys[0], r, v); !errors.Is(err, privacy.ErrNeedsNoise) {
		t.Errorf("an exact share: %v", err)
	}
	plan, err := p.Schema().Plan(0, 1, 500_000)
	if err != nil {
		t.Fatal(err)
	}
	r.Plan = plan
	if _, err := p.Share(testKeys[0], r, v); err == nil {
		t.Error("a share with the noise of another question")
	}
	if r.Plan, err = p.Schema().Plan(q.Slot, 1, 500_000); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Share(testKeys[0], r, v); err != nil {
		t.Errorf("a noisy share is refused: %v", err)
	}
}

// TestAttackRowOfAnotherSchema: a network's rows have one length; a row of the
// other schema is no row, and the same query on it draws other noise.
func TestAttackRowOfAnotherSchema(t *testing.T) {
	v1, v2 := defaultParams(t), pairParams(t)
	row1 := newTestDevice(t, v1, testContext).seal(t, v1, testContext, Window{Hour: 5}, smallRow(t, v1, 60, 100))
	row2 := newTestDevice(t, v2, testContext).seal(t, v2, testContext, Window{Hour: 5}, smallRow(t, v2, 60, 100))
	if v1.CheckRow(row1) != nil || v2.CheckRow(row2) != nil || v1.CheckRow(row2) == nil || v2.CheckRow(row1) == nil {
		t.Error("a row of one schema passes for one of the other")
	}
	var shares [2][]byte
	for i, p := range []*Params{v1, v2} {
		r := request(p, 0, 0, 1, nil)
		v := &KeyVector{context: testContext, kind: p.profile.Name, coeffs: r.Coeffs, residues: make([]uint64, 24)}
		var err error
		if shares[i], err = p.Share(testKeys[0], r, v); err != nil {
			t.Fatal(err)
		}
	}
	if slices.Equal(shares[0], shares[1]) {
		t.Error("the flood does not depend on the schema")
	}
}

// TestAttackRowsThatOverlap: a ring in which an hour has fewer coefficients to
// itself than a row has is refused. Its hours would share coefficients of one
// product, and two rows under these open their difference to everyone.
func TestAttackRowsThatOverlap(t *testing.T) {
	small := DefaultProfile()
	small.LogN = 11 // 85 coefficients an hour
	if err := small.wellFormed(privacy.V2()); err == nil || !strings.Contains(err.Error(), "94 coefficients") {
		t.Errorf("94 coefficients an hour in 2^11: %v", err)
	}
	for _, p := range Profiles() {
		if err := p.wellFormed(privacy.V2()); err != nil {
			t.Error(err)
		}
	}
}

// TestAttackTwoStrataInOneRow shows what is not promised: a device that fills two
// strata has a row like any other, which opens like any other. The charge then covers
// half of what its own patient loses; nobody else loses more.
func TestAttackTwoStrataInOneRow(t *testing.T) {
	p := pairParams(t)
	s := p.Schema()
	honest, err := s.HourRow(extremeHour(true))
	if err != nil {
		t.Fatal(err)
	}
	twice := slices.Clone(honest)
	q, _ := s.Question("heart_rate@stratum")
	other, err := s.EncodeStratum(q.Slot, 3, privacy.HourStats{N: 60, Sum: 6000, SumSq: 600_000})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range s.MetricCoefficients(q.Slot) {
		twice[c] = twice[c].Plus(other[i])
	}
	a, b := newTestDevice(t, p, testContext), newTestDevice(t, p, testContext)
	w := Window{Hour: 9}
	rows := [][]byte{a.seal(t, p, testContext, w, honest), b.seal(t, p, testContext, w, twice)}
	for _, row := range rows {
		if err := p.CheckRow(row); err != nil || len(row) != p.RowBytes() {
			t.Fatalf("a row of %d bytes is refused: %v", len(row), err)
		}
	}
	plan, err := s.Plan(q.Slot, 1, privacy.MaxRhoMicro)
	if err != nil {
		t.Fatal(err)
	}
	shares := map[int][]byte{}
	for piece, groups := range groupsOf(t, p, []*testDevice{a, b}, w) {
		shares[piece] = shareOf(t, p, piece, q.Slot, groups, 2, plan)
	}
	opened, err := p.Open(sumOf(t, p, q.Slot, rows), shares)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Result(q.Slot, opened, plan, 3); err != nil {
		t.Errorf("the sum does not open: %v", err)
	}
}

// TestBothSchemasAreSafeForTheSameSharings: what a row carries besides changes
// its length and nothing about its safety.
func TestBothSchemasAreSafeForTheSameSharings(t *testing.T) {
	first, second := Safety(privacy.V1()), Safety(privacy.V2())
	for i := range first {
		if len(first[i].Safe) != len(second[i].Safe) || len(first[i].Refused) != len(second[i].Refused) {
			t.Fatalf("%s is safe for %d sharings with one schema and %d with the other", first[i].Profile, len(first[i].Safe), len(second[i].Safe))
		}
		for j, a := range first[i].Safe {
			b := second[i].Safe[j]
			if !strings.HasSuffix(b.Schema, "v2") || b.RowBytes <= a.RowBytes || b.OpeningMarginBits != a.OpeningMarginBits || b.FieldMarginBits <= 0 {
				t.Errorf("%s, %d of %d: %+v, was %+v", a.Profile, a.Threshold, a.Members, b, a)
			}
		}
	}
}
