package api

import (
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/network/institution"
)

// Figure is one number of an answer with the 95 % interval of its noise.
type Figure struct {
	Name  string `json:"name" doc:"What it is, such as mean, spread, count." example:"mean"`
	Group string `json:"group,omitempty" doc:"Of whom or of which values, where it is a part: a stratum, an interval of values."`
	Unit  string `json:"unit" doc:"UCUM; 1 for counts and shares."`
	// State has a word for a figure without a number: it is none and cannot be read as one.
	State string   `json:"state" enum:"shown,too-noisy,unknown" doc:"Without a value where it is not shown: noise has drowned it, or nothing was measured."`
	Value *float64 `json:"value,omitempty"`
	Low   *float64 `json:"low,omitempty" doc:"Of the 95 % interval of the noise: these people."`
	High  *float64 `json:"high,omitempty"`
	// The second interval is wider.
	PopulationLow  *float64 `json:"population_low,omitempty" doc:"Of the 95 % interval for such people: noise and chance together."`
	PopulationHigh *float64 `json:"population_high,omitempty"`
}

// Answer is what was learned.
type Answer struct {
	Query    Query    `json:"query"`
	People   int      `json:"people" doc:"Who allow it and have rows, which do not tell whether they are empty."`
	Rows     int64    `json:"rows" doc:"Device hours and corrections, or device days."`
	Counted  string   `json:"counted" enum:"minutes,person-days" doc:"What figures are about."`
	Epsilon  float64  `json:"epsilon" doc:"Of the question's rho, at delta 1e-6; 0 in an exact study."`
	Figures  []Figure `json:"figures"`
	Standing string   `json:"standing" enum:"preliminary,final" doc:"A disputed answer is a problem, not an answer."`
	// What is unconfirmed might be wrong.
	Unconfirmed []Piece  `json:"unconfirmed,omitempty" doc:"Shares that one of those who gave them could have made up."`
	Missing     []string `json:"missing,omitempty" doc:"Members that gave no share; the others sufficed."`
	Attempt     int      `json:"attempt"`
	Root        string   `json:"root" doc:"Of the agreed cohort."`
	Hash        string   `json:"hash" doc:"As posted on the ledger."`
	Salt        string   `json:"salt" doc:"What the hash covers beside the answer."`
}

// Piece is a share that is not confirmed.
type Piece struct {
	Piece int      `json:"piece"`
	From  []string `json:"from"`
}

const (
	shown    = "shown"
	tooNoisy = "too-noisy"
	unknown  = "unknown"
)

// answerOf is an opened answer in the form of the interface.
func answerOf(q Query, a *institution.Answer) Answer {
	out := Answer{
		Query: q, People: a.Cohort, Rows: a.Rows, Counted: "minutes", Figures: figuresOf(a), Standing: a.Standing, Missing: a.Missing,
		Attempt: a.Attempt, Root: a.Root.String(), Hash: a.Hash.String(), Salt: a.Salt.String(),
	}
	if !a.Exact {
		out.Epsilon = privacy.Epsilon(a.Rho, delta)
	}
	if a.Want != "" {
		out.Counted = "person-days"
	}
	for _, u := range a.Unconfirmed {
		out.Unconfirmed = append(out.Unconfirmed, Piece{u.Piece, u.From})
	}
	return out
}

func figuresOf(a *institution.Answer) []Figure {
	switch {
	case a.Persons != nil:
		return personFigures(a.Persons)
	case a.Pair != nil:
		return pairFigures(a.Pair)
	case a.Strata != nil:
		return strataFigures(a.Strata)
	}
	return minuteFigures(&a.Release)
}

// z95 is the two-sided 95 % quantile of the normal distribution.
const z95 = 1.959963984540054

// figure is a value with an interval, or a word in their place.
func figure(name, group, unit string, value float64, interval [2]float64, defined, noisy bool) Figure {
	f := Figure{Name: name, Group: group, Unit: unit, State: shown}
	switch {
	case noisy:
		f.State = tooNoisy
	case !defined:
		f.State = unknown
	default:
		f.Value, f.Low, f.High = &value, &interval[0], &interval[1]
	}
	return f
}

func around(value, sd float64) [2]float64 { return [2]float64{value - z95*sd, value + z95*sd} }

func ofFigure(name, group, unit string, f privacy.Figure) Figure {
	return figure(name, group, unit, f.Value, f.CI95, f.Defined, f.TooNoisy)
}

func minuteFigures(r *privacy.Release) []Figure {
	n := float64(r.N)
	out := []Figure{
		figure("count", "", "1", n, around(n, r.NSD), true, false),
		figure("mean", "", r.Unit, r.Mean, r.MeanCI95, r.Defined, r.MeanTooNoisy),
		figure("variance", "", "("+r.Unit+")2", r.Variance, around(r.Variance, r.VarianceSD), r.Defined, r.VarianceTooNoisy),
	}
	for i, c := range r.Counts {
		out = append(out, figure("minutes", r.Edges[i]+" to "+r.Edges[i+1]+" "+r.Unit, "1", float64(c), around(float64(c), r.CountsSD[i]), true, r.CountsTooNoisy))
	}
	return out
}

func personFigures(r *privacy.PersonRelease) []Figure {
	of := func(name, unit string, f *privacy.PersonFigure) []Figure {
		if f == nil {
			return nil
		}
		return []Figure{figure(name, "", unit, f.Value, f.CI95, true, f.TooNoisy)}
	}
	out := of("person_days", "1", &r.PersonDays)
	mean := of("mean", r.Unit, r.Mean)
	if p := r.Population; p != nil && len(mean) == 1 && mean[0].State == shown {
		mean[0].PopulationLow, mean[0].PopulationHigh = &p[0], &p[1]
	}
	out = append(out, mean...)
	out = append(out, of("spread", r.Unit, r.Spread)...)
	out = append(out, of("below", "1", r.Below)...)
	out = append(out, of("within", "1", r.Within)...)
	out = append(out, of("above", "1", r.Above)...)
	out = append(out, of("low", r.Unit, r.Low)...)
	out = append(out, of("high", r.Unit, r.High)...)
	if h := r.Histogram; h != nil {
		out = append(out, of("median", r.Unit, h.Median)...)
		for i, c := range h.Counts {
			out = append(out, figure("days", h.Edges[i]+" to "+h.Edges[i+1]+" "+r.Unit, "1", c, around(c, h.SD), true, false))
		}
	}
	return out
}

func pairFigures(r *privacy.PairRelease) []Figure {
	n := float64(r.Sums.N)
	return []Figure{
		figure("count", "", "1", n, around(n, r.SDs.N), true, false),
		ofFigure("covariance", "", "1", r.Covariance), // of mixed units
		ofFigure("correlation", "", "1", r.Correlation),
		ofFigure("slope", "("+r.Y.Unit+")/("+r.X.Unit+")", "1", r.Slope),
		ofFigure("intercept", "", r.Y.Unit, r.Intercept),
	}
}

func strataFigures(r *privacy.StrataRelease) []Figure {
	var out []Figure
	for _, g := range r.Groups {
		n := float64(g.N)
		out = append(out, figure("count", g.Stratum, "1", n, around(n, g.NSD), true, false), ofFigure("mean", g.Stratum, r.Unit, g.Mean))
	}
	return out
}
