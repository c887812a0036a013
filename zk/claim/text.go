package claim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Text says the claim as a sentence, without a full stop. Of a claim that Check refuses
// the text is meaningless.
func (c Claim) Text(l *Language) string {
	var b strings.Builder
	values := c.values(l)
	for _, template := range c.templates(l) {
		b.WriteString(fill(template, values))
	}
	return b.String()
}

// templates picks the templates that say the claim.
func (c Claim) templates(l *Language) []string {
	b := Canonical(c.Metric, c.Bounds)
	var list []string
	switch {
	case c.Days == 1 && c.Anytime:
		list = append(list, l.AnyDay)
	case c.Days == 1:
		list = append(list, l.Day)
	case c.Anytime:
		list = append(list, l.AnyDays)
	default:
		list = append(list, l.Days)
	}
	out := b.OutMax != verifier.OutMaxOff
	switch {
	case b.K > 0:
		list = append(list, l.Within)
	case out:
		list = append(list, l.Outside)
	default:
		list = append(list, l.Measured)
	}
	if b.K > 0 && out {
		list = append(list, l.AndOutside)
	}
	if b.MinCount > b.K && (b.K > 0 || out) {
		list = append(list, l.AndMeasured)
	}
	list = append(list, bounded(b.MeanLo != verifier.MeanLoOff, b.MeanHi != verifier.MeanHiOff, l.MeanWithin, l.MeanLeast, l.MeanMost))
	list = append(list, bounded(b.TrendLo != verifier.TrendLoOff, b.TrendHi != verifier.TrendHiOff, l.TrendWithin, l.TrendLeast, l.TrendMost))
	if b.MinHalf > 0 {
		list = append(list, l.Halves)
	}
	return list
}

func bounded(below, above bool, within, least, most string) string {
	switch {
	case below && above:
		return within
	case below:
		return least
	case above:
		return most
	}
	return ""
}

// values are what stands in the slots.
func (c Claim) values(l *Language) map[string]string {
	b := Canonical(c.Metric, c.Bounds)
	number := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
	decimal := func(units int64) string { return strings.Replace(c.Metric.Value(units).String(), ".", l.Point, 1) }
	value := func(code uint32) string { return decimal(c.Metric.Units(uint16(code))) }
	return map[string]string{
		"metric": l.Metrics[c.Metric.Key], "unit": c.Metric.UCUM,
		"first": time.Unix(c.FirstDay*86400, 0).UTC().Format(time.DateOnly),
		"days":  strconv.Itoa(c.Days), "dayk": number(b.DayK),
		"minutes": number(Minutes(b.HourMask)), "hours": l.hours(b.HourMask, c.Days),
		"lo": value(b.Lo), "hi": value(b.Hi), "k": number(b.K), "out": number(b.OutMax), "count": number(b.MinCount),
		"mean_lo": value(b.MeanLo), "mean_hi": value(b.MeanHi),
		"trend_lo": decimal(int64(b.TrendLo) - verifier.TrendBias), "trend_hi": decimal(int64(b.TrendHi) - verifier.TrendBias),
		"half": number(b.MinHalf),
	}
}

// hours names the hours of a mask as ranges of the clock.
func (l *Language) hours(mask uint32, days int) string {
	var ranges []string
	for h := 0; h < 24; h++ {
		from := h
		for h < 24 && mask>>h&1 == 1 {
			h++
		}
		if from < h {
			ranges = append(ranges, fmt.Sprintf("%02d:00-%02d:00", from, h))
		}
	}
	text := strings.Join(ranges, l.And) + " UTC"
	if days > 1 {
		text += l.EachDay
	}
	return text
}

// NameInText is a metric's name inside an English sentence.
func NameInText(m wearable.Metric) string { return english.Metrics[m.Key] }
