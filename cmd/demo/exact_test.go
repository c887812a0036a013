package demo

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/cmd/verify"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/recording"
)

// expected is one metric's statistics over minutes, computed from the CSV below
// with none of the product's grid, sealing or release code.
type expected struct {
	n, sum, sumSq big.Int
	counts        [16]int64
	subjects      map[string]bool
}

// cell is one minute of one metric of one subject.
type cell struct {
	subject, metric string
	minute          string
}

// gridFromCSV applies the minute-grid rule to the CSV text itself: per subject,
// metric and minute floor(t/60) the arithmetic mean of the in-range samples,
// rounded half away from zero to the resolution, in units of it. It also returns
// who has samples of each metric.
func gridFromCSV(t *testing.T, dir string) (map[cell]*big.Int, map[string]map[string]bool) {
	t.Helper()
	sums, counts := map[cell]*big.Rat{}, map[cell]int64{}
	subjects := map[string]map[string]bool{}
	table := metricTable(t)
	for _, line := range csvLines(t, dir) {
		f := strings.Split(line, ",")
		key := map[string]string{"nibp_sys": "bp_systolic", "nibp_dia": "bp_diastolic"}[f[2]]
		if key == "" {
			key = f[2]
		}
		m, ok := table[key]
		if !ok {
			continue
		}
		if subjects[key] == nil {
			subjects[key] = map[string]bool{}
		}
		subjects[key][f[0]] = true
		v := rat(t, f[3])
		if v.Cmp(rat(t, m.Min)) < 0 || v.Cmp(rat(t, m.Max)) > 0 {
			continue
		}
		seconds := rat(t, f[1])
		minutes := new(big.Rat).Quo(seconds, big.NewRat(60, 1))
		minute := new(big.Int).Div(minutes.Num(), minutes.Denom()) // Euclidean division: floor
		c := cell{f[0], key, minute.String()}
		if sums[c] == nil {
			sums[c] = new(big.Rat)
		}
		sums[c].Add(sums[c], v)
		counts[c]++
	}
	grid := map[cell]*big.Int{}
	for c, sum := range sums {
		mean := sum.Quo(sum, big.NewRat(counts[c], 1))
		grid[c] = roundAway(mean.Quo(mean, rat(t, table[c.metric].Resolution)))
	}
	return grid, subjects
}

// fromCSV adds up each metric's minutes.
func fromCSV(t *testing.T, dir string) map[string]*expected {
	t.Helper()
	out := map[string]*expected{}
	grid, subjects := gridFromCSV(t, dir)
	for key, who := range subjects {
		out[key] = &expected{subjects: who}
	}
	table := metricTable(t)
	for c, x := range grid {
		e := out[c.metric]
		e.n.Add(&e.n, big.NewInt(1))
		e.sum.Add(&e.sum, x)
		e.sumSq.Add(&e.sumSq, new(big.Int).Mul(x, x))
		e.counts[bucket(t, table[c.metric], x)]++
	}
	return out
}

type tableEntry struct {
	Key, UCUM, Resolution, Min, Max string
	Edges                           []string
	Person                          struct{ Min, Max, Least string }
}

func metricTable(t *testing.T) map[string]tableEntry {
	t.Helper()
	b, err := wearable.MetricsJSON()
	if err != nil {
		t.Fatal(err)
	}
	var list []tableEntry
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	out := map[string]tableEntry{}
	for _, m := range list {
		out[m.Key] = m
	}
	return out
}

// roundAway rounds half away from zero: floor(|x| + 1/2) with the sign of x.
func roundAway(x *big.Rat) *big.Int {
	a := new(big.Rat).Abs(x)
	a.Add(a, big.NewRat(1, 2))
	n := new(big.Int).Quo(a.Num(), a.Denom())
	if x.Sign() < 0 {
		n.Neg(n)
	}
	return n
}

func bucket(t *testing.T, m tableEntry, x *big.Int) int {
	v := new(big.Rat).Mul(new(big.Rat).SetInt(x), rat(t, m.Resolution))
	for i := range 16 {
		if v.Cmp(rat(t, m.Edges[i+1])) < 0 || i == 15 {
			return i
		}
	}
	return -1
}

func rat(t *testing.T, s string) *big.Rat {
	t.Helper()
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		t.Fatalf("%q is not a number", s)
	}
	return r
}

