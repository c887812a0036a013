package demo

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/state"
)

// Report is what --report writes.
type Report struct {
	Subjects int                     `json:"subjects"` // of the source; the two added people are not counted
	Source   string                  `json:"source"`
	Ignored  []string                `json:"ignored_metrics"`
	Noise    string                  `json:"noise"` // "on" or "off"
	Refused  map[string]Refusal      `json:"refused"`
	Metrics  map[string]MetricReport `json:"metrics"`
	// Privacy is what all answers together cost a patient; absent of an exact study.
	Privacy *PrivacyReport                   `json:"privacy,omitempty"`
	Persons map[string]privacy.PersonSummary `json:"persons"`
	// RefusedPersons are refusals about people where there are some about minutes too.
	RefusedPersons map[string]Refusal      `json:"refused_persons,omitempty"`
	Pairs          map[string]PairReport   `json:"pairs,omitempty"`  // by question, if any was asked
	Groups         map[string]GroupsReport `json:"groups,omitempty"` // likewise
	Predicates     []PredicateReport       `json:"predicates"`
	Cost           Cost                    `json:"cost"`
}

// PrivacyReport is a privacy loss in zCDP, and what it means at delta.
type PrivacyReport struct {
	Rho     float64 `json:"rho"`
	Epsilon float64 `json:"epsilon"`
	Delta   float64 `json:"delta"`
}

// addPrivacy adds up what was asked with, and finds the slowest query.
func (r *Report) addPrivacy(got *answers) {
	var rho uint64
	for _, all := range got.all() {
		for _, a := range all {
			rho += a.rho
			r.Cost.QueryMillis = max(r.Cost.QueryMillis, a.Timing.Total.Milliseconds())
		}
	}
	if rho > 0 {
		r.Privacy = &PrivacyReport{float64(rho) / 1e6, privacy.Epsilon(rho, totalDelta), totalDelta}
	}
}

// Refusal says that a metric had too few eligible subjects.
type Refusal struct {
	Subjects int `json:"subjects"`
	Minimum  int `json:"minimum"`
	// Readings: there are subjects enough, and fewer readings than the minimum.
	Readings bool `json:"readings,omitempty"`
}

// MetricReport is a released statistic of minutes.
type MetricReport struct {
	privacy.ReleaseSummary
	Asked
}

// Asked is what was asked for an answer, and how that went.
type Asked struct {
	Cohort int     `json:"cohort"`
	Rho    float64 `json:"rho,omitempty"` // absent of an exact answer
	Query  string  `json:"query"`
	// Preliminary: some share of the answer has the word of too few members.
	Preliminary bool  `json:"preliminary,omitempty"`
	Millis      int64 `json:"query_ms"`
}

func askedFor(a answer) Asked {
	return Asked{a.Cohort, float64(a.rho) / 1e6, a.QueryID, a.preliminary(), a.Timing.Total.Milliseconds()}
}

// PredicateReport is a claim and what became of it.
type PredicateReport struct {
	Text    string `json:"text"`
	Patient string `json:"patient"`
	Outcome string `json:"outcome"` // "attested" or "declined"
	Tx      string `json:"tx"`
}

// Cost is what the run took.
type Cost struct {
	RowBytes       int   `json:"row_bytes"`
	EnrolmentBytes int   `json:"enrolment_bytes"`
	ProofBytes     int   `json:"proof_bytes"`
	QueryMillis    int64 `json:"query_ms"` // of the slowest query
	PeakRSSMB      int64 `json:"peak_rss_mb"`
	TotalMillis    int64 `json:"total_ms"`
}

// Write stores the report as indented JSON, whole or not at all.
func (r *Report) Write(path string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := state.WriteFile(path, b.Bytes()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
