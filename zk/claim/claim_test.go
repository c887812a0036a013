package claim_test

import (
	"math/bits"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk"
	"github.com/vitalveil/vitalveil/zk/claim"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

const week = "on at least 6 of the 7 days from 2025-01-01, heart rate was between 50 and 90 /min in at least 400 of the 480 minutes 00:00-06:00 and 22:00-24:00 UTC of each day"

func language(t testing.TB, tag string) *claim.Language {
	l, err := claim.ByTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestASentenceIsReadAsItsBounds(t *testing.T) {
	c, err := claim.English.Parse(week)
	if err != nil {
		t.Fatal(err)
	}
	want := verifier.Unbounded()
	want.HourMask, want.Lo, want.Hi, want.K, want.MinCount, want.DayK = 0xc0003f, 31, 71, 400, 400, 6
	if c.Metric.Key != "heart_rate" || c.Days != 7 || c.FirstDay != 20089 || c.Anytime || c.Bounds != want {
		t.Errorf("read as %+v", c)
	}
}

// Each kind of bound, in each language.
func TestEveryKindOfBoundIsSaid(t *testing.T) {
	for _, say := range []struct{ en, de string }{
		{week, "an mindestens 6 der 7 Tage ab 2025-01-01 lag die Herzfrequenz in mindestens 400 der 480 Minuten 00:00-06:00 und 22:00-24:00 UTC jedes Tages zwischen 50 und 90 /min"},
		{
			"on 2025-01-01, oxygen saturation was below 92.5 or above 100 % in at most 30 of the 1440 minutes 00:00-24:00 UTC, with at least 600 measured",
			"am 2025-01-01 lag die Sauerstoffsättigung in höchstens 30 der 1440 Minuten 00:00-24:00 UTC unter 92,5 oder über 100 %, bei mindestens 600 gemessenen",
		},
		{
			"on a day, blood glucose was measured in at least 600 of the 1440 minutes 00:00-24:00 UTC; the mean over all the time was at most 140 mg/dL",
			"an einem Tag wurde der Blutzucker in mindestens 600 der 1440 Minuten 00:00-24:00 UTC gemessen; der Mittelwert über die ganze Zeit war höchstens 140 mg/dL",
		},
		{
			"on at least 1 of 7 days in a row, systolic blood pressure was between 100 and 140 mm[Hg] in at least 10 of the 720 minutes 06:00-18:00 UTC of each day, and outside of that in at most 2, with at least 12 measured; the mean over all the time was between 110 and 130 mm[Hg]; the mean of the second half of the time minus that of the first was between -5 and 5 mm[Hg]; each half has at least 30 minutes measured",
			"an mindestens 1 von 7 Tagen in Folge lag der systolische Blutdruck in mindestens 10 der 720 Minuten 06:00-18:00 UTC jedes Tages zwischen 100 und 140 mm[Hg], und in höchstens 2 außerhalb davon, bei mindestens 12 gemessenen; der Mittelwert über die ganze Zeit lag zwischen 110 und 130 mm[Hg]; der Mittelwert der zweiten Hälfte der Zeit abzüglich dessen der ersten lag zwischen -5 und 5 mm[Hg]; in jeder Hälfte sind mindestens 30 Minuten gemessen",
		},
		{
			"on 1969-12-31, body temperature was measured in at least 1 of the 1440 minutes 00:00-24:00 UTC; the mean over all the time was at least 36.5 Cel; the mean of the second half of the time minus that of the first was at most -0.3 Cel; each half has at least 1 minutes measured",
			"am 1969-12-31 wurde die Körpertemperatur in mindestens 1 der 1440 Minuten 00:00-24:00 UTC gemessen; der Mittelwert über die ganze Zeit war mindestens 36,5 Cel; der Mittelwert der zweiten Hälfte der Zeit abzüglich dessen der ersten war höchstens -0,3 Cel; in jeder Hälfte sind mindestens 1 Minuten gemessen",
		},
		{
			"on 2025-01-01, heart rate was measured in at least 9 of the 60 minutes 11:00-12:00 UTC; the mean over all the time was at least 60 /min",
			"am 2025-01-01 wurde die Herzfrequenz in mindestens 9 der 60 Minuten 11:00-12:00 UTC gemessen; der Mittelwert über die ganze Zeit war mindestens 60 /min",
		},
	} {
		en, err := claim.English.Parse(say.en)
		if err != nil {
			t.Errorf("%s: %v", say.en, err)
			continue
		}
		if got := en.Text(language(t, "de")); got != say.de {
			t.Errorf("got  %s\nwant %s", got, say.de)
		}
		de, err := language(t, "de").Parse(say.de)
		if err != nil || de.Bounds != en.Bounds || de.Text(claim.English) != say.en {
			t.Errorf("%s is read as %+v: %v", say.de, de, err)
		}
	}
}

func TestAClaimThatSaysNothingOrCannotHoldIsRefusedWithTheReason(t *testing.T) {
	for text, why := range map[string]string{
		"heart rate was fine":             "this is no claim; one is",
		strings.Repeat("on a day, ", 200): "at most 1024 bytes",
		"on 2025-01-01, heart rate was measured in at least 600 of the 1440 minutes 00:00-24:00 UTC":                                                                                                                                                                                "says nothing about the readings",
		"on 2025-01-01, heart rate was between 20 and 220 /min in at least 600 of the 1440 minutes 00:00-24:00 UTC":                                                                                                                                                                 "says nothing about the readings",
		"on 2025-01-01, heart rate was below 50 or above 90 /min in at most 1440 of the 1440 minutes 00:00-24:00 UTC, with at least 1 measured":                                                                                                                                     "says nothing about the readings",
		"on 2025-01-01, heart rate was measured in at least 600 of the 1440 minutes 00:00-24:00 UTC; the mean over all the time was at least 20 /min":                                                                                                                               "says nothing about the readings",
		"on 2025-01-01, heart rate was below 50 or above 90 /min in at most 3 of the 1440 minutes 00:00-24:00 UTC":                                                                                                                                                                  "would hold without data",
		"on 2025-01-01, heart rate was between 90 and 50 /min in at least 10 of the 1440 minutes 00:00-24:00 UTC":                                                                                                                                                                   "lo <= hi",
		"on 2025-01-01, heart rate was between 50 and 90 /min in at least 70 of the 60 minutes 11:00-12:00 UTC":                                                                                                                                                                     "have 60 minutes",
		"on 2025-01-01, heart rate was between 50 and 90 /min in at least 100 of the 120 minutes 11:00-13:00 UTC; the mean over all the time was at least 120 /min":                                                                                                                 "mean cannot be so high",
		"on 2025-01-01, heart rate was between 80 and 90 /min in at least 110 of the 120 minutes 11:00-13:00 UTC; the mean over all the time was at most 60 /min":                                                                                                                   "mean cannot be so low",
		"on 2025-01-01, heart rate was between 50 and 90 /min in at least 10 of the 120 minutes 11:00-13:00 UTC, and outside of that in at most 0; the mean of the second half of the time minus that of the first was at least 41 /min; each half has at least 5 minutes measured": "cannot differ so much",
		"on 2025-01-01, heart rate was between 50 and 90 /min in at least 10 of the 120 minutes 11:00-13:00 UTC; the mean of the second half of the time minus that of the first was at least 4 /min":                                                                               "half without data",
		"on 2025-01-01, heart rate was between 50 and 90 /min in at least 10 of the 120 minutes 13:00-11:00 UTC":                                                                                                                                                                    "no hours of a day",
		"on 2025-02-30, heart rate was between 50 and 90 /min in at least 10 of the 120 minutes 11:00-13:00 UTC":                                                                                                                                                                    "out of range",
		"on 2025-01-01, heart rate was between 50 and 90.5 /min in at least 10 of the 120 minutes 11:00-13:00 UTC":                                                                                                                                                                  "not a multiple of 1 /min",
		"on 2025-01-01, heart rate was between 50 and 500 /min in at least 10 of the 120 minutes 11:00-13:00 UTC":                                                                                                                                                                   "not between 20 and 220",
		"on 2025-01-01, heart rate was between 050 and 90 /min in at least 10 of the 120 minutes 11:00-13:00 UTC":                                                                                                                                                                   "leading zero",
		"on 2025-01-01, heart rate was between 50 and 90 /min in at least 010 of the 120 minutes 11:00-13:00 UTC":                                                                                                                                                                   "did you mean: \"on 2025-01-01",
		"on 2025-01-01, heart rate was between 50 and 90 beats in at least 10 of the 120 minutes 11:00-13:00 UTC":                                                                                                                                                                   "90 /min in at least 10",
		"on 2025-01-01, heart rate was between 50 and 90 /min in at least 10 of the 1440 minutes 11:00-13:00 UTC":                                                                                                                                                                   "of the 120 minutes",
		"on at least 8 of the 7 days from 2025-01-01, heart rate was between 50 and 90 /min in at least 10 of the 120 minutes 11:00-13:00 UTC of each day":                                                                                                                          "want 1 to 7",
	} {
		if c, err := claim.English.Parse(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s\nis read as %+v: %v, want a refusal that says %q", text, c, err, why)
		}
	}
}

// anyClaim draws claims, most of which Check takes.
func anyClaim(t *rapid.T) claim.Claim {
	c := claim.Claim{Metric: rapid.SampledFrom(wearable.Metrics()).Draw(t, "metric"), Days: rapid.SampledFrom([]int{1, 7}).Draw(t, "days"), Bounds: verifier.Unbounded()}
	c.FirstDay = rapid.Int64Range(verifier.MinDay, verifier.MaxDay-6).Draw(t, "first day")
	c.Anytime = rapid.Bool().Draw(t, "any time")
	if c.Anytime {
		c.FirstDay = 0
	}
	b, most := &c.Bounds, uint32(c.Metric.MaxCode())
	edge := func(lo, hi uint32) *rapid.Generator[uint32] {
		return rapid.OneOf(rapid.Just(lo), rapid.Just(hi), rapid.Uint32Range(lo, hi))
	}
	b.HourMask = rapid.OneOf(rapid.Just[uint32](verifier.AllHours), rapid.Uint32Range(1, verifier.AllHours)).Draw(t, "hours")
	minutes := 60 * uint32(bits.OnesCount32(b.HourMask))
	b.K, b.MinCount = edge(0, minutes).Draw(t, "k"), edge(0, minutes).Draw(t, "min_count")
	b.OutMax, b.DayK = edge(0, verifier.OutMaxOff).Draw(t, "out_max"), edge(1, uint32(c.Days)).Draw(t, "day_k")
	b.Lo = edge(1, most).Draw(t, "lo")
	b.Hi = edge(b.Lo, most).Draw(t, "hi")
	if rapid.Bool().Draw(t, "mean") {
		b.MeanLo = edge(0, most).Draw(t, "mean_lo")
		b.MeanHi = rapid.OneOf(edge(max(1, b.MeanLo), most), rapid.Just[uint32](verifier.MeanHiOff)).Draw(t, "mean_hi")
	}
	b.MinHalf = edge(0, minutes*uint32(c.Days)/2).Draw(t, "min_half")
	if low, high := verifier.TrendBias-(most-1), verifier.TrendBias+(most-1); rapid.Bool().Draw(t, "trend") {
		b.TrendLo = rapid.OneOf(rapid.Just[uint32](0), edge(low, high)).Draw(t, "trend_lo")
		b.TrendHi = rapid.OneOf(rapid.Just[uint32](verifier.TrendHiOff), edge(max(low, b.TrendLo), high)).Draw(t, "trend_hi")
	}
	return c
}

func TestBoundsHaveOneSentenceAndASentenceOneMeaning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyClaim(t)
		if c.Check() != nil {
			t.Skip("refused")
		}
		for _, l := range claim.Languages() {
			text := c.Text(l)
			back, err := l.Parse(text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			want := c
			want.Bounds = claim.Canonical(c.Metric, c.Bounds)
			if back.Text(l) != text || back.Bounds != want.Bounds || back.Days != c.Days || back.FirstDay != c.FirstDay || back.Anytime != c.Anytime || back.Metric.Key != c.Metric.Key {
				t.Fatalf("%s\nis read as %+v, said was %+v", text, back, want)
			}
		}
	})
}