func csvLines(t *testing.T, dir string) []string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var r io.Reader = bytes.NewReader(b)
		if strings.HasSuffix(path, ".gz") {
			if r, err = gzip.NewReader(r); err != nil {
				return err
			}
		}
		s := bufio.NewScanner(r)
		s.Scan() // header
		for s.Scan() {
			lines = append(lines, s.Text())
		}
		return s.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// runDemo runs the demo to its report and returns it with what was printed and
// the world, which is closed: what it held in memory can still be looked at.
func runDemo(t *testing.T, o Options) (*Report, string, *world) {
	t.Helper()
	var out bytes.Buffer
	o.Once, o.Out, o.Keys = true, &out, sharedKeys(t)
	if o.State == "" {
		o.State = filepath.Join(t.TempDir(), "state")
	}
	o.Report = filepath.Join(t.TempDir(), "report.json")
	worlds, _, err := run(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	b, err := os.ReadFile(o.Report)
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return &r, out.String(), worlds[0]
}

// sharedKeys is where the tests of this package keep proving keys between runs.
func sharedKeys(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		return t.TempDir()
	}
	return filepath.Join(cache, "vitalveil", keysName)
}

// compareExact holds every released figure against the computation from the CSV.
func compareExact(t *testing.T, r *Report, want map[string]*expected) {
	t.Helper()
	for key, e := range want {
		got, ok := r.Metrics[key]
		if len(e.subjects) < 11 {
			if few := r.Refused[key]; ok || few.Subjects != len(e.subjects) || few.Minimum != 11 {
				t.Errorf("%s has %d subjects: want a refusal, got %+v", key, len(e.subjects), few)
			}
			continue
		}
		if !ok {
			t.Errorf("%s is missing", key)
			continue
		}
		compareMetric(t, key, got, e)
	}
	for key := range r.Metrics {
		if want[key] == nil {
			t.Errorf("%s was answered but is not in the CSV", key)
		}
	}
}

func compareMetric(t *testing.T, key string, got MetricReport, e *expected) {
	t.Helper()
	if got.N.String() != e.n.String() || got.Sum.String() != e.sum.String() || got.SumSq.String() != e.sumSq.String() {
		t.Errorf("%s: n %s, sum %s, sum_sq %s; want %s, %s, %s", key, got.N, got.Sum, got.SumSq, &e.n, &e.sum, &e.sumSq)
	}
	if got.Cohort != len(e.subjects) {
		t.Errorf("%s: cohort %d, want %d", key, got.Cohort, len(e.subjects))
	}
	for i, c := range got.Histogram.Counts {
		if c.String() != fmt.Sprint(e.counts[i]) {
			t.Errorf("%s: bucket %d has %s, want %d", key, i, c, e.counts[i])
		}
	}
	m := metricTable(t)[key]
	mean := new(big.Rat).SetFrac(&e.sum, &e.n)
	second := new(big.Rat).SetFrac(&e.sumSq, &e.n)
	res := rat(t, m.Resolution)
	variance := new(big.Rat).Sub(second, new(big.Rat).Mul(mean, mean))
	variance.Mul(variance, res).Mul(variance, res)
	near(t, key+" mean", got.Mean, mean.Mul(mean, res))
	near(t, key+" variance", got.Variance, variance)
}

func near(t *testing.T, what string, got *float64, want *big.Rat) {
	t.Helper()
	w, _ := want.Float64()
	if got == nil {
		t.Errorf("%s is missing, want %v", what, w)
	} else if math.Abs(*got-w) > 1e-12*math.Max(1, math.Abs(w)) {
		t.Errorf("%s: %v, want %v", what, *got, w)
	}
}

