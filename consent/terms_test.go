package consent

import (
	"math/bits"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/claim"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

var heartRate, _ = wearable.ByKey("heart_rate")

func ask(b record.Bounds) Request {
	return with(predicate(), func(r *Request) { r.Claim.Bounds = b })
}

func TestLimitsBoundEveryParameterOfAClaim(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*record.Bounds)
		want   string // empty: permitted
	}{
		"the claim":            {func(*record.Bounds) {}, ""},
		"six hours":            {func(b *record.Bounds) { b.HourMask = 0b111111 << 9 }, ""},
		"five hours":           {func(b *record.Bounds) { b.HourMask = 0b11111 << 9 }, "5 hours"},
		"a bound too low":      {func(b *record.Bounds) { b.Lo = 30 }, "within [31, 71]"},
		"a bound too high":     {func(b *record.Bounds) { b.Hi = 72 }, "within [31, 71]"},
		"too narrow":           {func(b *record.Bounds) { b.Lo = 51 }, "at least 10 apart"},
		"reversed":             {func(b *record.Bounds) { b.Lo, b.Hi = b.Hi, b.Lo }, "lo <= hi"},
		"one minute":           {func(b *record.Bounds) { b.K = 1 }, "k is 1"},
		"nearly every minute":  {func(b *record.Bounds) { b.K = 1201 }, "k is 1201"},
		"as many as in range":  {func(b *record.Bounds) { b.MinCount = 0 }, ""},
		"nothing outside":      {func(b *record.Bounds) { b.OutMax = 0 }, "out_max is 0"},
		"a mean beside":        {func(b *record.Bounds) { b.MeanLo = 41 }, "mean"},
		"a trend beside":       {func(b *record.Bounds) { b.TrendLo, b.MinHalf = verifier.TrendBias, 1 }, "min_half"},
		"a half":               {func(b *record.Bounds) { b.MinHalf = 1 }, "min_half is 1"},
		"only that it is worn": {func(b *record.Bounds) { b.K, b.Lo, b.Hi = 0, 1, 201 }, "says nothing"},
	} {
		d := Decide([]Document{permit()}, ask(bounds(c.change)))
		if d.Permit != (c.want == "") || !strings.Contains(strings.Join(d.Reasons, "; "), c.want) {
			t.Errorf("%s: %+v, want %q", name, d, c.want)
		}
	}
}

