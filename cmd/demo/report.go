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

// MetricReport is a released statistic. N, Sum and SumSq are over minute values
// in units of the resolution; Mean and Variance (population) in the metric's
// unit. With noise each figure has its standard deviation and SumSq, N and the
// counts may be negative.
type MetricReport struct {
	Unit       string          `json:"unit"`
	Resolution string          `json:"resolution"`
	Cohort     int             `json:"cohort"`
	N          json.Number     `json:"n"`
	Sum        json.Number     `json:"sum"`
	SumSq      json.Number     `json:"sum_sq"`
	Mean       *float64        `json:"mean"`     // absent when n is not positive
	Variance   *float64        `json:"variance"` // likewise
	Histogram  HistogramReport `json:"histogram"`
	Sd         *DeviationsOf   `json:"sd,omitempty"`
	Interval95 *[2]float64     `json:"mean_interval_95,omitempty"`
	TooNoisy   []string        `json:"too_noisy,omitempty"`
	Rho        float64         `json:"rho,omitempty"`
	Query      string          `json:"query"`
	// Preliminary: some share of the answer has the word of too few members.
	Preliminary bool  `json:"preliminary,omitempty"`
	Millis      int64 `json:"query_ms"`
}

// HistogramReport has 17 edges and 16 counts; Counts[i] counts Edges[i] <= x <
// Edges[i+1], the last one inclusive.
type HistogramReport struct {
	Edges  []string      `json:"edges"`
	Counts []json.Number `json:"counts"`
}

// DeviationsOf are the standard deviations of the privacy noise in each figure.
type DeviationsOf struct {
	N        float64   `json:"n"`
	Sum      float64   `json:"sum"`
	SumSq    float64   `json:"sum_sq"`
	Mean     *float64  `json:"mean"`
	Variance *float64  `json:"variance"`
	Counts   []float64 `json:"counts"`
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
