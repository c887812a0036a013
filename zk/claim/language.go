package claim

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Language is how claims are said in a language: templates with slots in braces, which
// Text fills and Parse matches. The parts of a sentence follow each other as the fields
// do; a template begins with what joins it to the one before.
type Language struct {
	Tag   string // BCP 47
	Name  string // in the language itself
	Point string // decimal separator

	// When: on a given day, on any day, on {dayk} of {days} days from {first}, on any so
	// many days in a row.
	Day, AnyDay, Days, AnyDays string
	// What comes first of these three, about {metric}, {minutes} of a day in all, {hours}
	// of the clock: {k} within {lo} to {hi} {unit}, {out} outside, {count} measured.
	Within, Outside, Measured string
	// And what else is said about the minutes of a day.
	AndOutside, AndMeasured string
	// The mean over all days, in {unit}: {mean_lo} to {mean_hi}, one or the other.
	MeanWithin, MeanLeast, MeanMost string
	// How the mean of the second half of the time differs from that of the first.
	TrendWithin, TrendLeast, TrendMost string
	// In each half {half} minutes are measured.
	Halves string

	And     string // between hours, such as " and "
	EachDay string // after hours, where there are several days
	Metrics map[string]string

	once    sync.Once
	pattern *regexp.Regexp
	slots   []string
}

var languages = []*Language{&english, &german}

// English is what the ledger's records say.
var English = &english

// Languages returns the languages there are.
func Languages() []*Language { return slices.Clone(languages) }

// ByTag finds a language. The error names those there are.
func ByTag(tag string) (*Language, error) {
	known := make([]string, 0, len(languages))
	for _, l := range languages {
		if l.Tag == tag {
			return l, nil
		}
		known = append(known, l.Tag)
	}
	return nil, fmt.Errorf("no language %.20q; there are: %s", tag, strings.Join(known, ", "))
}

// forms of what may stand in a slot; Parse is exact afterwards, by saying the claim again.
var forms = map[string]string{
	"first": `\d{4}-\d\d-\d\d`, "unit": `\S{1,16}`,
	"lo": value, "hi": value, "mean_lo": value, "mean_hi": value, "trend_lo": value, "trend_hi": value,
}

const (
	value  = `-?\d{1,6}(?:[.,]\d{1,6})?`
	number = `\d{1,5}`
	span   = `\d\d:00-\d\d:00`
)

var slot = regexp.MustCompile(`\{[a-z_]+\}`)

// Forms are the templates of a sentence, part by part: one of each of the first two parts,
// and one or none of each of the others.
func (l *Language) Forms() [][]string {
	return [][]string{
		{l.Day, l.AnyDay, l.Days, l.AnyDays},
		{l.Within, l.Outside, l.Measured},
		{l.AndOutside},
		{l.AndMeasured},
		{l.MeanWithin, l.MeanLeast, l.MeanMost},
		{l.TrendWithin, l.TrendLeast, l.TrendMost},
		{l.Halves},
	}
}

// compile makes one pattern of the templates, and the list of its groups.
func (l *Language) compile() {
	var b strings.Builder
	for i, part := range l.Forms() {
		for j, template := range part {
			part[j] = l.group(template)
		}
		b.WriteString("(?:" + strings.Join(part, "|") + ")")
		if i > 1 {
			b.WriteString("?")
		}
	}
	l.pattern = regexp.MustCompile("^" + b.String() + "$")
}

// group is a template as a pattern, whose groups are noted in l.slots.
func (l *Language) group(template string) string {
	var b strings.Builder
	for template != "" {
		at := slot.FindStringIndex(template)
		if at == nil {
			break
		}
		name := template[at[0]+1 : at[1]-1]
		b.WriteString(regexp.QuoteMeta(template[:at[0]]) + "(" + l.form(name) + ")")
		l.slots = append(l.slots, name)
		template = template[at[1]:]
	}
	return b.String() + regexp.QuoteMeta(template)
}

func (l *Language) form(slot string) string {
	switch form, ok := forms[slot]; {
	case ok:
		return form
	case slot == "hours":
		return span + "(?:" + regexp.QuoteMeta(l.And) + span + "){0,11} UTC(?:" + regexp.QuoteMeta(l.EachDay) + ")?"
	case slot == "metric":
		var names []string
		for _, name := range l.Metrics {
			names = append(names, regexp.QuoteMeta(name))
		}
		slices.Sort(names)
		return strings.Join(names, "|")
	}
	return number
}

// fill puts values into the slots of a template.
func fill(template string, values map[string]string) string {
	return slot.ReplaceAllStringFunc(template, func(s string) string { return values[s[1:len(s)-1]] })
}