// The canonical form holds for the same days, and what holds for some is no
// contradiction, nor true of every day with as many readings.
func TestTheCanonicalFormMeansTheSameAndNothingThatHoldsIsAContradiction(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyClaim(t)
		c.FirstDay, c.Anytime, c.Days = max(0, c.FirstDay), false, min(c.Days, 2)
		c.Bounds.DayK, c.Bounds.MinHalf = min(c.Bounds.DayK, uint32(c.Days)), min(c.Bounds.MinHalf, 720)
		if verifier.CheckBounds(c.Bounds, c.Days, c.Metric) != nil {
			t.Skip("malformed")
		}
		holds := func(b record.Bounds, days []*zk.Opening, digest record.ID) bool {
			ok, err := zk.Holds(verifier.Statement{DataDigest: digest, Binding: record.ID{1: 1}, Slot: c.Metric.Slot, FirstDay: c.FirstDay, Bounds: b}, days)
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		days, digest := someDays(t, c)
		held := holds(c.Bounds, days, digest)
		if held != holds(claim.Canonical(c.Metric, c.Bounds), days, digest) {
			t.Fatalf("%+v and its canonical form differ", c.Bounds)
		}
		if err := c.Check(); held && err != nil && !strings.Contains(err.Error(), "says nothing") {
			t.Fatalf("%+v holds, and is refused: %v", c.Bounds, err)
		}
	})
}

