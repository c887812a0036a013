package verifier

import (
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// sound is a statement that passes Check for one day and for seven.
func sound() Statement {
	b := Unbounded()
	b.Lo, b.Hi, b.K, b.MinCount = 31, 71, 6, 6
	return Statement{
		DataDigest: record.ID{31: 9}, Slot: 0, FirstDay: newYear, Bounds: b,
		Binding: Binding("channel", "request", record.ID{1}, record.ID{2}, 3, record.ID{4}),
	}
}

func TestCheckAccepts(t *testing.T) {
	for name, edit := range map[string]func(*Statement){
		"as it is":                  func(*Statement) {},
		"K alone":                   func(s *Statement) { s.MinCount = 0 },
		"coverage alone":            func(s *Statement) { s.K = 0 },
		"the whole range":           func(s *Statement) { s.Lo, s.Hi = 1, 201 },
		"K of every minute":         func(s *Statement) { s.K, s.MinCount = 1440, 1440 },
		"K of every minute asked":   func(s *Statement) { s.HourMask, s.K = 0x800001, 120 },
		"none outside":              func(s *Statement) { s.OutMax = 0 },
		"a mean":                    func(s *Statement) { s.MeanLo, s.MeanHi = 1, 201 },
		"a mean from below":         func(s *Statement) { s.MeanLo = 60 },
		"a trend":                   func(s *Statement) { s.TrendLo, s.TrendHi, s.MinHalf = TrendBias-200, TrendBias+200, 720 },
		"a falling trend":           func(s *Statement) { s.TrendHi, s.MinHalf = TrendBias-1, 1 },
		"halves without a trend":    func(s *Statement) { s.MinHalf = 720 },
		"a day before 1970":         func(s *Statement) { s.FirstDay = -1 },
		"the first day there is":    func(s *Statement) { s.FirstDay = MinDay },
		"the last one":              func(s *Statement) { s.FirstDay = MaxDay },
		"a binding that looks odd":  func(s *Statement) { s.Binding = record.ID{31: 1} },
		"more outside than minutes": func(s *Statement) { s.HourMask, s.OutMax = 1, 1440 },
	} {
		s := sound()
		edit(&s)
		if err := s.Check(1, metric(t, "heart_rate")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	var order record.ID // the field's order: the smallest number that is not canonical
	fr.Modulus().FillBytes(order[:])
	for name, c := range map[string]struct {
		edit func(*Statement)
		says string
	}{
		"another slot":                 {func(s *Statement) { s.Slot = 1 }, "slot"},
		"a digest that is not one":     {func(s *Statement) { s.DataDigest = order }, "data digest"},
		"no binding":                   {func(s *Statement) { s.Binding = record.ID{} }, "binding"},
		"a binding not shifted":        {func(s *Statement) { s.Binding[0] = 1 }, "binding"},
		"a day before the calendar":    {func(s *Statement) { s.FirstDay = MinDay - 1 }, "first day"},
		"a day after it":               {func(s *Statement) { s.FirstDay = MaxDay + 1 }, "first day"},
		"no hour":                      {func(s *Statement) { s.HourMask = 0 }, "hour_mask"},
		"hour 24":                      {func(s *Statement) { s.HourMask = 1 << 24 }, "hour_mask"},
		"a range from missing":         {func(s *Statement) { s.Lo = 0 }, "range"},
		"a range upside down":          {func(s *Statement) { s.Lo = 72 }, "range"},
		"a range beyond the metric":    {func(s *Statement) { s.Hi = 202 }, "range"},
		"K beyond the day":             {func(s *Statement) { s.K = 1441 }, "k is"},
		"K beyond the hours asked":     {func(s *Statement) { s.HourMask, s.K = 1, 61 }, "k is"},
		"coverage beyond the hours":    {func(s *Statement) { s.HourMask, s.MinCount = 1, 61 }, "min_count"},
		"out_max beyond the day":       {func(s *Statement) { s.OutMax = 1441 }, "out_max"},
		"more days than there are":     {func(s *Statement) { s.DayK = 2 }, "day_k"},
		"mean_lo beyond the metric":    {func(s *Statement) { s.MeanLo = 202 }, "mean_lo"},
		"mean_hi beyond the metric":    {func(s *Statement) { s.MeanHi = 202 }, "mean_hi"},
		"mean_hi missing":              {func(s *Statement) { s.MeanHi = 0 }, "mean_hi"},
		"mean_hi too wide":             {func(s *Statement) { s.MeanHi = 1 << 16 }, "mean_hi"},
		"a mean upside down":           {func(s *Statement) { s.MeanLo, s.MeanHi = 50, 49 }, "mean_lo"},
		"trend_lo beyond the metric":   {func(s *Statement) { s.TrendLo, s.MinHalf = TrendBias-201, 1 }, "trend_lo"},
		"trend_hi beyond the metric":   {func(s *Statement) { s.TrendHi, s.MinHalf = TrendBias+201, 1 }, "trend_hi"},
		"trend_hi too wide":            {func(s *Statement) { s.TrendHi, s.MinHalf = 1<<18, 1 }, "trend_hi"},
		"a trend upside down":          {func(s *Statement) { s.TrendLo, s.TrendHi, s.MinHalf = TrendBias+1, TrendBias, 1 }, "trend_lo"},
		"min_half beyond a half":       {func(s *Statement) { s.MinHalf = 721 }, "min_half"},
		"min_half beyond the hours":    {func(s *Statement) { s.HourMask, s.MinHalf = 0x801, 61 }, "min_half"},
		"a half without hours":         {func(s *Statement) { s.HourMask, s.MinHalf = 0xfff, 1 }, "min_half"},
		"a trend in one half":          {func(s *Statement) { s.HourMask, s.TrendHi, s.MinHalf = 0xfff, TrendBias, 1 }, "min_half"},
		"a mean of the largest number": {func(s *Statement) { s.MeanLo = 1<<32 - 1 }, "mean_lo"},
	} {
		s := sound()
		c.edit(&s)
		err := s.Check(1, metric(t, "heart_rate"))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error about %q", name, err, c.says)
		}
	}
}

func TestCheckKnowsClassAndMetric(t *testing.T) {
	s := sound()
	for _, days := range []int{-1, 0, MaxDays + 1} {
		if err := s.Check(days, metric(t, "heart_rate")); err == nil {
			t.Errorf("a class of %d days", days)
		}
	}
	s.DayK = 7
	if err := s.Check(7, metric(t, "heart_rate")); err != nil {
		t.Error(err)
	}
	s.FirstDay = MaxDay - 5
	if err := s.Check(7, metric(t, "heart_rate")); err == nil {
		t.Error("a week beyond the calendar")
	}
	if err := sound().Check(1, wearable.Metric{}); err == nil {
		t.Error("a metric that is not in the table")
	}
	if err := sound().Check(1, metric(t, "spo2")); err == nil {
		t.Error("the metric of another slot")
	}
}

// Vacuous truths: without these refusals a patient without data, or an
// institution that wants a worthless attestation, gets one.
func TestAttackVacuousCount(t *testing.T) {
	refused(t, "hold without data", func(s *Statement) { s.K, s.MinCount = 0, 0 })
	refused(t, "hold without data", func(s *Statement) { s.K, s.MinCount, s.OutMax = 0, 0, 0 })
}

func TestAttackVacuousDays(t *testing.T) {
	refused(t, "day_k", func(s *Statement) { s.DayK = 0 })
}

func TestAttackVacuousRange(t *testing.T) {
	// Code 0 is a missing minute: a range from it would count what was not measured.
	refused(t, "range", func(s *Statement) { s.Lo, s.Hi = 0, 0 })
}

func TestAttackVacuousMean(t *testing.T) {
	refused(t, "min_count is 0", func(s *Statement) { s.MinCount, s.MeanLo = 0, 60 })
	refused(t, "min_count is 0", func(s *Statement) { s.MinCount, s.MeanHi = 0, 60 })
	refused(t, "min_count is 0", func(s *Statement) { s.MinCount, s.MeanLo, s.MeanHi = 0, 1, 201 })
}

func TestAttackVacuousTrend(t *testing.T) {
	refused(t, "min_half is 0", func(s *Statement) { s.TrendLo = TrendBias })
	refused(t, "min_half is 0", func(s *Statement) { s.TrendHi = TrendBias })
	// Nor may the hours asked leave a half without a minute.
	refused(t, "min_half", func(s *Statement) { s.HourMask, s.TrendHi = 0xfff, TrendBias })
}

func refused(t *testing.T, says string, edit func(*Statement)) {
	t.Helper()
	s := sound()
	edit(&s)
	if err := s.Check(1, metric(t, "heart_rate")); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%+v: %v, want a refusal that says %q", s.Bounds, err, says)
	}
	if err := CheckBounds(s.Bounds, 1, metric(t, "heart_rate")); err == nil {
		t.Error("CheckBounds alone accepts it")
	}
}
