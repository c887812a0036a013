package demo

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/web"
	"github.com/vitalveil/vitalveil/wearable"
)

// View is what each party saw, for terminal and page.
type View struct {
	Report   *Report
	Lead     string
	Sections []web.Section
}

// view gathers what every party saw, each from its own place.
func (w *world) view(ctx context.Context, r *Report, got *answers, claims []*asked, people []*person) (*View, error) {
	v := &View{Report: r, Lead: lead(r)}
	gatewaySaw, err := w.gatewaySaw()
	if err != nil {
		return nil, err
	}
	patients, err := w.patientsSee(ctx, people)
	if err != nil {
		return nil, err
	}
	v.Sections = append(v.Sections, gatewaySaw, w.ledgerSaw(), w.institutionsHold(),
		w.hospitalLearned(r, got), claimsSection(claims))
	erasure, err := w.eraseRevoker(ctx, people)
	if err != nil {
		return nil, err
	}
	v.Sections = append(append(v.Sections, patients...), erasure)
	v.Sections = append(v.Sections, costSection(r, people))
	return v, nil
}

func lead(r *Report) string {
	s := fmt.Sprintf("%s. All parties run in this one process, so this shows the protocol and protects nobody.", r.Source)
	if r.Noise == "off" {
		s += " The study is exact: no privacy noise."
	}
	return s
}

// gatewaySaw measures what lies in the gateway's own directory.
func (w *world) gatewaySaw() (web.Section, error) {
	blobs, size := 0, int64(0)
	err := filepath.WalkDir(filepath.Join(w.dir, "gateway", "blobs"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		blobs, size = blobs+1, size+info.Size()
		return nil
	})
	return web.Section{
		Title:      "The gateway",
		Paragraphs: []string{"Ciphertext under content hashes, and signed documents that it passed on. Nothing here opens."},
		Facts:      []web.Fact{{Name: "blobs", Value: fmt.Sprint(blobs)}, {Name: "ciphertext", Value: fmt.Sprintf("%.1f MB", float64(size)/(1<<20))}},
	}, err
}

func (w *world) ledgerSaw() web.Section {
	c := w.index.Counts()
	return web.Section{
		Title:      "The ledger",
		Paragraphs: []string{"Who consented to whom, which rows exist, what was asked. No reading, no key."},
		Facts: []web.Fact{
			{Name: "ledger", Value: w.ledger.describe()},
			{Name: "blocks", Value: fmt.Sprint(c.Blocks)},
			{Name: "transactions", Value: fmt.Sprintf("%d, %d of them without effect", c.Transactions, c.Invalid)},
			{Name: "patients, devices", Value: fmt.Sprintf("%d, %d (%d with all seeds acknowledged)", c.Patients, c.Devices, c.Ready)},
			{Name: "consents", Value: fmt.Sprint(c.Consents)},
			{Name: "pointers", Value: fmt.Sprintf("%d in %d batches, %d found available by two institutions", c.Pointers, c.Batches, c.Available)},
			{Name: "queries", Value: states(c.Queries)},
			{Name: "claims", Value: states(c.Predicates)},
		},
	}
}

