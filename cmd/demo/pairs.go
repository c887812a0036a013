package demo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/web"
	"github.com/vitalveil/vitalveil/wearable/recording"
)

// schemaOf is the row schema of a run. What is to be asked must be in it.
func schemaOf(o Options) (*privacy.Schema, error) {
	schema, ok := privacy.SchemaByName(cmp.Or(o.Schema, privacy.V3().Name))
	if !ok {
		return nil, fmt.Errorf("there is no row schema %q", o.Schema)
	}
	asked := schema
	if o.Unit == UnitPerson {
		asked = schema.Day()
	}
	for _, key := range o.Ask {
		if _, ok := asked.Question(key); !ok {
			return nil, fmt.Errorf("%s has no question %q", asked.Name, key)
		}
	}
	return schema, nil
}

// questions are those asked for or, by default, all of whose metrics anybody has
// samples. An exact study then asks about metrics alone, since their answers use up the
// hours of every pair; and so does one about people, since pairs need thousands of them.
func (w *world) questions(src *recording.Source, o Options) []privacy.Question {
	has := map[string]bool{}
	for _, s := range src.People {
		for _, key := range s.Metrics() {
			has[key] = true
		}
	}
	return slices.DeleteFunc(w.schema().Questions(), func(q privacy.Question) bool {
		if len(o.Ask) > 0 {
			return !slices.Contains(o.Ask, q.Key)
		}
		absent := slices.ContainsFunc(q.Metrics, func(key string) bool { return !has[key] })
		whole := q.Shape == privacy.ShapeMetric || q.Shape == privacy.ShapePerson
		return absent || (o.Exact || w.daily) && !whole
	})
}

// PairReport is a released pair.
type PairReport struct {
	privacy.PairRelease
	Asked
}

// GroupsReport is a released metric by stratum.
type GroupsReport struct {
	privacy.StrataRelease
	Asked
}

func (r *Report) addPairs(got *answers) {
	for key, a := range got.pairs {
		if r.Pairs == nil {
			r.Pairs = map[string]PairReport{}
		}
		r.Pairs[key] = PairReport{*a.Pair, askedFor(a)}
	}
	for key, a := range got.groups {
		if r.Groups == nil {
			r.Groups = map[string]GroupsReport{}
		}
		r.Groups[key] = GroupsReport{*a.Strata, askedFor(a)}
	}
}

// pairTables show what was learned about pairs and strata: no table where nothing
// was asked.
func pairTables(schema *privacy.Schema, got *answers) []web.Table {
	pairs := web.Table{Caption: "Pairs, where both were measured", Columns: []string{"second on first", "patients", "times", "correlation", "slope", "intercept"}}
	groups := web.Table{Caption: "By stratum", Columns: []string{"metric", "stratum", "times", "mean", "unit"}}
	for _, q := range schema.Questions() {
		if a, ok := got.pairs[q.Key]; ok {
			p := a.Pair
			pairs.Rows = append(pairs.Rows, []string{
				strings.Join(q.Metrics, ", "), patientsText(a), privacy.Round(float64(p.Sums.N), p.SDs.N),
				p.Correlation.Text(), p.Slope.Text(), p.Intercept.Text(),
			})
		}
		if a, ok := got.groups[q.Key]; ok {
			for _, g := range a.Strata.Groups {
				groups.Rows = append(groups.Rows, []string{a.Strata.Metric, g.Stratum, privacy.Round(float64(g.N), g.NSD), g.Mean.Text(), a.Strata.Unit})
			}
		}
	}
	return slices.DeleteFunc([]web.Table{pairs, groups}, func(t web.Table) bool { return len(t.Rows) == 0 })
}
