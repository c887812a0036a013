package state

import (
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// DayHours is how many hours a person-day has: a query about person-days covers whole
// UTC days.
const DayHours = 24

// WholeDays returns the hours of the days that lie in [from, until) as a whole.
func WholeDays(from, until int64) (int64, int64) {
	return -DayHours * wearable.FloorDiv(-from, DayHours), DayHours * wearable.FloorDiv(until, DayHours)
}

// Asked is what a query asks in terms of the network's row schema.
type Asked struct {
	privacy.Question
	Schema *privacy.Schema // of the rows that answer it: of hours, or of days
	Want   privacy.Want    // 0 of a query about minutes
}

// About finds what a query asks (record.Ask): about minutes in the schema of the hours,
// and about person-days, if it names figures, in that of the day rows. What has no
// answer, or none that an exact study may have, is refused, and why.
func About(schema *privacy.Schema, a record.Ask, exact bool) (Asked, error) {
	out := Asked{Schema: schema}
	if a.Want != "" {
		out.Schema = schema.Day()
		if out.Schema == nil {
			return out, fmt.Errorf("rows of schema %s have no person-days: ask about minutes, without figures to want", schema.Name)
		}
		var err error
		if out.Want, err = privacy.ParseWant(a.Want); err != nil {
			return out, fmt.Errorf("want: %w", err)
		}
		if out.Want.String() != a.Want {
			return out, fmt.Errorf("want is written %q, not %q", out.Want, a.Want)
		}
	}
	var err error
	if out.Question, err = question(a.Metric, exact, out.Schema); err != nil || out.Want == 0 {
		return out, err
	}
	return out, out.checkDays(a, exact)
}

// question finds a question in one of the schemas.
func question(key string, exact bool, schemas ...*privacy.Schema) (privacy.Question, error) {
	for _, s := range schemas {
		q, known := s.Question(key)
		switch {
		case !known:
		case exact && q.NeedsNoise():
			return q, fmt.Errorf("%s is never answered exactly: ask in a study with privacy noise", key)
		default:
			return q, nil
		}
	}
	return privacy.Question{}, fmt.Errorf("metric %.64q is unknown to row schema %s", key, schemas[0].Name)
}

// checkDays checks the days and the figures of a query about person-days.
func (q Asked) checkDays(a record.Ask, exact bool) error {
	switch days := (a.Until - a.From) / DayHours; {
	case a.From%DayHours != 0 || a.Until%DayHours != 0:
		return fmt.Errorf("a query about person-days covers whole days: from and until are multiples of %d hours (UTC), not %d and %d", DayHours, a.From, a.Until)
	case days < 1 || days > privacy.MaxDays:
		return fmt.Errorf("a query about person-days covers 1 to %d days, not %d", privacy.MaxDays, days)
	case q.Want&^q.Whole() != 0:
		return fmt.Errorf("%s has one answer: want %q", q.Key, q.Whole())
	case exact && q.Want != q.Whole():
		return fmt.Errorf("an exact answer has all figures: want %q", q.Whole())
	}
	return nil
}

// Daily reports whether the query is about person-days.
func (q Asked) Daily() bool { return q.Want != 0 }

// Plan sizes the noise of the query, which is not of an exact study.
func (q Asked) Plan(a record.Ask) (*privacy.Plan, error) {
	if q.Daily() {
		return q.Schema.PlanDays(q.Slot, q.Want, (a.Until-a.From)/DayHours, a.Rho)
	}
	return q.Schema.Plan(q.Slot, a.Until-a.From, a.Rho)
}

// Rows is how many rows a patient has in the query at most.
func (q Asked) Rows(a record.Ask) int64 {
	if q.Daily() {
		return (a.Until - a.From) / DayHours
	}
	return (a.Until - a.From) * (1 + record.MaxCorrection)
}

// CheckStudied refuses keys that are no question of the network's row schema, about
// minutes or person-days, and those that an exact study cannot have.
func CheckStudied(schema *privacy.Schema, s record.Study) error {
	if len(s.Metrics) == 0 || record.Repeats(s.Metrics) {
		return errors.New("metrics names each question once and at least one")
	}
	schemas := []*privacy.Schema{schema}
	if day := schema.Day(); day != nil {
		schemas = append(schemas, day)
	}
	for _, key := range s.Metrics {
		if _, err := question(key, s.Exact, schemas...); err != nil {
			return err
		}
	}
	return nil
}