// states lists counts by status in a fixed order.
func states(m map[string]int) string {
	var parts []string
	for _, s := range []string{record.QueryReleased, record.QueryRefused, record.QueryAbandoned, record.QueryFailed, record.QueryAgreed, record.QueryAsked, record.PredicateClosed} {
		if m[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", m[s], s))
		}
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func (w *world) institutionsHold() web.Section {
	t := web.Table{Caption: "Institutions", Columns: []string{"institution", "holds pieces", "lacks", "seeds of devices", "opens alone"}}
	devices := w.index.Counts().Ready
	for i, o := range w.orgs {
		var held, lacks []string
		for p := range w.params.Sharing().Pieces() {
			if w.params.Sharing().Holds(i, p) {
				held = append(held, fmt.Sprint(p))
			} else {
				lacks = append(lacks, fmt.Sprint(p))
			}
		}
		t.Rows = append(t.Rows, []string{o.name, strings.Join(held, ", "), strings.Join(lacks, ", "), fmt.Sprint(devices), "nothing"})
	}
	return web.Section{
		Title:      "The institutions",
		Paragraphs: []string{"Each holds the seeds of its pieces of every device's secret. Two together can answer; one cannot open a single row."},
		Tables:     []web.Table{t},
	}
}

// hospitalLearned is the asker's answers: a line per metric, histograms below.
func (w *world) hospitalLearned(r *Report, got *answers) web.Section {
	s := web.Section{Title: "The asking hospital (" + w.asker.name + ")", Paragraphs: []string{
		"\"Patients\" are those who allow it and whose rows of these hours are there. Rows do not show whether they are empty, so fewer people may have had a reading.",
	}}
	t := web.Table{Caption: "Statistics about minutes", Columns: []string{"metric", "patients", "readings", "mean", "standard deviation", "unit", "time"}}
	for _, m := range wearable.Vitals() {
		a, ok := got.metrics[m.Key]
		if few, refused := got.refused[m.Key]; refused {
			t.Rows = append(t.Rows, []string{m.Key, few.text(), "", "", "", m.UCUM, ""})
		}
		if !ok {
			continue
		}
		t.Rows = append(t.Rows, []string{m.Key, patientsText(a), readingsText(a), meanText(a), spreadText(a), m.UCUM, a.Timing.Total.Round(time.Millisecond).String()})
		s.Code = append(s.Code, histogram(m, a))
	}
	s.Tables = pairTables(w.schema(), got)
	if !w.daily {
		s.Tables = append([]web.Table{t}, s.Tables...)
	}
	if p := r.Privacy; p != nil {
		s.Paragraphs = append(s.Paragraphs, fmt.Sprintf(
			"Intervals are 95 %% and cover the privacy noise alone. Privacy loss of a patient in all answers together: rho = %.2f, that is epsilon = %.2f at delta = %g.",
			p.Rho, p.Epsilon, p.Delta))
	}
	if w.daily {
		w.showPeople(&s, got)
	}
	return s
}

// text says why a question was not answered.
func (r Refusal) text() string {
	if r.Readings {
		return fmt.Sprintf("%d: refused, fewer than %d readings", r.Subjects, r.Minimum)
	}
	return fmt.Sprintf("%d: refused, fewer than %d", r.Subjects, r.Minimum)
}

// patientsText marks answers for some of whose shares one member's word alone stands.
func patientsText(a answer) string {
	if a.preliminary() {
		return fmt.Sprintf("%d (preliminary)", a.Cohort)
	}
	return fmt.Sprint(a.Cohort)
}

func readingsText(a answer) string {
	if a.Release.Exact {
		return fmt.Sprint(a.Release.N)
	}
	return privacy.Round(float64(a.Release.N), a.Release.NSD)
}

func meanText(a answer) string {
	rel := a.Release
	switch {
	case !rel.Defined && rel.Exact:
		return "no reading"
	case !rel.Defined || rel.MeanTooNoisy:
		return privacy.TooNoisy
	case rel.Exact:
		return fmt.Sprintf("%.3f", rel.Mean)
	}
	half := (rel.MeanCI95[1] - rel.MeanCI95[0]) / 2
	return fmt.Sprintf("%s +- %s", privacy.Round(rel.Mean, rel.MeanSD), privacy.Round(half, rel.MeanSD))
}

func spreadText(a answer) string {
	rel := a.Release
	switch {
	case !rel.Defined && rel.Exact:
		return ""
	case !rel.Defined || rel.VarianceTooNoisy:
		return privacy.TooNoisy
	case rel.Exact:
		return fmt.Sprintf("%.3f", root(rel.Variance))
	}
	low, high := root(rel.Variance-1.96*rel.VarianceSD), root(rel.Variance+1.96*rel.VarianceSD)
	return fmt.Sprintf("%.1f (%.1f to %.1f)", root(rel.Variance), low, high)
}

// histogram draws the counts of minutes.
func histogram(m wearable.Metric, a answer) string {
	rel := a.Release
	title := m.Name + ", " + m.UCUM
	if !rel.Exact {
		title += fmt.Sprintf(" (each count +- %s", privacy.Round(1.96*rel.CountsSD[0], rel.CountsSD[0]))
		if rel.CountsTooNoisy {
			title += "; " + privacy.TooNoisy
		}
		title += ")"
	}
	var counts []float64
	for _, c := range rel.Counts {
		counts = append(counts, float64(c))
	}
	return bars(title, rel.Edges[:], counts)
}

func claimsSection(claims []*asked) web.Section {
	t := web.Table{Caption: "Claims", Columns: []string{"outcome", "patient", "transaction", "claim"}}
	for _, c := range claims {
		outcome := "attested: proven, and nothing else learned"
		if c.state.Status != record.PredicateAttested {
			outcome = "declined: no proof came, the request expired"
		}
		t.Rows = append(t.Rows, []string{outcome, c.person.ID, c.state.ClosedTx[:8], c.text()})
	}
	return web.Section{
		Title:      "Claims about one patient",
		Paragraphs: []string{"The demo picks one claim that holds and one that does not from what its people live through; the hospital cannot know which."},
		Tables:     []web.Table{t},
	}
}

// patientsSee asks the gateway, as three patients, for their own histories.
func (w *world) patientsSee(ctx context.Context, people []*person) ([]web.Section, error) {
	var out []web.Section
	for _, p := range people {
		var title string
		switch {
		case p.Person == w.refuser:
			title = "A patient who refused (added by the demo)"
		case p.Person == w.revoker:
			title = "A patient who revoked before the first query (added by the demo)"
		case p == people[0]:
			title = "A patient (" + p.ID + ")"
		default:
			continue
		}
		s, err := w.historyOf(ctx, p, title)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func (w *world) historyOf(ctx context.Context, p *person, title string) (web.Section, error) {
	entries, err := p.client.History(ctx, p.id)
	if err != nil {
		return web.Section{}, fmt.Errorf("history of %s: %w", p.ID, err)
	}
	t := web.Table{Caption: title, Columns: []string{"ledger time", "in the answer", "what happened"}}
	included := 0
	for _, e := range entries {
		in := ""
		if e.Kind == "query" {
			in = "no"
			if e.Included {
				in = "yes"
				included++
			}
		}
		t.Rows = append(t.Rows, []string{time.Unix(e.Time, 0).UTC().Format("2006-01-02 15:04"), in, e.Text})
	}
	s := web.Section{Title: title, Paragraphs: []string{fmt.Sprintf("In %d answers.", included)}}
	if len(t.Rows) > 0 {
		s.Tables = []web.Table{t}
	}
	return s, nil
}

func costSection(r *Report, people []*person) web.Section {
	emitted, pushed := 0, 0
	for _, p := range people {
		if p.kit != nil {
			emitted, pushed = emitted+p.kit.emitted, pushed+p.kit.pushed
		}
	}
	return web.Section{Title: "Cost", Facts: []web.Fact{
		{Name: "readings", Value: fmt.Sprintf("%d over GATT, %d through the push source", emitted, pushed)},
		{Name: "a sealed row", Value: fmt.Sprintf("%d bytes for one hour of nine metrics", r.Cost.RowBytes)},
		{Name: "enrolment", Value: fmt.Sprintf("%d bytes of sealed seeds per device", r.Cost.EnrolmentBytes)},
		{Name: "a proof", Value: fmt.Sprintf("%d bytes", r.Cost.ProofBytes)},
		{Name: "slowest query", Value: (time.Duration(r.Cost.QueryMillis) * time.Millisecond).String()},
		{Name: "peak memory", Value: fmt.Sprintf("%d MB", r.Cost.PeakRSSMB)},
		{Name: "whole run", Value: (time.Duration(r.Cost.TotalMillis) * time.Millisecond).Round(100 * time.Millisecond).String()},
	}}
}

// pageHandler shows the view once it is there, and that work is under way until
// then.
func pageHandler(v *atomic.Pointer[View], at net.Addr) http.Handler {
	return web.At(at, func(w http.ResponseWriter, r *http.Request) {
		p := web.Page{Title: "Vitalveil demo", Links: []web.Link{{Text: "API", Href: "/docs"}, {Text: "OpenAPI", Href: "/openapi.json"}}}
		p.Notice = "Simulated clock; every party in one process. Not for patients' data."
		if view := v.Load(); view != nil {
			p.Lead, p.Sections = view.Lead, view.Sections
		} else {
			p.Lead = "Patients are living through their day; the answers are not there yet. Load this page again in a moment."
		}
		web.Render(w, http.StatusOK, p)
	})
}

// root is the square root of a variance, 0 where noise has made that negative.
func root(v float64) float64 { return math.Sqrt(max(v, 0)) }
