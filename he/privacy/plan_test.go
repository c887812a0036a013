package privacy

import (
	"io"
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestPlansChargeWhatTheyCost: the debit is the exact loss rounded up, within what
// was asked, and no noise is larger than the asked loss needs.
func TestPlansChargeWhatTheyCost(t *testing.T) {
	s := V2()
	rapid.Check(t, func(t *rapid.T) {
		slot := rapid.SampledFrom(s.Questions()).Draw(t, "question").Slot
		hours := rapid.Int64Range(1, MaxHours).Draw(t, "hours")
		rho := rapid.Uint64Range(100, MaxRhoMicro).Draw(t, "rho")
		p, err := s.Plan(slot, hours, rho)
		if err != nil {
			t.Fatal(err)
		}
		loss := 0.0
		for _, part := range p.Parts {
			delta, _ := part.Delta.Float64()
			variance, _ := part.Variance.Float64()
			loss += delta * delta / (2 * variance) * micro
		}
		if p.ChargeMicro > rho || math.Abs(float64(p.ChargeMicro)-loss) > 1.01 {
			t.Fatalf("asked %d, charged %d, lost %.3f micro-zCDP", rho, p.ChargeMicro, loss)
		}
		if hours > 24 && float64(p.ChargeMicro) < 0.999*float64(rho)-1 {
			t.Fatalf("asked %d, charged only %d: the noise is larger than needed", rho, p.ChargeMicro)
		}
		if err := s.CheckPlan(p); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSensitivityCoversAnyPatient: no patient changes a figure by more than the
// plan assumes, as the largest and the smallest hours show.
func TestSensitivityCoversAnyPatient(t *testing.T) {
	s := V1()
	const hours = 24
	for slot := range s.Slots() {
		m, err := s.metric(slot)
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Plan(slot, hours, 1_000_000)
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range []uint16{1, m.MaxCode()} {
			codes := make([]uint16, MinutesPerRow)
			for i := range codes {
				codes[i] = code
			}
			h, err := s.Stats(m.Metric, codes)
			if err != nil {
				t.Fatal(err)
			}
			square := int64(0)
			for _, b := range h.Buckets {
				square += b * b * hours * hours
			}
			for name, over := range map[string]bool{
				"n":         big.NewInt(h.N*hours).CmpAbs(p.Delta(KindN)) > 0,
				"sum":       big.NewInt(h.Sum*hours).CmpAbs(p.Delta(KindSum)) > 0,
				"sum_sq":    big.NewInt(h.SumSq*hours).CmpAbs(p.Delta(KindSumSq)) > 0,
				"histogram": big.NewInt(square).Cmp(new(big.Int).Mul(p.Delta(KindBucket), p.Delta(KindBucket))) > 0,
			} {
				if over {
					t.Errorf("slot %d: one patient changes %s by more than its sensitivity", slot, name)
				}
			}
		}
	}
}

// part is what a test changes.
func part(p *Plan, k Kind) *Part {
	for i := range p.Parts {
		if p.Parts[i].Kind == k {
			return &p.Parts[i]
		}
	}
	return nil
}

// TestAttackTamperedPlan: a plan that was changed after it was made is noticed.
func TestAttackTamperedPlan(t *testing.T) {
	s := V1()
	for name, change := range map[string]func(*Plan){
		"variance":       func(p *Plan) { p.Parts[0].Variance = new(big.Int).Sub(p.Parts[0].Variance, one) },
		"bucket noise":   func(p *Plan) { part(p, KindBucket).Variance = new(big.Int) },
		"charge":         func(p *Plan) { p.ChargeMicro-- },
		"hours":          func(p *Plan) { p.Hours++ },
		"sensitivity":    func(p *Plan) { part(p, KindSum).Delta = nil },
		"another metric": func(p *Plan) { p.Slot = 2 },
		"no parts":       func(p *Plan) { p.Parts = nil },
		"one part less":  func(p *Plan) { p.Parts = p.Parts[1:] },
		"no metric":      func(p *Plan) { p.Slot = 12 },
	} {
		p, err := s.Plan(0, 24, 660_000)
		if err != nil {
			t.Fatal(err)
		}
		change(p)
		if s.CheckPlan(p) == nil {
			t.Errorf("%s: the plan passes", name)
		}
	}
	if s.CheckPlan(nil) == nil {
		t.Error("no plan passes")
	}
}

// TestPlansOutOfRangeAreRefused covers the bounds of a query.
func TestPlansOutOfRangeAreRefused(t *testing.T) {
	for _, c := range []struct {
		slot  int
		hours int64
		rho   uint64
	}{{9, 1, 1000}, {-1, 1, 1000}, {0, 0, 1000}, {0, -5, 1000}, {0, MaxHours + 1, 1000}, {0, 1, 0}, {0, 1, 99}, {0, 1, MaxRhoMicro + 1}, {0, 1, math.MaxUint64}} {
		if _, err := V1().Plan(c.slot, c.hours, c.rho); err == nil {
			t.Errorf("%+v was planned", c)
		}
	}
}

// TestOverflowIsRefusedBeforehand: rows and noise that could leave a field are not
// safe; the largest planned deployment is.
func TestOverflowIsRefusedBeforehand(t *testing.T) {
	s := V1()
	if err := s.Safe(720_000_000, nil, 3); err != nil {
		t.Error(err)
	}
	plan, err := s.Plan(8, 720, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Safe(720_000_000, plan, 3); err != nil {
		t.Errorf("a million devices over 720 hours with strong noise: %v", err)
	}
	if err := s.Safe(1<<RowBits+1, nil, 3); err == nil {
		t.Error("too many rows are safe")
	}
	wild, err := s.Plan(0, MaxHours, 100)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Safe(1<<RowBits, wild, 64); err == nil || !strings.Contains(err.Error(), "fewer rows or more rho") {
		t.Errorf("a full field with wide noise: %v", err)
	}
	for _, bad := range []func() error{
		func() error { return s.Safe(0, nil, 3) },
		func() error { return s.Safe(1, nil, 0) },
		func() error { return s.Safe(1, &Plan{Slot: 99}, 3) },
	} {
		if bad() == nil {
			t.Error("nonsense is safe")
		}
	}
}

// TestNoiseGoesToItsFields: the noise of a field lands there and has a stream of
// its own, and only asked coefficients carry any.
func TestNoiseGoesToItsFields(t *testing.T) {
	s := V1()
	p, err := s.Plan(3, 24, 500_000)
	if err != nil {
		t.Fatal(err)
	}
	coeffs := s.MetricCoefficients(3)
	asked := map[string]bool{}
	draw := func(f Field) io.Reader { asked[f.Name] = true; return stream(f.Name) }
	packed, err := s.Noise(p, coeffs, draw)
	if err != nil {
		t.Fatal(err)
	}
	total := make([]*big.Int, len(packed))
	for i, x := range packed {
		total[i] = x.Big()
	}
	got, err := s.Decode(3, total)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range s.Fields(3) {
		want, err := SampleDiscreteGaussian(stream(f.Name), p.Variance(f.Kind))
		if err != nil {
			t.Fatal(err)
		}
		if got.value(f) != want.Int64() {
			t.Errorf("noise of %s is %d, want %s", f.Name, got.value(f), want)
		}
	}
	clear(asked)
	if some, err := s.Noise(p, coeffs[1:2], draw); err != nil || len(some) != 1 || len(asked) != 3 || some[0] != packed[1] {
		t.Errorf("one coefficient draws %v (%v)", asked, err)
	}
}
