package he

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
)

// personFields are the figures of person-days whose noise is looked at.
var personFields = []struct {
	name string
	kind privacy.Kind
	of   func(privacy.PersonSums) int64
}{
	{"n", privacy.KindN, func(s privacy.PersonSums) int64 { return s.N }},
	{"sum", privacy.KindSum, func(s privacy.PersonSums) int64 { return s.Sum }},
	{"sum of squares", privacy.KindSumSq, func(s privacy.PersonSums) int64 { return s.SumSq }},
	{"within", privacy.KindWithin, func(s privacy.PersonSums) int64 { return s.Within }},
	{"below", privacy.KindOutside, func(s privacy.PersonSums) int64 { return s.Below }},
	{"above", privacy.KindOutside, func(s privacy.PersonSums) int64 { return s.Above }},
	{"low", privacy.KindLow, func(s privacy.PersonSums) int64 { return s.Low }},
	{"high", privacy.KindHigh, func(s privacy.PersonSums) int64 { return s.High }},
	{"bucket 0", privacy.KindBucket, func(s privacy.PersonSums) int64 { return s.Buckets[0] }},
	{"bucket 15", privacy.KindBucket, func(s privacy.PersonSums) int64 { return s.Buckets[15] }},
}

// dayNoise is the noise that one piece adds to what a plan asks, read off its share.
func dayNoise(t testing.TB, p *Params, piece int, query string, plan *privacy.Plan) privacy.PersonSums {
	t.Helper()
	req := request(p, piece, plan.Slot, 1, plan)
	req.Query, req.Coeffs = query, p.Schema().Asked(plan)
	zero := &KeyVector{context: Context{req.Network, req.Epoch}, kind: p.kind, coeffs: req.Coeffs, residues: make([]uint64, 4*len(req.Coeffs))}
	share, err := p.Share(testKeys[piece], req, zero)
	if err != nil {
		t.Fatal(err)
	}
	residues, err := p.unpack(share, len(req.Coeffs))
	if err != nil {
		t.Fatal(err)
	}
	var opened []*big.Int
	for j := range req.Coeffs {
		payload, _ := p.crt.unscale(p.crt.lift(residues[4*j : 4*j+4]))
		opened = append(opened, payload)
	}
	r, err := p.Schema().ReleaseDays(plan.Slot, opened, 1, plan, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	return r.Raw
}

// dayNoises are those of every piece in so many queries, by piece, field and query.
func dayNoises(t *testing.T, p *Params, plan *privacy.Plan, queries int) (out [3][][]int64) {
	t.Helper()
	for piece := range out {
		out[piece] = make([][]int64, len(personFields))
		for query := range queries {
			noise := dayNoise(t, p, piece, fmt.Sprint("query ", query), plan)
			for i, f := range personFields {
				out[piece][i] = append(out[piece][i], f.of(noise))
			}
		}
	}
	return out
}

// TestReleasedNoiseOfPersonDaysIsCalibrated: of each piece at the scale of the plan, of
// all three at three times the variance, and none on what was not asked. A member that
// asks and takes away the noise of its own two pieces is left with the third's, whole;
// and the next query's has nothing to do with it, so that asking again is no more than
// another query that is paid for.
func TestReleasedNoiseOfPersonDaysIsCalibrated(t *testing.T) {
	_, p := dayParams(t)
	for _, c := range []struct {
		want privacy.Want
		rho  uint64
	}{{privacy.WantMean, 100_000}, {privacy.WantAll, 2_000_000}} {
		plan, err := p.Schema().PlanDays(0, c.want, 3, c.rho)
		if err != nil {
			t.Fatal(err)
		}
		const queries = 600
		noise := dayNoises(t, p, plan, queries)
		for i, f := range personFields {
			what := fmt.Sprintf("%s: %s", c.want, f.name)
			if plan.Variance(f.kind) == nil {
				if noise[0][i][0] != 0 {
					t.Errorf("%s was not asked and is opened", what)
				}
				continue
			}
			variance, _ := new(big.Float).SetInt(plan.Variance(f.kind)).Float64()
			all := make([]int64, queries)
			for piece := range noise {
				checkSamples(t, fmt.Sprintf("%s, piece %d", what, piece), noise[piece][i], variance)
				for q, x := range noise[piece][i] {
					all[q] += x
				}
			}
			checkSamples(t, what+", all pieces", all, 3*variance)
			lagged := 0.0
			for q := range all[1:] {
				lagged += float64(all[q]) * float64(all[q+1])
			}
			if math.Abs(lagged) > 4.5*3*variance*math.Sqrt(queries) {
				t.Errorf("%s: the noise of one query tells of the next one's", what)
			}
		}
	}
}
