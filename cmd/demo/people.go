package demo

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/web"
	"github.com/vitalveil/vitalveil/wearable"
)

// What statistics are about.
const (
	UnitPerson = "person" // a value for each person and day
	UnitMinute = "minute"
)

// What all questions about people may cost a patient in all.
const (
	totalEpsilon = 4
	totalDelta   = 1e-6
)

// units are what the run asks about, each in a network of its own: an exact answer about
// people's days uses up the minutes, and the other way round.
func (o Options) units() ([]string, error) {
	schema, err := schemaOf(Options{Schema: o.Schema})
	switch {
	case err != nil:
		return nil, err
	case schema.Day() == nil && o.Unit == UnitPerson:
		return nil, fmt.Errorf("rows of %s have no days of people: use --schema vitals-v3", schema.Name)
	case schema.Day() == nil:
		return []string{UnitMinute}, nil
	case o.Unit == "" && o.Exact:
		return []string{UnitMinute, UnitPerson}, nil
	case o.Unit == "":
		return []string{UnitPerson}, nil
	}
	return []string{o.Unit}, nil
}

// schema is that of the rows which answer.
func (w *world) schema() *privacy.Schema {
	if w.daily {
		return w.params.Schema().Day()
	}
	return w.params.Schema()
}

// spend is a question with what it may cost, and the figures that it asks about people.
type spend struct {
	privacy.Question
	rho  uint64 // micro-zCDP; 0 in an exact study
	want privacy.Want
}

func (w *world) askFor(s spend) record.Ask {
	a := record.Ask{Study: studyID, Metric: s.Key, From: w.firstHour, Until: w.untilHour, Rho: s.rho}
	if w.daily {
		a.Want = s.want.String()
	}
	return a
}

// plan says what each question asks, and at what privacy loss.
func (w *world) plan(questions []privacy.Question, exact bool) ([]spend, error) {
	var all []spend
	for _, q := range questions {
		s := spend{Question: q, want: q.Whole()}
		if !exact {
			s.rho = rhoOf(q)
		}
		all = append(all, s)
	}
	if exact || !w.daily {
		return all, nil
	}
	return all, w.byNeed(all)
}

// byNeed shares the total among the questions by what they need of the people there are.
func (w *world) byNeed(all []spend) error {
	asks := make([]privacy.Spending, len(all))
	for i, s := range all {
		s.want = privacy.WantMean
		c, err := w.index.Eligible(w.asker.msp, purpose, false, w.askFor(s))
		if err != nil {
			return err
		}
		asks[i] = privacy.Spending{Slot: s.Slot, People: int64(c.Size)}
	}
	err := w.schema().SpendByNeed(asks, (w.untilHour-w.firstHour)/24, privacy.RhoFor(totalEpsilon, totalDelta), w.params.Sharing().Pieces())
	for i, a := range asks {
		all[i].want, all[i].rho = a.Want, a.RhoMicro
	}
	return err
}

// showPeople adds what was learned about people: means with intervals and histograms as
// plots, and all figures as a table.
func (w *world) showPeople(s *web.Section, got *answers) {
	s.Paragraphs = append(s.Paragraphs, "A mean is over people's days: each person counts once a day, however often they were measured. \"Worth of\" is of how many people an exact answer would be as good.")
	t := web.Table{Caption: "Statistics about people", Columns: []string{"metric", "people", "person-days", "mean", "spread", "within limits", "unit", "worth of", "usable", "rho"}}
	var means []web.Interval
	var histograms []web.Plot
	for _, m := range wearable.Vitals() {
		if few, ok := got.refused[m.Key]; ok {
			t.Rows = append(t.Rows, append([]string{m.Key, few.text()}, make([]string, len(t.Columns)-2)...))
		}
		a, ok := got.persons[m.Key]
		if !ok {
			continue
		}
		r := a.Persons
		usable := "yes"
		if !r.Usable {
			usable = "no"
		}
		t.Rows = append(t.Rows, []string{
			m.Key, patientsText(a), privacy.Round(r.PersonDays.Value, r.PersonDays.SD), personText(r.Mean, 1), personText(r.Spread, 1), personText(r.Within, 100),
			m.UCUM, fmt.Sprintf("%.0f", r.WorthOf), usable, fmt.Sprintf("%.4f", float64(a.rho)/1e6),
		})
		person, _ := m.Person()
		means = append(means, web.Interval{
			Name: m.Name, Unit: m.UCUM, Low: m.Value(person.Low).Float64(), High: m.Value(person.High).Float64(),
			Value: r.Mean.Value, Noise: r.Mean.CI95, Population: r.Population, Text: personText(r.Mean, 1), TooNoisy: r.Mean.TooNoisy,
		})
		if h := r.Histogram; h != nil {
			histograms = append(histograms, web.Columns("Person-days by mean: "+m.Name, m.UCUM, h.Edges[:], h.Counts[:], 1.96*h.SD))
			s.Code = append(s.Code, peopleBars(m, r))
		}
	}
	s.Plots = append(s.Plots, web.Intervals("Means of people, each on the scale of its person range", means))
	s.Plots = append(s.Plots, histograms...)
	s.Tables = append([]web.Table{t}, s.Tables...)
}

// personText is a figure with half its interval.
func personText(f *privacy.PersonFigure, scale float64) string {
	switch {
	case f == nil:
		return ""
	case f.TooNoisy:
		return privacy.TooNoisy
	case f.SD == 0:
		return fmt.Sprintf("%.3f", f.Value*scale)
	}
	return fmt.Sprintf("%s +- %s", privacy.Round(f.Value*scale, f.SD*scale), privacy.Round((f.CI95[1]-f.CI95[0])/2*scale, f.SD*scale))
}

// peopleBars draws how many days of people have their mean where, for a terminal.
func peopleBars(m wearable.Metric, r *privacy.PersonRelease) string {
	return bars(fmt.Sprintf("%s, %s, person-days (each +- %s)", m.Name, m.UCUM, privacy.Round(1.96*r.Histogram.SD, r.Histogram.SD)), r.Histogram.Edges[:], r.Histogram.Counts[:])
}

// bars draws counts; what noise has made negative is drawn empty.
func bars(title string, edges []string, counts []float64) string {
	const width = 48
	var b strings.Builder
	b.WriteString(title + "\n")
	top := max(slices.Max(counts), 1)
	for i, c := range counts {
		fmt.Fprintf(&b, "%6s..%-6s %9.0f %s\n", edges[i], edges[i+1], c, strings.Repeat("#", int(max(c, 0)*width/top)))
	}
	return strings.TrimRight(b.String(), "\n")
}

// and adds what was learned in a second network to what was seen in the first.
func (v *View) and(second *View) *View {
	v.Report.Persons, v.Report.RefusedPersons = second.Report.Persons, second.Report.Refused
	c, more := &v.Report.Cost, second.Report.Cost
	c.RowBytes, c.QueryMillis, c.PeakRSSMB = max(c.RowBytes, more.RowBytes), max(c.QueryMillis, more.QueryMillis), max(c.PeakRSSMB, more.PeakRSSMB)
	c.TotalMillis += more.TotalMillis
	for _, s := range second.Sections {
		if s.Plots != nil {
			s.Title += ", in a second network about people's days"
			v.Sections = append(v.Sections, s)
		}
	}
	return v
}