func TestMeanAndTrendAreClaimedWithinTheirLimitsOnly(t *testing.T) {
	d := permit()
	l := limits()
	l.Range, l.K.Least = nil, 0
	l.Mean, l.Trend, l.MinHalf = &Interval{Lo: 31, Hi: 201, Width: 20}, &Interval{Lo: verifier.TrendBias - 20, Hi: verifier.TrendBias + 20, Width: 5}, Span{0, 720}
	d.Predicates = []Terms{{Metric: "heart_rate", Days: 1, Limits: l}}
	mean := func(lo, hi uint32) record.Bounds {
		return bounds(func(b *record.Bounds) { b.Lo, b.Hi, b.MeanLo, b.MeanHi = 1, 201, lo, hi })
	}
	trend := func(lo, hi uint32) record.Bounds {
		return bounds(func(b *record.Bounds) {
			b.Lo, b.Hi, b.MinHalf, b.TrendLo, b.TrendHi = 1, 201, 60, verifier.TrendBias+lo-30, verifier.TrendBias+hi-30
		})
	}
	for name, c := range map[string]struct {
		b      record.Bounds
		permit bool
	}{
		"a mean":                   {mean(40, 60), true},
		"a mean from below":        {mean(40, verifier.MeanHiOff), true},
		"a mean up to, unlimited":  {mean(verifier.MeanLoOff, 60), false},
		"a mean that is too exact": {mean(40, 59), false},
		"a mean too low":           {mean(30, 80), false},
		"a trend":                  {trend(20, 40), true},
		"a trend too exact":        {trend(30, 34), false},
		"a trend too steep":        {trend(9, 40), false},
		"a mean of nothing":        {mean(1, 201), false},
		"a range beside":           {bounds(func(b *record.Bounds) { b.MeanLo, b.MeanHi = 40, 60 }), false},
	} {
		if got := Decide([]Document{d}, ask(c.b)); got.Permit != c.permit {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestAClaimThatIsListedIsThatClaimOnly(t *testing.T) {
	listed := bounds()
	d := changed(permit(), func(d *Document) { d.Predicates = []Terms{{Metric: "heart_rate", Days: 1, Claim: &listed}} })
	if got := Decide([]Document{d}, ask(bounds())); !got.Permit {
		t.Errorf("the claim listed: %+v", got)
	}
	b := bounds()
	for _, n := range []*uint32{&b.HourMask, &b.Lo, &b.Hi, &b.K, &b.OutMax} {
		*n--
		if got := Decide([]Document{d}, ask(b)); got.Permit {
			t.Errorf("a claim that is not listed is permitted: %+v", b)
		}
		*n++
	}
}

// Many questions about one hour find what nobody agreed to be asked: with a lower
// and an upper bound alone its highest minute falls in eight.
func TestAttackOneHourIsSearchedByHalves(t *testing.T) {
	d := changed(permit(), func(d *Document) { d.Claims = MaxClaims })
	permitted := 0
	const highest = 57 // code of the hour's highest minute
	for lo, hi := uint32(31), uint32(71); lo < hi; {
		middle := (lo + hi) / 2
		b := bounds(func(b *record.Bounds) {
			b.HourMask, b.Lo, b.Hi, b.K, b.OutMax, b.MinCount = 1<<3, 31, middle, 0, 0, 1
		})
		if err := claim.Check(heartRate, 1, b); err != nil {
			t.Fatal(err) // it is a claim that somebody could allow
		}
		if Decide([]Document{d}, ask(b)).Permit {
			permitted++
		}
		if highest <= middle {
			hi = middle
		} else {
			lo = middle + 1
		}
	}
	if permitted > 0 {
		t.Errorf("%d of the questions are allowed by limits that do not reach there", permitted)
	}
}

func TestClaimsThatSayNothingAreRefused(t *testing.T) {
	most := uint32(heartRate.MaxCode())
	for name, change := range map[string]func(*record.Bounds){
		"every reading possible":   func(b *record.Bounds) { b.Lo, b.Hi = 1, most },
		"presence beside a range":  func(b *record.Bounds) { b.K = 0 },
		"a mean that every has":    func(b *record.Bounds) { b.Lo, b.Hi, b.MeanLo, b.MeanHi = 1, most, 1, most },
		"a trend that every has":   func(b *record.Bounds) { b.K, b.MinHalf, b.TrendLo = 0, 1, verifier.TrendBias-most+1 },
		"without data":             func(b *record.Bounds) { b.K, b.MinCount = 0, 0 },
		"as many outside as there": func(b *record.Bounds) { b.K, b.HourMask, b.OutMax = 0, 0b11, 120 },
	} {
		if err := claim.Check(heartRate, 1, bounds(change)); err == nil {
			t.Errorf("%s: it is a claim", name)
		}
	}
	if err := claim.Check(heartRate, 1, bounds(func(b *record.Bounds) { b.K, b.HourMask, b.OutMax = 0, 0b11, 119 })); err != nil {
		t.Error(err)
	}
}

// anyBounds draws a claim that claim.Check takes, in its canonical form.
func anyBounds(t *rapid.T, m wearable.Metric, days int) record.Bounds {
	most := uint32(m.MaxCode())
	pair := func(label string, lo, hi uint32) (uint32, uint32) {
		a := rapid.Uint32Range(lo, hi).Draw(t, label)
		return a, rapid.Uint32Range(a, hi).Draw(t, label+" to")
	}
	b := verifier.Unbounded()
	b.HourMask = rapid.SampledFrom([]uint32{verifier.AllHours, 1 << 3, 0b111111 << 8, 0x5555}).Draw(t, "hours")
	minutes := claim.Minutes(b.HourMask)
	b.K, b.MinCount = rapid.Uint32Range(1, minutes).Draw(t, "k"), rapid.Uint32Range(1, minutes).Draw(t, "min_count")
	b.OutMax = rapid.Uint32Range(0, verifier.OutMaxOff).Draw(t, "out_max")
	b.DayK = rapid.Uint32Range(1, uint32(days)).Draw(t, "day_k")
	b.Lo, b.Hi = pair("range", 2, most)
	if rapid.Bool().Draw(t, "with a mean") {
		b.MeanLo, b.MeanHi = pair("mean", 1, most)
	}
	if rapid.Bool().Draw(t, "with a trend") && b.HourMask == verifier.AllHours {
		b.TrendLo, b.TrendHi = pair("trend", verifier.TrendBias-most+1, verifier.TrendBias+most-1)
		b.MinHalf = rapid.Uint32Range(1, 720).Draw(t, "min_half")
	}
	if rapid.Bool().Draw(t, "one-sided") {
		b.MeanLo, b.TrendHi = verifier.MeanLoOff, verifier.TrendHiOff
	}
	if claim.Check(m, days, b) != nil {
		t.Skip("a contradiction")
	}
	return claim.Canonical(m, b)
}

// around draws limits that a claim lies within.
func around(t *rapid.T, m wearable.Metric, days uint32, b record.Bounds) *Limits {
	l := &Limits{Hours: rapid.Uint32Range(1, uint32(bits.OnesCount32(b.HourMask))).Draw(t, "least hours")}
	about := func(label string, n, least, most uint32) Span {
		return Span{rapid.Uint32Range(least, n).Draw(t, label+" least"), rapid.Uint32Range(n, most).Draw(t, label+" most")}
	}
	l.K, l.MinCount = about("k", b.K, 1, 1440), about("min_count", b.MinCount, 0, 1440)
	l.OutMax, l.DayK = about("out_max", b.OutMax, 0, 1440), about("day_k", b.DayK, 1, days)
	l.MinHalf = about("min_half", b.MinHalf, 0, 1440*7/2)
	for i, p := range partsOf(b, m) {
		if p.silent() {
			continue
		}
		in := &Interval{Lo: rapid.Uint32Range(p.lowest, p.lo).Draw(t, "lo"), Hi: rapid.Uint32Range(p.hi, p.utmost).Draw(t, "hi")}
		in.Width = rapid.Uint32Range(0, p.hi-p.lo).Draw(t, "width")
		*[]**Interval{&l.Range, &l.Mean, &l.Trend}[i] = in
	}
	return l
}

func TestAClaimWithinItsLimitsIsPermitted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := anyBounds(t, heartRate, 1)
		d := changed(permit(), func(d *Document) {
			d.Predicates = []Terms{{Metric: "heart_rate", Days: 1, Limits: around(t, heartRate, 1, b)}}
		})
		if err := Validate(d); err != nil {
			t.Fatal(err)
		}
		if got := Decide([]Document{d}, ask(b)); !got.Permit {
			t.Fatalf("%+v under %+v: %v", b, d.Predicates[0].Limits, got.Reasons)
		}
	})
}

