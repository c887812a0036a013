package consent

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/claim"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Terms is what may be claimed about a metric over so many days in a row: one
// claim as it is written here, or any claim within limits. Exactly one of Claim
// and Limits is set.
type Terms struct {
	Metric string         `json:"metric"`
	Days   uint32         `json:"days"`
	Claim  *record.Bounds `json:"claim,omitempty"`
	Limits *Limits        `json:"limits,omitempty"`
}

// Limits bound every parameter of a claim (record.Bounds). A claim is about single
// readings, their mean or their trend; about what is nil here it says nothing.
type Limits struct {
	Hours    uint32    `json:"hours"` // least number of hours of the day that hour_mask has
	Range    *Interval `json:"range,omitempty"`
	Mean     *Interval `json:"mean,omitempty"`
	Trend    *Interval `json:"trend,omitempty"`
	K        Span      `json:"k"`
	MinCount Span      `json:"min_count"`
	OutMax   Span      `json:"out_max"`
	DayK     Span      `json:"day_k"`
	MinHalf  Span      `json:"min_half"`
}

// Interval limits a pair of bounds, in codes of the metric (a trend's are biased by
// verifier.TrendBias): both lie within [Lo, Hi], and at least Width apart.
type Interval struct {
	Lo    uint32 `json:"lo"`
	Hi    uint32 `json:"hi"`
	Width uint32 `json:"width"`
}

// Span limits a number: Least <= number <= Most.
type Span struct {
	Least uint32 `json:"least"`
	Most  uint32 `json:"most"`
}

// part is what a claim says of one aspect of the readings, and the outermost bounds
// there, with which it says nothing.
type part struct {
	name           string
	lo, hi         uint32
	lowest, utmost uint32
}

// Names of the parts and of the numbers of a claim, in the order of partsOf and
// Limits.spans.
var (
	partNames = []string{"range", "mean", "trend"}
	spanNames = []string{"k", "min_count", "out_max", "day_k", "min_half"}
)

// partsOf reads a claim's bounds. A bound beyond what is possible, such as one that
// is switched off, counts as the outermost possible one.
func partsOf(b record.Bounds, m wearable.Metric) [3]part {
	most := uint32(m.MaxCode())
	low, high := uint32(verifier.TrendBias)-(most-1), uint32(verifier.TrendBias)+(most-1)
	parts := [3]part{
		{name: partNames[0], lo: b.Lo, hi: b.Hi, lowest: 1, utmost: most},
		{name: partNames[1], lo: b.MeanLo, hi: b.MeanHi, lowest: 1, utmost: most},
		{name: partNames[2], lo: b.TrendLo, hi: b.TrendHi, lowest: low, utmost: high},
	}
	for i := range parts {
		p := &parts[i]
		p.lo, p.hi = max(p.lo, p.lowest), min(p.hi, p.utmost)
	}
	return parts
}

func (p part) silent() bool { return p.lo == p.lowest && p.hi == p.utmost }

// objection says why the terms do not cover a claim; empty means that they do.
func (t Terms) objection(m wearable.Metric, b record.Bounds) string {
	b = claim.Canonical(m, b) // what a claim means decides, not how it is written
	switch {
	case t.Claim != nil && claim.Canonical(m, *t.Claim) == b:
		return ""
	case t.Claim != nil:
		return "it is not the claim listed"
	case t.Limits == nil:
		return "nothing is listed"
	}
	return t.Limits.objection(m, b)
}

func (l Limits) objection(m wearable.Metric, b record.Bounds) string {
	if hours := uint32(bits.OnesCount32(b.HourMask)); hours < l.Hours {
		return fmt.Sprintf("it is about %d hours of the day, at least %d are asked for", hours, l.Hours)
	}
	for _, s := range l.spans(&b) {
		if s.n < s.of.Least || s.n > s.of.Most {
			return fmt.Sprintf("%s is %d, %d to %d are allowed", s.name, s.n, s.of.Least, s.of.Most)
		}
	}
	intervals := l.intervals()
	for i, p := range partsOf(b, m) {
		switch in := intervals[i]; {
		case p.silent():
		case in == nil:
			return "it bounds the " + p.name + ", which may not be claimed"
		case p.lo < in.Lo || p.hi > in.Hi:
			return fmt.Sprintf("the bounds of the %s are %d and %d, they may lie within [%d, %d]", p.name, p.lo, p.hi, in.Lo, in.Hi)
		case p.lo > p.hi || p.hi-p.lo < in.Width:
			return fmt.Sprintf("the bounds of the %s are %d and %d, they have to be at least %d apart", p.name, p.lo, p.hi, in.Width)
		}
	}
	return ""
}

// intervals are in the order of partsOf.
func (l Limits) intervals() [3]*Interval { return [3]*Interval{l.Range, l.Mean, l.Trend} }

