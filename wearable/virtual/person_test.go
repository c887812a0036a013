package virtual

import (
	"iter"
	"slices"
	"testing"

	"github.com/vitalveil/vitalveil/wearable"
)

const newYear2025 = 1735689600

func collect(seq iter.Seq[Sample]) map[string][]float64 {
	values := map[string][]float64{}
	for s := range seq {
		values[s.Metric] = append(values[s.Metric], s.Value.Float64())
	}
	return values
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

func TestTheSameSeedGivesTheSameSamples(t *testing.T) {
	a := slices.Collect(NewPerson(7).Samples(newYear2025, 5))
	b := slices.Collect(NewPerson(7).Samples(newYear2025, 5))
	if !slices.Equal(a, b) {
		t.Fatal("two runs of one seed differ")
	}
	if slices.Equal(a, slices.Collect(NewPerson(8).Samples(newYear2025, 5))) {
		t.Fatal("two seeds give the same person")
	}
}

func TestSamplesComeInOrderAndInRange(t *testing.T) {
	last := int64(newYear2025)
	for s := range NewPerson(3).Samples(newYear2025, 48) {
		m, ok := wearable.ByKey(s.Metric)
		if !ok || !m.InRange(s.Value) {
			t.Fatalf("sample out of the table: %+v", s)
		}
		if s.Time < last {
			t.Fatalf("time runs backwards: %d after %d", s.Time, last)
		}
		last = s.Time
	}
	if want := int64(newYear2025 + 48*3600 - 60); last < want-7200 || last > want {
		t.Fatalf("the last sample is at %d, expected up to %d", last, want)
	}
}

func TestAPopulationIsPlausible(t *testing.T) {
	plausible := map[string][2]float64{
		"heart_rate": {55, 105}, "pulse_rate": {55, 105}, "resp_rate": {10, 24}, "spo2": {93, 100}, "body_temp": {36, 37.7},
		"skin_temp": {29.5, 35.5}, "bp_systolic": {98, 160}, "bp_diastolic": {58, 100}, "glucose": {75, 170},
	}
	// Samples of a full day without any gap.
	full := map[string]int{
		"heart_rate": 1440, "pulse_rate": 1440, "resp_rate": 1440, "spo2": 1440, "body_temp": 288,
		"skin_temp": 288, "bp_systolic": 42, "bp_diastolic": 42, "glucose": 288,
	}
	lowest, highest := 1e9, 0.0
	coverage := 0.0
	const people = 40
	for seed := range uint64(people) {
		values := collect(NewPerson(seed).Samples(newYear2025, 24))
		for metric, limits := range plausible {
			got := mean(values[metric])
			if got < limits[0] || got > limits[1] {
				t.Errorf("person %d: mean %s is %.1f, expected within %v", seed, metric, got, limits)
			}
			if n := len(values[metric]); n > full[metric] {
				t.Errorf("person %d: %d samples of %s, at most %d expected", seed, n, metric, full[metric])
			}
		}
		rate := mean(values["heart_rate"])
		lowest, highest = min(lowest, rate), max(highest, rate)
		coverage += float64(len(values["heart_rate"])) / 1440 / people
	}
	if highest-lowest < 20 {
		t.Errorf("mean heart rates lie within %.0f..%.0f: too alike", lowest, highest)
	}
	if coverage < 0.8 || coverage > 0.98 {
		t.Errorf("coverage %.2f, expected about 0.9", coverage)
	}
	t.Logf("mean heart rates %.1f..%.1f, coverage %.2f", lowest, highest, coverage)
}

func TestNightsAreCalmerThanDays(t *testing.T) {
	night, day := 0.0, 0.0
	for seed := range uint64(20) {
		p := NewPerson(seed)
		night += mean(collect(p.Samples(newYear2025+3600, 4))["heart_rate"])
		day += mean(collect(p.Samples(newYear2025+14*3600, 4))["heart_rate"])
	}
	if day-night < 20*8 {
		t.Fatalf("mean over 20 people: night %.1f, day %.1f", night/20, day/20)
	}
}

func BenchmarkPerson(b *testing.B) {
	for b.Loop() {
		for range NewPerson(1).Samples(newYear2025, 24) {
		}
	}
}