// A claim one step beyond any one limit is not allowed.
func TestAClaimBeyondOneLimitIsRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := anyBounds(t, heartRate, 1)
		l := around(t, heartRate, 1, b)
		switch rapid.IntRange(0, 6).Draw(t, "beyond") {
		case 0:
			l.Hours = uint32(bits.OnesCount32(b.HourMask)) + 1
		case 1:
			l.K.Least, l.K.Most = b.K+1, max(b.K+1, l.K.Most)
		case 2:
			l.K.Most = b.K - 1
		case 3:
			l.MinCount.Least = b.MinCount + 1
		case 4:
			l.OutMax.Least = b.OutMax + 1
		case 5:
			if l.Range = nil; partsOf(b, heartRate)[0].silent() {
				return
			}
		case 6:
			if l.Range == nil {
				return
			}
			l.Range.Width = b.Hi - b.Lo + 1
		}
		if l.objection(heartRate, b) == "" {
			t.Fatalf("%+v is allowed under %+v", b, l)
		}
	})
}

// What is called narrower allows nothing more, and what is drawn around narrower
// limits is wider.
func TestNarrowerTermsAllowNothingMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := anyBounds(t, heartRate, 1)
		inner := Terms{Metric: "heart_rate", Days: 1, Limits: around(t, heartRate, 1, b)}
		outer := Terms{Metric: "heart_rate", Days: 1, Limits: around(t, heartRate, 1, b)}
		if rapid.Bool().Draw(t, "listed") {
			inner.Limits, inner.Claim = nil, &b
		}
		other := anyBounds(t, heartRate, 1)
		if inner.within(outer) && inner.objection(heartRate, other) == "" && outer.objection(heartRate, other) != "" {
			t.Fatalf("%+v allows %+v, %+v does not", inner, other, outer)
		}
		if !inner.within(inner) || !inner.equal(inner) || inner.Claim != nil && !inner.within(outer) {
			t.Fatalf("%+v is not within itself or its limits", inner)
		}
	})
}
