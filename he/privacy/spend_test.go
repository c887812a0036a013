package privacy

import (
	"testing"

	"pgregory.net/rapid"
)

// TestATotalIsSharedByNeed: never more than the total; what is enough for every mean, and
// histograms where something is left.
func TestATotalIsSharedByNeed(t *testing.T) {
	s := V3().Day()
	spend := func(people int64, days int64) ([]Spending, uint64) {
		var all []Spending
		for slot := range s.Slots() {
			all = append(all, Spending{Slot: slot, People: people})
		}
		if err := s.SpendByNeed(all, days, RhoFor(4, 1e-6), 3); err != nil {
			t.Fatal(err)
		}
		var sum uint64
		for _, a := range all {
			sum += a.RhoMicro
			f, err := s.Forecast(a.Slot, a.Want, people, days, a.RhoMicro, 3)
			if err != nil {
				t.Fatal(err)
			}
			if want := people >= 200; f.Usable != want {
				t.Errorf("%d people: %s is usable: %v, at rho %d", people, f.Metric, f.Usable, a.RhoMicro)
			}
		}
		return all, sum
	}
	total := RhoFor(4, 1e-6)
	for people, histograms := range map[int64]bool{50: false, 200: false, 5000: true} {
		all, sum := spend(people, 3)
		if sum > total {
			t.Errorf("%d people: %d of %d are spent", people, sum, total)
		}
		for _, a := range all {
			if got := a.Want.has(WantDistribution); got != histograms {
				t.Errorf("%d people: slot %d wants %s", people, a.Slot, a.Want)
			}
		}
	}
}

// TestSpendingStaysWithinTheTotal for any people and total, and every plan can be made.
func TestSpendingStaysWithinTheTotal(t *testing.T) {
	s := V3().Day()
	rapid.Check(t, func(t *rapid.T) {
		var all []Spending
		for slot := range s.Slots() {
			all = append(all, Spending{Slot: slot, People: rapid.Int64Range(0, 100_000).Draw(t, "people")})
		}
		days := rapid.Int64Range(1, 30).Draw(t, "days")
		total := rapid.Uint64Range(uint64(len(all))*fewest, 3_000_000).Draw(t, "total")
		if s.SpendByNeed(all, days, total, 3) != nil {
			return // of so few people no loss is enough
		}
		var sum uint64
		for _, a := range all {
			sum += a.RhoMicro
			if _, err := s.PlanDays(a.Slot, a.Want, days, a.RhoMicro); err != nil {
				t.Fatal(err)
			}
		}
		if slack := uint64(len(all)) * fewest; sum > total+slack {
			t.Fatalf("%d of %d are spent", sum, total)
		}
	})
	if s.SpendByNeed(make([]Spending, 3), 1, 299, 3) == nil {
		t.Error("less than the least is shared")
	}
}
