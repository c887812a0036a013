package privacy

import (
	"encoding/json"
	"fmt"
)

// ReleaseSummary is a Release as reports give it to other programs. N, Sum and SumSq are over minute values
// in units of the resolution; Mean and Variance (population) in the metric's
// unit. With noise each figure has its standard deviation and SumSq, N and the
// counts may be negative.
type ReleaseSummary struct {
	Unit       string        `json:"unit"`
	Resolution string        `json:"resolution"`
	N          json.Number   `json:"n"`
	Sum        json.Number   `json:"sum"`
	SumSq      json.Number   `json:"sum_sq"`
	Mean       *float64      `json:"mean"`     // absent when n is not positive
	Variance   *float64      `json:"variance"` // likewise
	Histogram  ReleaseCounts `json:"histogram"`
	Sd         *ReleaseNoise `json:"sd,omitempty"`
	Interval95 *[2]float64   `json:"mean_interval_95,omitempty"`
	TooNoisy   []string      `json:"too_noisy,omitempty"`
}

// ReleaseCounts has 17 edges and 16 counts; Counts[i] counts Edges[i] <= x <
// Edges[i+1], the last one inclusive.
type ReleaseCounts struct {
	Edges  []string      `json:"edges"`
	Counts []json.Number `json:"counts"`
}

// ReleaseNoise are the standard deviations of the privacy noise in each figure.
type ReleaseNoise struct {
	N        float64   `json:"n"`
	Sum      float64   `json:"sum"`
	SumSq    float64   `json:"sum_sq"`
	Mean     *float64  `json:"mean"`
	Variance *float64  `json:"variance"`
	Counts   []float64 `json:"counts"`
}

// Summary is the release in short.
func (r Release) Summary() ReleaseSummary {
	m := V1().bySlot[r.Slot].x
	s := ReleaseSummary{Unit: r.Unit, Resolution: m.Resolution.String(), N: numeral(r.N), Sum: numeral(r.Sum), SumSq: numeral(r.SumSq)}
	s.Histogram.Edges = r.Edges[:]
	for _, c := range r.Counts {
		s.Histogram.Counts = append(s.Histogram.Counts, numeral(c))
	}
	if r.Defined {
		s.Mean, s.Variance = &r.Mean, &r.Variance
	}
	if r.Exact {
		return s
	}
	s.Sd = &ReleaseNoise{N: r.NSD, Sum: r.SumSD, SumSq: r.SumSqSD, Counts: r.CountsSD[:]}
	if r.Defined {
		s.Sd.Mean, s.Sd.Variance, s.Interval95 = &r.MeanSD, &r.VarianceSD, &r.MeanCI95
	}
	for i, noisy := range []bool{r.MeanTooNoisy, r.VarianceTooNoisy, r.CountsTooNoisy} {
		if noisy {
			s.TooNoisy = append(s.TooNoisy, []string{"mean", "variance", "histogram"}[i])
		}
	}
	return s
}

func numeral(n int64) json.Number { return json.Number(fmt.Sprint(n)) }
