package privacy

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// GroupRelease is one stratum's part of an answer. N and Sum are over minute
// values in units of the resolution, not centred, with the noise of all pieces;
// they may be negative. Mean is in the metric's unit.
type GroupRelease struct {
	Stratum string  `json:"stratum"`
	N       int64   `json:"n"`
	Sum     int64   `json:"sum"`
	NSD     float64 `json:"n_sd"`
	SumSD   float64 `json:"sum_sd"`
	Mean    Figure  `json:"mean"`
}

// StrataRelease is the answer to a query about a metric by stratum, in the order
// of Schema.Strata.
type StrataRelease struct {
	Metric string `json:"metric"`
	Slot   int    `json:"slot"`
	Unit   string `json:"unit"`
	// Counted is what N counts: minutes, or person-days.
	Counted string         `json:"counted"`
	Groups  []GroupRelease `json:"groups"`
}

// ErrNeedsNoise says that a metric by stratum is never released without privacy
// noise: the count of a small stratum would show the few people in it.
var ErrNeedsNoise = errors.New("a metric by stratum is released with privacy noise only")

// ReleaseStrata turns the opened totals of a metric by stratum into figures, as
// Release does those of a metric. Without a plan it is ErrNeedsNoise.
func (s *Schema) ReleaseStrata(slot int, totals []StratumTotals, plan *Plan, pieces int) (StrataRelease, error) {
	b, err := s.shaped(slot, ShapeStrata)
	if err != nil {
		return StrataRelease{}, err
	}
	if plan == nil {
		return StrataRelease{}, ErrNeedsNoise
	}
	if plan.Slot != slot || pieces < 1 || s.CheckPlan(plan) != nil || len(totals) != len(s.strata) {
		return StrataRelease{}, fmt.Errorf("the plan or the totals are not for %s with noise of at least one piece", b.Key)
	}
	all := whole(int64(pieces))
	vn := mul(all, new(big.Rat).SetInt(plan.Variance(KindN)))
	vs := mul(all, new(big.Rat).SetInt(plan.Variance(KindSum)))
	center := whole(b.x.center)
	r := StrataRelease{Metric: b.x.Key, Slot: slot, Unit: b.x.UCUM, Counted: b.counted()}
	for i, t := range totals {
		g := GroupRelease{
			Stratum: s.strata[i], N: t.N, Sum: t.Sum + b.x.center*t.N,
			NSD: root(vn), SumSD: root(add(vs, mul(center, center, vn))),
		}
		g.Mean = b.x.groupMean(t, vn, vs)
		r.Groups = append(r.Groups, g)
	}
	return r, nil
}

// groupMean is the mean of one stratum: d mean = (ds - mean dn) / n, centred.
func (m *metric) groupMean(t StratumTotals, vn, vs *big.Rat) Figure {
	if t.N <= 0 {
		return Figure{TooNoisy: true}
	}
	n, res := whole(t.N), m.Resolution.Rat()
	mean := new(big.Rat).Quo(whole(t.Sum), n)
	variance := new(big.Rat).Quo(add(vs, mul(mean, mean, vn)), mul(n, n))
	f := newFigure(mul(add(mean, whole(m.center)), res), mul(variance, res, res))
	reach := m.reach()
	f.TooNoisy = weak(n, vn) || z95*f.SD > reach/20
	return f
}

// Text is the release in a few lines for people.
func (r StrataRelease) Text() string {
	var b strings.Builder
	for _, g := range r.Groups {
		fmt.Fprintf(&b, "%-13s %s %s +- %s, mean %s", g.Stratum, r.Counted, Round(float64(g.N), g.NSD), Round(z95*g.NSD, g.NSD), g.Mean.Text())
		if !g.Mean.TooNoisy {
			b.WriteString(" " + r.Unit)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
