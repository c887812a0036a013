package verifier

import (
	"fmt"
	"math/bits"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// Text says the claim in words, with values in the metric's unit and the
// coverage asked, for a class of so many days. The statement should have passed
// Check; of one that has not, the text is meaningless.
func (s Statement) Text(days int, m wearable.Metric) string {
	when := fmt.Sprintf("of the %d days from %s to %s", days, date(s.FirstDay), date(s.FirstDay+int64(days)-1))
	if days == 1 {
		when = "of " + date(s.FirstDay)
	}
	return s.text(days, m, when)
}

// ClaimText says bounds in words as Text does, about any so many days in a row.
func ClaimText(b record.Bounds, days int, m wearable.Metric) string {
	when := fmt.Sprintf("of %d days in a row", days)
	if days == 1 {
		when = "of a day"
	}
	return Statement{Bounds: b}.text(days, m, when)
}

// text says the bounds in words; when names the days, as in "of a day".
func (s Statement) text(days int, m wearable.Metric, when string) string {
	parts := []string{s.dayText(days, m, when)}
	if MeanBounded(s.Bounds) {
		parts = append(parts, s.meanText(m))
	}
	if TrendBounded(s.Bounds) {
		parts = append(parts, s.trendText(m))
	}
	if s.MinHalf > 0 {
		parts = append(parts, "with at least "+minutes(s.MinHalf)+" measured in each half")
	}
	return strings.Join(parts, "; ")
}

func (s Statement) dayText(days int, m wearable.Metric, when string) string {
	when = fmt.Sprintf("%s (UTC, %s)", when, hoursText(s.HourMask))
	if days == 1 {
		return s.claimText(m, " "+when)
	}
	return fmt.Sprintf("on at least %d %s, %s", s.DayK, when, s.claimText(m, ""))
}

// claimText is what holds on a day; when follows the first number of minutes.
func (s Statement) claimText(m wearable.Metric, when string) string {
	name, inside := NameInText(m), codeRange(m, s.Lo, s.Hi)
	most := uint32(minutesPerHour * bits.OnesCount32(s.HourMask))
	var b strings.Builder
	switch {
	case s.K > 0:
		fmt.Fprintf(&b, "%s was within %s in at least %s%s", name, inside, minutes(s.K), when)
		if s.OutMax < most {
			fmt.Fprintf(&b, " and outside in at most %s", minutes(s.OutMax))
		}
	case s.OutMax < most:
		fmt.Fprintf(&b, "%s was outside %s in at most %s%s", name, inside, minutes(s.OutMax), when)
	default:
		return fmt.Sprintf("%s was measured in at least %s%s", name, minutes(s.MinCount), when)
	}
	fmt.Fprintf(&b, ", with at least %s measured", minutes(max(s.K, s.MinCount)))
	return b.String()
}

func (s Statement) meanText(m wearable.Metric) string {
	switch {
	case s.MeanHi == MeanHiOff:
		return "the mean was at least " + code(m, s.MeanLo) + " " + m.UCUM
	case s.MeanLo == MeanLoOff:
		return "the mean was at most " + code(m, s.MeanHi) + " " + m.UCUM
	}
	return "the mean was within " + codeRange(m, s.MeanLo, s.MeanHi)
}

func (s Statement) trendText(m wearable.Metric) string {
	difference := func(biased uint32) string { return m.Value(int64(biased) - TrendBias).String() }
	const what = "the mean of the second half of the time minus that of the first was "
	switch {
	case s.TrendHi == TrendHiOff:
		return what + "at least " + difference(s.TrendLo) + " " + m.UCUM
	case s.TrendLo == TrendLoOff:
		return what + "at most " + difference(s.TrendHi) + " " + m.UCUM
	}
	return what + "within " + difference(s.TrendLo) + ".." + difference(s.TrendHi) + " " + m.UCUM
}

// code prints a code's value in the metric's unit, without the unit.
func code(m wearable.Metric, c uint32) string { return m.Value(m.Units(uint16(c))).String() }

func codeRange(m wearable.Metric, lo, hi uint32) string {
	return code(m, lo) + ".." + code(m, hi) + " " + m.UCUM
}

// NameInText is the metric's name inside a sentence.
func NameInText(m wearable.Metric) string {
	first, size := utf8.DecodeRuneInString(m.Name)
	return string(unicode.ToLower(first)) + m.Name[size:]
}

func minutes(n uint32) string {
	if n == 1 {
		return "1 minute"
	}
	return fmt.Sprintf("%d minutes", n)
}

func date(day int64) string { return time.Unix(day*86400, 0).UTC().Format(time.DateOnly) }

// hoursText names the hours of a mask as ranges of the clock.
func hoursText(mask uint32) string {
	if mask == AllHours {
		return "all hours"
	}
	var ranges []string
	for h := 0; h < 24; h++ {
		if mask>>h&1 == 0 {
			continue
		}
		from := h
		for h < 24 && mask>>h&1 == 1 {
			h++
		}
		ranges = append(ranges, fmt.Sprintf("%02d:00-%02d:00", from, h))
	}
	return strings.Join(ranges, ", ")
}
