package main

import (
	"fmt"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/google/differential-privacy/go/v3/dpagg"
	"github.com/google/differential-privacy/go/v3/noise"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/wearable"
)

// pieces add noise each: three members, two of whom open.
const pieces = 3

// figure is what both sides are asked.
type figure struct {
	name  string
	want  privacy.Want
	exact func(set) float64
	ours  func(privacy.PersonRelease) float64
	// theirs asks Google's library at an epsilon and delta of its own.
	theirs func(s set, epsilon, delta float64) (float64, error)
}

var figures = []figure{
	{
		"mean", privacy.WantMean, set.mean,
		func(r privacy.PersonRelease) float64 { return r.Mean.Value }, googleMean,
	},
	{
		"spread", privacy.WantMean | privacy.WantSpread, set.spread,
		func(r privacy.PersonRelease) float64 { return r.Spread.Value }, googleSpread,
	},
	{
		"within", privacy.WantWithin, set.within,
		func(r privacy.PersonRelease) float64 { return r.Within.Value }, googleWithin,
	},
	{
		"median", privacy.WantDistribution, set.median,
		func(r privacy.PersonRelease) float64 { return median(r) }, googleMedian,
	},
}

func median(r privacy.PersonRelease) float64 {
	if r.Histogram.Median == nil {
		return math.NaN()
	}
	return r.Histogram.Median.Value
}

func (s set) value(d wearable.PersonDay) float64 { return s.Value(d.Mean).Float64() }

func (s set) values() []float64 {
	var v []float64
	for _, d := range s.days {
		v = append(v, s.value(d))
	}
	slices.Sort(v)
	return v
}

func (s set) mean() float64 {
	var sum float64
	for _, v := range s.values() {
		sum += v
	}
	return sum / float64(len(s.days))
}

func (s set) spread() float64 {
	var sum float64
	for _, v := range s.values() {
		sum += (v - s.mean()) * (v - s.mean())
	}
	return math.Sqrt(sum / float64(len(s.days)))
}

func (s set) within() float64 {
	var sum float64
	for _, d := range s.days {
		sum += float64(d.Within) / 1000
	}
	return sum / float64(len(s.days))
}

