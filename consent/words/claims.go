package words

import (
	"fmt"
	"strings"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/claim"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

func terms(t consent.Terms) string {
	m, _ := wearable.ByKey(t.Metric)
	switch {
	case t.Claim != nil:
		return "That " + claim.Claim{Metric: m, Days: int(t.Days), Anytime: true, Bounds: *t.Claim}.Text(claim.English) + "."
	case t.Limits != nil:
		return limits(*t.Limits, m, t.Days)
	}
	return "Nothing."
}

// Claims says what may be claimed under a consent, how often, and what that tells at most.
func Claims(d consent.Document) []string {
	if len(d.Predicates) == 0 {
		return nil
	}
	texts := make([]string, 0, len(d.Predicates)+1)
	for _, t := range d.Predicates {
		texts = append(texts, terms(t))
	}
	texts = append(texts, fmt.Sprintf("At most %d such claims in all.", d.Claims))
	return append(texts, learnable(d)...)
}

func limits(l consent.Limits, m wearable.Metric, days uint32) string {
	var about []string
	names := [3]string{"how many readings are within a range", "the mean", "the trend (mean of the second half minus that of the first)"}
	for i, in := range []*consent.Interval{l.Range, l.Mean, l.Trend} {
		if in != nil {
			about = append(about, names[i]+", between "+interval(*in, m, i == 2))
		}
	}
	period := "of a day"
	if days > 1 {
		period = fmt.Sprintf("on %s of %d days in a row", span(l.DayK), days)
	}
	text := fmt.Sprintf("Claims about %s %s, over at least %d hours of the day (UTC): %s", claim.NameInText(m), period, l.Hours, strings.Join(about, "; or "))
	text += fmt.Sprintf(". In at least %s minutes within the range, %s measured, %s outside", span(l.K), span(l.MinCount), span(l.OutMax))
	if l.Trend != nil || l.MinHalf.Most > 0 {
		text += ", " + span(l.MinHalf) + " measured in each half"
	}
	return text + "."
}

func span(s consent.Span) string {
	if s.Least == s.Most {
		return fmt.Sprint(s.Least)
	}
	return fmt.Sprintf("%d to %d", s.Least, s.Most)
}

func interval(i consent.Interval, m wearable.Metric, trend bool) string {
	text := fmt.Sprintf("%s and %s %s", bound(m, i.Lo, trend), bound(m, i.Hi, trend), m.UCUM)
	if i.Width == 0 {
		return text
	}
	return fmt.Sprintf("%s, bounds at least %s %s apart", text, m.Value(int64(i.Width)), m.UCUM)
}

// bound is a bound in the metric's unit; a trend's is a difference.
func bound(m wearable.Metric, code uint32, trend bool) string {
	if trend {
		return m.Value(int64(code) - verifier.TrendBias).String()
	}
	return m.Value(m.Units(uint16(code))).String()
}