// limited is a number of a claim with what limits it.
type limited struct {
	name string
	n    uint32
	of   Span
	most uint32 // that is possible
}

// spans lists the numbers that are limited, with those of a claim.
func (l Limits) spans(b *record.Bounds) [5]limited {
	return [5]limited{
		{spanNames[0], b.K, l.K, wearable.MinutesPerDay},
		{spanNames[1], b.MinCount, l.MinCount, wearable.MinutesPerDay},
		{spanNames[2], b.OutMax, l.OutMax, wearable.MinutesPerDay},
		{spanNames[3], b.DayK, l.DayK, verifier.MaxDays},
		{spanNames[4], b.MinHalf, l.MinHalf, wearable.MinutesPerDay * verifier.MaxDays / 2},
	}
}

func (t Terms) validate(metrics []string) error {
	m, ok := wearable.ByKey(t.Metric)
	switch {
	case !ok || !slices.Contains(metrics, t.Metric):
		return fmt.Errorf("metric %q is not one of this consent", clip(t.Metric))
	case t.Days < 1 || t.Days > verifier.MaxDays:
		return fmt.Errorf("days is %d, it can be 1 to %d", t.Days, verifier.MaxDays)
	case (t.Claim == nil) == (t.Limits == nil):
		return errors.New("it lists one claim, or limits for claims: one of the two")
	case t.Claim != nil:
		return claim.Check(m, int(t.Days), *t.Claim)
	}
	return t.Limits.validate(m, t.Days)
}

func (l Limits) validate(m wearable.Metric, days uint32) error {
	if l.Hours < 1 || l.Hours > 24 {
		return fmt.Errorf("hours is %d, it can be 1 to 24", l.Hours)
	}
	for _, s := range l.spans(&record.Bounds{}) {
		if s.of.Least > s.of.Most || s.of.Most > s.most {
			return fmt.Errorf("%s is limited to [%d, %d], which is empty or beyond %d", s.name, s.of.Least, s.of.Most, s.most)
		}
	}
	if l.DayK.Least < 1 || l.DayK.Most > days {
		return fmt.Errorf("day_k is limited to [%d, %d], it can be 1 to %d", l.DayK.Least, l.DayK.Most, days)
	}
	if max(l.K.Least, l.MinCount.Least) < 1 {
		return errors.New("k and min_count can both be 0: say how much has to be measured at least")
	}
	return l.validateIntervals(m)
}

func (l Limits) validateIntervals(m wearable.Metric) error {
	claimed := false
	intervals := l.intervals()
	for i, p := range partsOf(record.Bounds{}, m) {
		in := intervals[i]
		if in == nil {
			continue
		}
		claimed = true
		if in.Lo < p.lowest || in.Hi > p.utmost || in.Lo > in.Hi || in.Width > in.Hi-in.Lo {
			return fmt.Errorf("the %s is limited to [%d, %d], %d wide, which is empty or not within [%d, %d]", p.name, in.Lo, in.Hi, in.Width, p.lowest, p.utmost)
		}
	}
	if !claimed {
		return errors.New("nothing may be claimed: limit the range, the mean or the trend")
	}
	return nil
}

func (t Terms) equal(o Terms) bool {
	return t.within(o) && o.within(t)
}

// within reports whether t covers no claim that outer does not.
func (t Terms) within(outer Terms) bool {
	m, ok := wearable.ByKey(t.Metric)
	switch {
	case !ok || t.Metric != outer.Metric || t.Days != outer.Days:
		return false
	case t.Claim != nil:
		return outer.objection(m, *t.Claim) == ""
	case t.Limits == nil:
		return true
	}
	return outer.Limits != nil && t.Limits.within(*outer.Limits)
}

func (l Limits) within(outer Limits) bool {
	theirs := outer.spans(&record.Bounds{})
	for i, s := range l.spans(&record.Bounds{}) {
		if s.of.Least < theirs[i].of.Least || s.of.Most > theirs[i].of.Most {
			return false
		}
	}
	intervals := outer.intervals()
	for i, in := range l.intervals() {
		out := intervals[i]
		if in != nil && (out == nil || in.Lo < out.Lo || in.Hi > out.Hi || in.Width < out.Width) {
			return false
		}
	}
	return l.Hours >= outer.Hours
}

func termsWithin(inner, outer []Terms) bool {
	for _, t := range inner {
		if !slices.ContainsFunc(outer, t.within) {
			return false
		}
	}
	return true
}

// Readings limits claims to how many readings of a whole day lie within a range
// that is itself within the codes [lo, hi].
func Readings(lo, hi uint32) *Limits {
	all := Span{Most: wearable.MinutesPerDay}
	some := Span{Least: 1, Most: wearable.MinutesPerDay}
	return &Limits{Hours: 24, Range: &Interval{Lo: lo, Hi: hi}, K: some, MinCount: some, OutMax: all, DayK: Span{Least: 1, Most: 1}}
}
