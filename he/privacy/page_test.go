package privacy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// plausible is a pair as it may be in a ward: means and deviations in units of the
// resolutions, values a patient and hour.
type plausible struct {
	key          string
	meanX, meanY float64
	sdX, sdY, r  float64
	minutes      int64
	figure       func(PairRelease) Figure
	figureName   string
}

// TestPageShowsWhatNoiseLeaves: docs/design/privacy.md has the table that this
// test computes: intervals of 95 % for the noise of three pieces.
func TestPageShowsWhatNoiseLeaves(t *testing.T) {
	s := V2()
	slope := func(r PairRelease) Figure { return r.Slope }
	correlation := func(r PairRelease) Figure { return r.Correlation }
	pairs := []plausible{
		{"heart_rate*resp_rate", 75, 16, 12, 3.5, 0.3, 54, correlation, "correlation"},
		{"heart_rate*resp_rate", 75, 16, 12, 3.5, 0.3, 54, slope, "slope"},
		{"heart_rate*spo2", 75, 965, 12, 20, -0.2, 54, correlation, "correlation"},
		{"bp_systolic*bp_diastolic", 123, 75, 18, 11, 0.6, 2, correlation, "correlation"},
	}
	cohorts := []int64{200, 2000, 20_000, 100_000}
	const hours, rho = 24, 230_000
	var b strings.Builder
	b.WriteString("| patients |")
	for _, p := range pairs {
		fmt.Fprintf(&b, " %s of `%s` |", p.figureName, p.key)
	}
	b.WriteString(" mean heart rate of a ninth of them |\n|---|---|---|---|---|---|\n")
	for _, patients := range cohorts {
		fmt.Fprintf(&b, "| %d |", patients)
		for _, p := range pairs {
			q, _ := s.Question(p.key)
			plan, err := s.Plan(q.Slot, hours, rho)
			if err != nil {
				t.Fatal(err)
			}
			r, err := s.ReleasePair(q.Slot, p.totals(s, patients*hours*p.minutes), plan, 3)
			if err != nil {
				t.Fatal(err)
			}
			b.WriteString(" " + p.figure(r).Text() + " |")
		}
		slot := slotOf(t, "heart_rate@stratum")
		plan, err := s.Plan(slot, hours, rho)
		if err != nil {
			t.Fatal(err)
		}
		totals := make([]StratumTotals, len(s.Strata()))
		n := patients / 9 * hours * 54
		totals[0] = StratumTotals{n, -45 * n}
		r, err := s.ReleaseStrata(slot, totals, plan, 3)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(" " + r.Groups[0].Mean.Text() + " |\n")
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "design", "privacy.md"))
	if err != nil {
		t.Fatal(err)
	}
	table := strings.ReplaceAll(b.String(), TooNoisy, "too noisy")
	if !strings.Contains(string(page), table) {
		t.Errorf("docs/design/privacy.md does not show the table\n%s", table)
	}
}

// totals are the sums of n minutes with these moments.
func (p plausible) totals(s *Schema, n int64) PairTotals {
	q, _ := s.Question(p.key)
	b := s.bySlot[q.Slot]
	mx, my, f := p.meanX-float64(b.x.center), p.meanY-float64(b.y.center), float64(n)
	return PairTotals{PairStats{
		N: n, SumX: int64(f * mx), SumY: int64(f * my),
		SumSqX: int64(f * (mx*mx + p.sdX*p.sdX)), SumSqY: int64(f * (my*my + p.sdY*p.sdY)), SumXY: int64(f * (mx*my + p.r*p.sdX*p.sdY)),
	}}
}

// TestPageShowsWhatAMeanCosts: docs/design/privacy.md has the table of the loss at which
// every metric's mean is worth printing, and what an answer about many people is worth.
func TestPageShowsWhatAMeanCosts(t *testing.T) {
	s := V3().Day()
	cohorts := []int64{50, 200, 1000, 10_000}
	var b strings.Builder
	b.WriteString("| metric | half interval | 50 people | 200 | 1,000 | 10,000 |\n|---|---|---|---|---|---|\n")
	all := make([]uint64, len(cohorts))
	for slot := range s.Slots() {
		m, _ := s.metric(slot)
		fmt.Fprintf(&b, "| %s | %s %s |", m.Key, m.Value(m.person.Print), m.UCUM)
		for i, people := range cohorts {
			rho, err := s.RhoByNeed(slot, WantMean, people, 1, 0, 3)
			if err != nil {
				t.Fatal(err)
			}
			all[i] += rho
			fmt.Fprintf(&b, " %.4f |", float64(rho)/micro)
		}
		b.WriteByte('\n')
	}
	b.WriteString("| nine means: rho, epsilon | |")
	for _, rho := range all {
		fmt.Fprintf(&b, " %.4f, %.2f |", float64(rho)/micro, Epsilon(rho, 1e-6))
	}
	b.WriteByte('\n')
	for _, half := range []float64{0.5, 4} {
		rho, err := s.RhoByNeed(0, WantMean, 489, 1, half, 3)
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.Forecast(0, WantMean, 489, 1, rho, 3)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "\nHeart rate of 489 people to +-%g /min costs rho %.4f (epsilon %.2f) and is worth an exact\nanswer of %.0f of them.", half, float64(rho)/micro, Epsilon(rho, 1e-6), f.WorthOf)
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "design", "privacy.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), b.String()) {
		t.Errorf("docs/design/privacy.md does not show\n%s", b.String())
	}
}