// madeUp writes 12 people with whatever is awkward: fractional and negative
// times, several samples in a minute, halves to round, values out of range and
// at the edges, a foreign metric, an alias, a metric that 3 people have.
func madeUp(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for p := range 12 {
		var b strings.Builder
		b.WriteString(head)
		row := func(sec, metric, value, unit string) {
			fmt.Fprintf(&b, "p%02d,%s,%s,%s,%s\n", p, sec, metric, value, unit)
		}
		row("-90.5", "heart_rate", fmt.Sprint(60+p), "/min")
		row("-0.25", "heart_rate", "61.5", "/min")
		row("0", "heart_rate", "20", "/min")
		row("30", "heart_rate", "19.99", "/min")
		row("59.999", "heart_rate", "220", "/min")
		row("60", "heart_rate", "0", "/min")
		row("61", "eda", "0.4", "uS")
		for i := range 40 {
			row(fmt.Sprint(3600+i*97), "heart_rate", fmt.Sprint(55+(i*7+p*3)%90), "/min")
			row(fmt.Sprint(3600+i*97), "spo2", fmt.Sprintf("%d.%d", 90+(i+p)%9, i%10), "%")
			row(fmt.Sprint(3600+i*97), "pulse_rate", fmt.Sprint(50+(i*5+p)%80), "/min")
		}
		row("5000", "heart_rate", planted, "/min")
		row("7300", "nibp_sys", "120", "mm[Hg]")
		row("7300", "nibp_dia", "80.5", "mm[Hg]")
		row("90000", "body_temp", "36.65", "Cel")
		row("90001", "skin_temp", "-17.8", "Cel")
		row("90060", "skin_temp", "33.05", "Cel")
		if p < 3 {
			row("90000", "glucose", "99.5", "mg/dL")
		}
		writeFile(t, dir, fmt.Sprintf("p%02d.csv", p), b.String())
	}
	return dir
}

func TestExactAnswersEqualAnIndependentComputation(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a whole demo")
	}
	dir := madeUp(t)
	r, out, w := runDemo(t, Options{Replay: dir, Exact: true})
	compareExact(t, r, fromCSV(t, dir))
	src, err := recording.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	comparePeople(t, r, src, dir)
	if r.Subjects != 12 || len(r.Ignored) != 1 || r.Ignored[0] != "eda" {
		t.Errorf("subjects %d, ignored %v", r.Subjects, r.Ignored)
	}
	checkPredicates(t, r)
	checkParties(t, out)
	checkNoLeak(t, w)
	checkConsentsOffChain(t, w)
	checkVerifies(t, w.dir)
}

// Readings that reach the bridge when their hours are sealed are in the answers
// all the same, each once.
func TestExactAnswersHaveWhatCameLate(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a whole demo")
	}
	dir := madeUp(t)
	r, _, w := runDemo(t, Options{Replay: dir, Exact: true, Stored: true, Unit: UnitMinute})
	compareExact(t, r, fromCSV(t, dir))
	corrections := 0
	for _, d := range w.index.Devices(0) {
		receipts, err := w.index.Receipts(d.ID, record.KindRow, -1<<40, 1<<40)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range receipts {
			corrections += int(min(r.Pointer.Pointer.Correction, 1))
		}
	}
	if corrections < 12 {
		t.Errorf("%d corrections are available, want some of each subject", corrections)
	}
	// Claims are about day roots, which were made before: what is late is not in them.
	var out bytes.Buffer
	if err := verify.Check(t.Context(), w.dir, verify.Tip{}, &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestExactAnswersOnRecordedVitals(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole demos")
	}
	sets := []string{"bidmc"}
	if os.Getenv("VITALVEIL_SOAK") != "" {
		sets = append(sets, "icu2012", "wesd", "bigideas", "fitbit")
	}
	for _, set := range sets {
		t.Run(set, func(t *testing.T) {
			dir := filepath.Join("..", "..", "..", "shared", "data", "vitals", set)
			src, err := recording.Load(dir)
			if err != nil {
				t.Skipf("SKIPPED: recorded vitals are not beside this checkout (%v)", err)
			}
			r, _, _ := runDemo(t, Options{Replay: dir, Exact: true})
			compareExact(t, r, fromCSV(t, dir))
			comparePeople(t, r, src, dir)
			checkPredicates(t, r)
			t.Logf("%d subjects, %d ms, %d MB, slowest query %d ms", r.Subjects, r.Cost.TotalMillis, r.Cost.PeakRSSMB, r.Cost.QueryMillis)
		})
	}
}

// checkPredicates wants one claim attested and one declined.
func checkPredicates(t *testing.T, r *Report) {
	t.Helper()
	var outcomes []string
	for _, p := range r.Predicates {
		outcomes = append(outcomes, p.Outcome)
		if p.Tx == "" || p.Text == "" {
			t.Errorf("predicate without transaction or text: %+v", p)
		}
	}
	if strings.Join(outcomes, " ") != "attested declined" {
		t.Errorf("predicates %v, want one attested and one declined", outcomes)
	}
}

const head = "subject,t_seconds,metric,value,unit\n"

func writeFile(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
