package consent

import (
	"testing"

	"pgregory.net/rapid"
)

// A search is no theory: an asker who goes by halves gets there with as many claims as
// are said, each of which is permitted, and never with fewer answers than values.
func TestASearchByHalvesTakesAsManyClaimsAsAreSaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		terms := Terms{Metric: "heart_rate", Days: 1, Limits: around(t, heartRate, 1, anyBounds(t, heartRate, 1))}
		d := changed(permit(), func(d *Document) { d.Predicates, d.Claims = []Terms{terms}, MaxClaims })
		if Validate(d) != nil {
			t.Skip("no consent")
		}
		for _, s := range terms.Searches() {
			secret := rapid.IntRange(0, len(s.Cuts)).Draw(t, "secret") // how many cuts it lies above
			lo, hi, asked := 0, len(s.Cuts), uint32(0)
			for lo < hi {
				middle := (lo + hi) / 2
				if got := Decide([]Document{d}, ask(s.Cuts[middle])); !got.Permit {
					t.Fatalf("%s: cut %d is refused: %v", s.About, middle, got.Reasons)
				}
				asked++
				if secret > middle {
					lo = middle + 1
				} else {
					hi = middle
				}
				if left := uint32(hi - lo + 1); left > s.Left(asked) {
					t.Fatalf("%s: %d values are left after %d claims, %d were said", s.About, left, asked, s.Left(asked))
				}
			}
			if lo != secret || asked > s.Questions() || s.Left(s.Questions()) != 1 {
				t.Fatalf("%s: %d found for %d with %d claims of %d", s.About, lo, secret, asked, s.Questions())
			}
		}
	})
}

func TestWhatAnswersCanTellIsBounded(t *testing.T) {
	listed := bounds()
	d := changed(permit(), func(d *Document) {
		d.Predicates, d.Claims = []Terms{{Metric: "heart_rate", Days: 1, Claim: &listed}}, 50
		d.DataFrom, d.DataUntil = 24*5, 24*8
	})
	if got := d.Bits(); got != 3 {
		t.Errorf("one claim about three days tells %d bits", got)
	}
	d.DataFrom++ // the first day is not whole
	if got := d.Bits(); got != 2 {
		t.Errorf("one claim about two days tells %d bits", got)
	}
	d.Predicates = append(d.Predicates, Terms{Metric: "heart_rate", Days: 1, Limits: limits()})
	if got := d.Bits(); got != 50 {
		t.Errorf("limits and 50 claims tell %d bits", got)
	}
	if found := (Terms{Metric: "heart_rate", Days: 1, Claim: &listed}).Searches(); found != nil {
		t.Errorf("one claim is searched by: %v", found)
	}
}

func TestWidthsAndCountsLimitWhatCanBeFound(t *testing.T) {
	questions := func(change func(l *Limits)) map[string]int {
		l := limits()
		change(l)
		found := map[string]int{}
		for _, s := range (Terms{Metric: "heart_rate", Days: 1, Limits: l}).Searches() {
			found[s.About] = len(s.Cuts) + 1
		}
		return found
	}
	open := questions(func(*Limits) {})
	if open["count"] != 1142 || open["range"] == 0 || open["mean"] != 0 {
		t.Errorf("%v", open)
	}
	wide := questions(func(l *Limits) { l.Range.Width = l.Range.Hi - l.Range.Lo })
	if wide["range"] != 0 || wide["count"] != open["count"] {
		t.Errorf("as wide as the range: %v", wide)
	}
	fixed := questions(func(l *Limits) { l.K, l.MinCount = Span{600, 600}, Span{600, 1440} })
	if fixed["count"] != 2 {
		t.Errorf("with one count: %v", fixed)
	}
	mean := questions(func(l *Limits) { l.Range, l.K.Least, l.Mean = nil, 0, &Interval{Lo: 41, Hi: 61, Width: 5} })
	if mean["mean"] != 21 || len(mean) != 1 {
		t.Errorf("a mean: %v", mean)
	}
}

// Every number that limits leave open is one that an asker can go by: a consent that fixes
// range and minutes within still says that those outside, and those measured, can be found.
func TestAttackASearchBesideThoseThatAreSaid(t *testing.T) {
	l := limits()
	l.Range.Width, l.K, l.Mean, l.Trend = l.Range.Hi-l.Range.Lo, Span{600, 600}, nil, nil
	l.OutMax, l.MinCount = Span{0, 700}, Span{600, 1000}
	found := map[string]int{}
	for _, s := range (Terms{Metric: "heart_rate", Days: 1, Limits: l}).Searches() {
		found[s.About] = len(s.Cuts) + 1
	}
	if found["outside"] != 702 || found["measured"] != 402 || found["range"] != 0 {
		t.Errorf("%v", found)
	}
}