// someDays draws days that are near the claim: values at its edges and at the outermost.
func someDays(t *rapid.T, c claim.Claim) ([]*zk.Opening, record.ID) {
	most := uint32(c.Metric.MaxCode())
	codes := rapid.SampledFrom([]uint32{0, 1, c.Bounds.Lo, c.Bounds.Hi, most})
	var openings []*zk.Opening
	var roots []record.ID
	for d := range c.Days {
		column := make([]uint16, wearable.MinutesPerDay)
		a, b, mix := codes.Draw(t, "code"), codes.Draw(t, "code"), rapid.IntRange(1, 60).Draw(t, "mix")
		for i := range column {
			column[i] = uint16(a)
			if i%60 >= mix {
				column[i] = uint16(b)
			}
		}
		root, o, err := zk.Commit(c.FirstDay+int64(d), map[int][]uint16{c.Metric.Slot: column})
		if err != nil {
			t.Fatal(err)
		}
		openings, roots = append(openings, o), append(roots, root)
	}
	digest, err := verifier.DataDigest(roots)
	if err != nil {
		t.Fatal(err)
	}
	return openings, digest
}

func TestEveryLanguageSaysEverything(t *testing.T) {
	for _, l := range claim.Languages() {
		if found, err := claim.ByTag(l.Tag); err != nil || found != l || len(l.Point) != 1 {
			t.Errorf("%s: %v", l.Tag, err)
		}
		names := map[string]bool{}
		for _, m := range wearable.Metrics() {
			names[l.Metrics[m.Key]] = true
		}
		if names[""] || len(names) != len(wearable.Metrics()) || len(l.Metrics) != len(names) {
			t.Errorf("%s does not name each metric once", l.Tag)
		}
	}
	if _, err := claim.ByTag("xx"); err == nil || !strings.Contains(err.Error(), "en, de") {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(week)
	f.Add("am 2025-01-01 lag die Herzfrequenz in mindestens 10 der 1440 Minuten 00:00-24:00 UTC zwischen 50 und 90 /min")
	f.Add("on a day, blood glucose was measured in at least 600 of the 1440 minutes 00:00-24:00 UTC; the mean over all the time was at most 140 mg/dL")
	f.Fuzz(func(t *testing.T, text string) {
		for _, l := range claim.Languages() {
			c, err := l.Parse(text)
			if err != nil {
				continue
			}
			said := c.Text(l)
			if want := strings.TrimSuffix(strings.Join(strings.Fields(text), " "), "."); said != want {
				t.Fatalf("%q is said as %q", text, said)
			}
			if err := c.Check(); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
	})
}