func (s set) median() float64 {
	v := s.values()
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// bucket is how wide the histogram's bucket of a value is.
func (s set) bucket(v float64) float64 {
	for i := range wearable.Buckets {
		low, high := s.Value(s.person.Edges[i]).Float64(), s.Value(s.person.Edges[i+1]).Float64()
		if v < high || i == wearable.Buckets-1 {
			return high - low
		}
	}
	return 0
}

// sealedSum is the sum of the day rows of the set, unsealed: what opening gives before
// noise.
func (s set) sealedSum(schema *privacy.Schema) ([]privacy.Payload, error) {
	sum := make([]privacy.Payload, schema.Coefficients())
	for _, d := range s.days {
		row, err := schema.PersonRow(s.Slot, d)
		if err != nil {
			return nil, err
		}
		for i := range sum {
			sum[i] = sum[i].Plus(row[i])
		}
	}
	return sum, nil
}

// release answers a plan about the sum as an institution would, noise of all pieces
// included.
func (s set) release(schema *privacy.Schema, sum []privacy.Payload, plan *privacy.Plan, r *rand.ChaCha8) (privacy.PersonRelease, error) {
	asked := schema.Asked(plan)
	opened := make([]*big.Int, len(asked))
	total := make([]privacy.Payload, len(asked))
	for i, c := range asked {
		total[i] = sum[c]
	}
	for range pieces {
		noise, err := schema.Noise(plan, asked, func(privacy.Field) io.Reader { return r })
		if err != nil {
			return privacy.PersonRelease{}, err
		}
		for i := range total {
			total[i] = total[i].Plus(noise[i])
		}
	}
	for i := range total {
		opened[i] = total[i].Big()
	}
	return schema.ReleaseDays(s.Slot, opened, int64(len(s.days)), plan, 0, pieces)
}

// rmse is the root of the mean squared error of n tries.
func rmse(n int, try func() (float64, error)) (float64, error) {
	var sum float64
	for range n {
		e, err := try()
		if err != nil {
			return 0, err
		}
		sum += e * e
	}
	return math.Sqrt(sum / float64(n)), nil
}

// both measures a figure on either side; theirs may spend epsilon and delta, ours rho.
func (s set) both(f figure, runs int, rho uint64, epsilon, delta float64, seed uint64) (ours, theirs float64, err error) {
	schema := privacy.V3().Day()
	plan, err := schema.PlanDays(s.Slot, f.want, 1, rho)
	if err != nil {
		return 0, 0, err
	}
	sum, err := s.sealedSum(schema)
	if err != nil {
		return 0, 0, err
	}
	r := rand.NewChaCha8([32]byte{byte(seed), byte(s.Slot), f.name[0]})
	truth := f.exact(s)
	ours, err = rmse(runs, func() (float64, error) {
		got, err := s.release(schema, sum, plan, r)
		if err != nil {
			return 0, err
		}
		return f.ours(got) - truth, nil
	})
	if err != nil {
		return 0, 0, err
	}
	theirs, err = rmse(runs, func() (float64, error) {
		got, err := f.theirs(s, epsilon, delta)
		return got - truth, err
	})
	return ours, theirs, err
}

// ideal is the error of the mean for a curator who sees every reading: one Gaussian
// noise, split as ours, with what exact accounting allows (gaussianRho).
func (s set) ideal(runs int, rho float64) float64 {
	r := rand.New(rand.NewPCG(1, uint64(s.Slot)))
	half := float64(max(s.person.High-s.person.Centre, s.person.Centre-s.person.Low))
	var sum float64
	for _, d := range s.days {
		sum += float64(d.Mean - s.person.Centre)
	}
	n := float64(len(s.days))
	e, _ := rmse(runs, func() (float64, error) {
		count := min(max(n+r.NormFloat64()*math.Sqrt(6/(2*rho)), 1), n)
		noisy := sum + r.NormFloat64()*half*math.Sqrt(6./5/(2*rho))
		return (noisy/count - sum/n) * s.Resolution.Float64(), nil
	})
	return e
}

// gaussianRho is the rho of Gaussian noise whose exact delta at epsilon is ours: Balle
// and Wang 2018 (arXiv:1805.06530, theorem 8). Several Gaussian noises are one.
func gaussianRho(epsilon float64) float64 {
	phi := func(x float64) float64 { return 0.5 * math.Erfc(-x/math.Sqrt2) }
	low, high := 1e-6, 50.0
	for range 100 {
		mu := (low + high) / 2
		if phi(mu/2-epsilon/mu)-math.Exp(epsilon)*phi(-mu/2-epsilon/mu) > delta {
			high = mu
		} else {
			low = mu
		}
	}
	return low * low / 2
}

// bars are what ratios to the library's error must not exceed: of figures asked alone,
// and of means over a study.
var bars = []struct {
	figure string
	most   float64
}{{"mean", 1.35}, {"spread", 1.1}, {"within", 1.5}, {"median", 1.5}, {study, 0.7}}

const study = "mean in a study"

// worst is the largest ratio of each figure so far.
type worst map[string]float64

func (r worst) note(figure string, ratio float64) { r[figure] = max(r[figure], ratio) }

// verdict says whether every ratio is within its bar.
func (r worst) verdict(w io.Writer) error {
	fmt.Fprintln(w, "\n## Verdict\n\n| figure | worst ratio | bar |\n|---|---|---|")
	var missed []string
	for _, b := range bars {
		fmt.Fprintf(w, "| %s | %.2f | %g |\n", b.figure, r[b.figure], b.most)
		if r[b.figure] > b.most {
			missed = append(missed, b.figure)
		}
	}
	if missed != nil {
		return fmt.Errorf("missed: %s", strings.Join(missed, ", "))
	}
	return nil
}

// compareAlone asks each figure alone. A median that is off by less than a bucket is
// as good as a histogram can have it, whatever the ratio.
func compareAlone(w io.Writer, sets []set, figures []figure, runs int, epsilon float64, r worst) error {
	rho := privacy.RhoFor(epsilon, delta)
	fmt.Fprintf(w, "## Each figure alone: epsilon %g, delta %g (rho %.4f), %d releases, root mean square error\n\n", epsilon, delta, float64(rho)/1e6, runs)
	fmt.Fprintln(w, "| metric | people | figure | exact | ours | Google | ratio | ideal curator |\n|---|---|---|---|---|---|---|---|")
	for _, s := range sets {
		for _, f := range figures {
			ours, theirs, err := s.both(f, runs, rho, epsilon, delta, 1)
			if err != nil {
				return err
			}
			note := ""
			switch {
			case f.name == "mean":
				note = fmt.Sprintf("%.3g", s.ideal(runs, gaussianRho(epsilon)))
			case f.name == "median" && ours < s.bucket(f.exact(s)):
				note = "below a bucket"
			}
			if note != "below a bucket" {
				r.note(f.name, ours/theirs)
			}
			fmt.Fprintf(w, "| %s | %d | %s | %.4g | %.3g | %.3g | **%.2f** | %s |\n", s.Key, len(s.days), f.name, f.exact(s), ours, theirs, ours/theirs, note)
		}
	}
	fmt.Fprintln(w)
	return nil
}

// compareStudy asks the mean of every metric at one epsilon and delta in all. Losses
// in rho add up; the library composes by adding epsilons and deltas.
func compareStudy(w io.Writer, sets []set, runs int, epsilon float64, r worst) error {
	k := float64(len(sets))
	rho := uint64(float64(privacy.RhoFor(epsilon, delta)) / k)
	fmt.Fprintf(w, "## A study of %d means: epsilon %g, delta %g in all (ours: rho %.4f a metric; Google: epsilon %.3g a metric), %d releases\n\n", len(sets), epsilon, delta, float64(rho)/1e6, epsilon/k, runs)
	fmt.Fprintln(w, "| metric | people | exact | ours | Google | ratio | ideal curator |\n|---|---|---|---|---|---|---|")
	for _, s := range sets {
		f := figures[0]
		ours, theirs, err := s.both(f, runs, rho, epsilon/k, delta/k, 2)
		if err != nil {
			return err
		}
		r.note(study, ours/theirs)
		fmt.Fprintf(w, "| %s | %d | %.4g | %.3g | %.3g | **%.2f** | %.3g |\n", s.Key, len(s.days), f.exact(s), ours, theirs, ours/theirs, s.ideal(runs, gaussianRho(epsilon)/k))
	}
	return nil
}

// bounded is what the library is told of one value a person.
type bounded struct{ low, high float64 }

func (s set) bounds() bounded {
	return bounded{s.Value(s.person.Low).Float64(), s.Value(s.person.High).Float64()}
}

// feed gives the library one value a person.
func feed(a interface{ Add(float64) error }, days []wearable.PersonDay, value func(wearable.PersonDay) float64) error {
	for _, d := range days {
		if err := a.Add(value(d)); err != nil {
			return err
		}
	}
	return nil
}

func googleMean(s set, epsilon, delta float64) (float64, error) {
	b := s.bounds()
	return libraryMean(b, epsilon, delta, s.days, s.value)
}

func googleWithin(s set, epsilon, delta float64) (float64, error) {
	return libraryMean(bounded{0, 1}, epsilon, delta, s.days, func(d wearable.PersonDay) float64 { return float64(d.Within) / 1000 })
}

func libraryMean(b bounded, epsilon, delta float64, days []wearable.PersonDay, value func(wearable.PersonDay) float64) (float64, error) {
	a, err := dpagg.NewBoundedMean(&dpagg.BoundedMeanOptions{
		Epsilon: epsilon, Delta: delta, MaxPartitionsContributed: 1, MaxContributionsPerPartition: 1, Lower: b.low, Upper: b.high, Noise: noise.Gaussian(),
	})
	if err != nil {
		return 0, err
	}
	if err := feed(a, days, value); err != nil {
		return 0, err
	}
	return a.Result()
}

func googleSpread(s set, epsilon, delta float64) (float64, error) {
	b := s.bounds()
	a, err := dpagg.NewBoundedStandardDeviation(&dpagg.BoundedStandardDeviationOptions{
		Epsilon: epsilon, Delta: delta, MaxPartitionsContributed: 1, MaxContributionsPerPartition: 1, Lower: b.low, Upper: b.high, Noise: noise.Gaussian(),
	})
	if err != nil {
		return 0, err
	}
	if err := feed(a, s.days, s.value); err != nil {
		return 0, err
	}
	return a.Result()
}

func googleMedian(s set, epsilon, delta float64) (float64, error) {
	b := s.bounds()
	a, err := dpagg.NewBoundedQuantiles(&dpagg.BoundedQuantilesOptions{
		Epsilon: epsilon, Delta: delta, MaxPartitionsContributed: 1, MaxContributionsPerPartition: 1, Lower: b.low, Upper: b.high, Noise: noise.Gaussian(),
	})
	if err != nil {
		return 0, err
	}
	if err := feed(a, s.days, s.value); err != nil {
		return 0, err
	}
	return a.Result(0.5)
}

// byNeed says what it costs to have every mean to the bound that is worth printing.
func byNeed(w io.Writer, sets []set) error {
	schema := privacy.V3().Day()
	fmt.Fprintln(w, "\n## Every mean to the bound that is worth printing\n\n| metric | people | rho | promised half interval | worth an exact answer of |\n|---|---|---|---|---|")
	var all uint64
	for _, s := range sets {
		people := int64(len(s.days))
		rho, err := schema.RhoByNeed(s.Slot, privacy.WantMean, people, 1, 0, pieces)
		if err != nil {
			return err
		}
		f, err := schema.Forecast(s.Slot, privacy.WantMean, people, 1, rho, pieces)
		if err != nil {
			return err
		}
		all += rho
		fmt.Fprintf(w, "| %s | %d | %.4f | %.3g %s | %.0f people |\n", s.Key, people, float64(rho)/1e6, f.Half, f.Unit, f.WorthOf)
	}
	fmt.Fprintf(w, "\nin all rho %.3f, epsilon %.2f at delta %g\n", float64(all)/1e6, privacy.Epsilon(all, delta), delta)
	return nil
}
