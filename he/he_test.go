package he

import (
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

var testContext = Context{Network: "test-network", Epoch: 0}

// defaultParams makes the default profile among 2 of 3 members.
func defaultParams(t testing.TB) *Params {
	t.Helper()
	sharing, err := NewSharing(3, 2)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(DefaultProfile(), privacy.V1(), sharing)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// testDevice is a device whose seeds the test knows.
type testDevice struct {
	id    record.ID
	seeds []Seed
	key   *DeviceKey
}

func newTestDevice(t testing.TB, p *Params, c Context) *testDevice {
	t.Helper()
	d := &testDevice{id: record.RandomID()}
	for range p.Sharing().Pieces() {
		d.seeds = append(d.seeds, NewSeed())
	}
	var err error
	if d.key, err = p.NewDeviceKey(c, d.id, d.seeds); err != nil {
		t.Fatal(err)
	}
	return d
}

// seal seals one window or fails the test.
func (d *testDevice) seal(t testing.TB, p *Params, c Context, w Window, payloads []privacy.Payload) []byte {
	t.Helper()
	row, err := p.Seal(c, d.key, w, payloads)
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// keySum adds up one piece of several devices.
func keySum(t testing.TB, p *Params, c Context, piece int, devices []*testDevice) KeySum {
	t.Helper()
	sum := p.NewKeySum()
	for _, d := range devices {
		if err := sum.Add(p.Expand(c, d.id, piece, d.seeds[piece])); err != nil {
			t.Fatal(err)
		}
	}
	return sum
}

// randomCodes draws an hour of readings anywhere in the metric's range; about
// one in ten hours is at the very bounds and one in ten is empty.
func randomCodes(r *rand.Rand, m wearable.Metric) []uint16 {
	codes := make([]uint16, privacy.MinutesPerRow)
	kind := r.IntN(10)
	for i := range codes {
		switch {
		case kind == 0:
			codes[i] = m.MaxCode()
		case kind == 1:
			codes[i] = 1
		case kind == 2:
		case r.IntN(8) > 0:
			codes[i] = uint16(1 + r.IntN(int(m.MaxCode())))
		}
	}
	return codes
}

// randomRow draws the statistics of all metrics and packs them.
func randomRow(t testing.TB, s *privacy.Schema, r *rand.Rand) ([]privacy.Payload, map[int]privacy.HourStats) {
	t.Helper()
	stats := map[int]privacy.HourStats{}
	for _, m := range wearable.Vitals() {
		h, err := s.Stats(m, randomCodes(r, m))
		if err != nil {
			t.Fatal(err)
		}
		stats[m.Slot] = h
	}
	row, err := s.Row(stats)
	if err != nil {
		t.Fatal(err)
	}
	return row, stats
}

// accumulate adds b to a.
func accumulate(a *privacy.Totals, b privacy.HourStats) {
	a.N += b.N
	a.Sum += b.Sum
	a.SumSq += b.SumSq
	for i, c := range b.Buckets {
		a.Buckets[i] += c
	}
}

// smallRow is a row whose heart rate had n readings with a centred sum of sum.
func smallRow(t testing.TB, p *Params, n, sum int64) []privacy.Payload {
	t.Helper()
	h := privacy.HourStats{N: n, Sum: sum, SumSq: 600_000}
	h.Buckets[3] = n
	h.SumSq = min(h.SumSq, n*100*100)
	row, err := p.Schema().Row(map[int]privacy.HourStats{0: h})
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// TestSealedRowsOpenToTheExactSums: several hundred devices seal random hours of
// all metrics; some hours of some devices are absent. Each metric opens to what
// the plain data add up to, with the shares of any holders.
func TestSealedRowsOpenToTheExactSums(t *testing.T) {
	p := defaultParams(t)
	r := rand.New(rand.NewPCG(1, 2))
	windows := []Window{{482136, 0}, {482137, 0}, {-3, 0}}
	devices := make([]*testDevice, 300)
	rows := map[Window][][]byte{}
	present := map[Window][]*testDevice{}
	want := map[int]*privacy.Totals{}
	for slot := range p.Schema().Slots() {
		want[slot] = &privacy.Totals{}
	}
	for i := range devices {
		devices[i] = newTestDevice(t, p, testContext)
		for _, w := range windows {
			payloads, stats := randomRow(t, p.Schema(), r)
			row := devices[i].seal(t, p, testContext, w, payloads)
			if err := p.CheckRow(row); err != nil {
				t.Fatal(err)
			}
			if r.IntN(5) == 0 {
				continue // sealed, but not available
			}
			rows[w] = append(rows[w], row)
			present[w] = append(present[w], devices[i])
			for slot, h := range stats {
				accumulate(want[slot], h)
			}
		}
	}
	groups := make([][]KeyGroup, p.Sharing().Pieces())
	for piece := range groups {
		for _, w := range windows {
			groups[piece] = append(groups[piece], KeyGroup{[]Window{w}, keySum(t, p, testContext, piece, present[w])})
		}
	}
	var all [][]byte
	for _, w := range windows {
		all = append(all, rows[w]...)
	}
	for slot := range p.Schema().Slots() {
		sum := sumOf(t, p, slot, all)
		opened, err := p.Open(sum, allShares(t, p, slot, groups, sum.Rows(), nil))
		if err != nil {
			t.Fatal(err)
		}
		if got := decode(t, p, slot, opened); got != *want[slot] {
			t.Errorf("slot %d opens to %+v, the data add up to %+v", slot, got, *want[slot])
		}
	}
}

// sumOf adds rows on the coefficients of one metric.
func sumOf(t testing.TB, p *Params, slot int, rows [][]byte) *Sum {
	t.Helper()
	sum, err := p.NewSum(p.Schema().MetricCoefficients(slot))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if err := sum.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	return sum
}

// allShares makes one share of each piece; groups are by piece.
func allShares(t testing.TB, p *Params, slot int, groups [][]KeyGroup, rows int64, plan *privacy.Plan) map[int][]byte {
	t.Helper()
	shares := map[int][]byte{}
	for piece := range groups {
		shares[piece] = shareOf(t, p, piece, slot, groups[piece], rows, plan)
	}
	return shares
}

// groupsOf puts all devices with all windows into one group, by piece.
func groupsOf(t testing.TB, p *Params, devices []*testDevice, windows ...Window) [][]KeyGroup {
	t.Helper()
	groups := make([][]KeyGroup, p.Sharing().Pieces())
	for piece := range groups {
		groups[piece] = []KeyGroup{{windows, keySum(t, p, testContext, piece, devices)}}
	}
	return groups
}

// testKeys are the PRF keys of the pieces.
var testKeys = []PieceKey{{1}, {2}, {3}}

func shareOf(t testing.TB, p *Params, piece, slot int, groups []KeyGroup, rows int64, plan *privacy.Plan) []byte {
	t.Helper()
	coeffs := p.Schema().MetricCoefficients(slot)
	v, err := p.KeyProduct(testContext, coeffs, groups)
	if err != nil {
		t.Fatal(err)
	}
	share, err := p.Share(testKeys[piece], request(p, piece, slot, rows, plan), v)
	if err != nil {
		t.Fatal(err)
	}
	return share
}

func request(p *Params, piece, slot int, rows int64, plan *privacy.Plan) ShareRequest {
	return ShareRequest{
		Network: testContext.Network, Epoch: testContext.Epoch, Query: "tx-1", Piece: piece,
		CohortRoot: record.SumID([]byte("cohort")), Slot: slot, Coeffs: p.Schema().MetricCoefficients(slot),
		Plan: plan, Rows: rows,
	}
}

func decode(t testing.TB, p *Params, slot int, opened []*big.Int) privacy.Totals {
	t.Helper()
	totals, err := p.Schema().Decode(slot, opened)
	if err != nil {
		t.Fatal(err)
	}
	return totals
}

// TestNoiseOfAllPiecesReachesTheTotals: what opens with a plan is the sum plus the
// noise of every piece, and that noise has the size that the plan says.
func TestNoiseOfAllPiecesReachesTheTotals(t *testing.T) {
	p := defaultParams(t)
	d := newTestDevice(t, p, testContext)
	w := Window{Hour: 7}
	row := d.seal(t, p, testContext, w, smallRow(t, p, 60, -1234))
	plan, err := p.Schema().Plan(0, 24, 660_000)
	if err != nil {
		t.Fatal(err)
	}
	sum := sumOf(t, p, 0, [][]byte{row})
	opened, err := p.Open(sum, allShares(t, p, 0, groupsOf(t, p, []*testDevice{d}, w), 1, plan))
	if err != nil {
		t.Fatal(err)
	}
	got := decode(t, p, 0, opened)
	figures := map[privacy.Kind]int64{privacy.KindN: got.N - 60, privacy.KindSum: got.Sum + 1234, privacy.KindSumSq: got.SumSq - 600_000, privacy.KindBucket: got.Buckets[3] - 60}
	for kind, noise := range figures {
		limit := new(big.Int).Sqrt(new(big.Int).Mul(plan.Variance(kind), big.NewInt(3)))
		if noise == 0 || big.NewInt(noise).CmpAbs(limit.Mul(limit, big.NewInt(6))) > 0 {
			t.Errorf("noise of kind %d is %d, six standard deviations are %s", kind, noise, limit)
		}
	}
	release, err := p.Schema().Release(0, got, plan, 3)
	if err != nil {
		t.Fatal(err)
	}
	if !release.MeanTooNoisy {
		t.Error("one row with noise must be marked as too noisy")
	}
}

// TestAnyGroupingOfACohortOpensTheSame: by window, by device or all at once, the
// product of keys and windows is one.
func TestAnyGroupingOfACohortOpensTheSame(t *testing.T) {
	p := defaultParams(t)
	devices := []*testDevice{newTestDevice(t, p, testContext), newTestDevice(t, p, testContext)}
	windows := []Window{{1, 0}, {2, 0}, {2, 1}}
	coeffs := p.Schema().MetricCoefficients(4)
	vector := func(groups ...KeyGroup) []uint64 {
		v, err := p.KeyProduct(testContext, coeffs, groups)
		if err != nil {
			t.Fatal(err)
		}
		return v.residues
	}
	both := keySum(t, p, testContext, 1, devices)
	want := vector(KeyGroup{windows, both})
	byWindow := vector(KeyGroup{windows[:1], both}, KeyGroup{windows[1:2], both}, KeyGroup{windows[2:], both})
	byDevice := vector(KeyGroup{windows, keySum(t, p, testContext, 1, devices[:1])}, KeyGroup{windows, keySum(t, p, testContext, 1, devices[1:])})
	if !slices.Equal(want, byWindow) || !slices.Equal(want, byDevice) {
		t.Error("the key product depends on how the cohort is grouped")
	}
	if err := both.Sub(p.Expand(testContext, devices[1].id, 1, devices[1].seeds[1])); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(both, keySum(t, p, testContext, 1, devices[:1])) {
		t.Error("taking a device out of a key sum does not give the sum of the others")
	}
}

// TestSumsMergeAndRollUp: sums of sums open like sums of rows, also past the
// number of rows at which residues are reduced.
func TestSumsMergeAndRollUp(t *testing.T) {
	p := defaultParams(t)
	d := newTestDevice(t, p, testContext)
	row := d.seal(t, p, testContext, Window{Hour: 1}, smallRow(t, p, 7, 300))
	const times = 5000
	parts := []*Sum{sumOf(t, p, 0, nil), sumOf(t, p, 0, nil)}
	for i := range times {
		if err := parts[i%2].Add(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := parts[0].Merge(parts[1]); err != nil {
		t.Fatal(err)
	}
	groups := groupsOf(t, p, []*testDevice{d}, Window{Hour: 1})
	for piece := range groups {
		key := keySum(t, p, testContext, piece, []*testDevice{d})
		for i := range key {
			key[i] *= times
		}
		groups[piece][0].Secret = key
	}
	opened, err := p.Open(parts[0], allShares(t, p, 0, groups, times, nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := decode(t, p, 0, opened); got.N != 7*times || got.Sum != 300*times {
		t.Errorf("the merged sum opens to n %d, sum %d", got.N, got.Sum)
	}
}

// TestWideProfileSealsAndOpens: the same, with a larger consortium.
func TestWideProfileSealsAndOpens(t *testing.T) {
	sharing, err := NewSharing(5, 3)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(WideProfile(), privacy.V1(), sharing)
	if err != nil {
		t.Fatal(err)
	}
	d := newTestDevice(t, p, testContext)
	w := Window{Hour: 9}
	row := d.seal(t, p, testContext, w, smallRow(t, p, 60, 5999))
	shares := map[int][]byte{}
	for piece, groups := range groupsOf(t, p, []*testDevice{d}, w) {
		v, err := p.KeyProduct(testContext, p.Schema().MetricCoefficients(0), groups)
		if err != nil {
			t.Fatal(err)
		}
		if shares[piece], err = p.Share(PieceKey{9}, request(p, piece, 0, 1, nil), v); err != nil {
			t.Fatal(err)
		}
	}
	opened, err := p.Open(sumOf(t, p, 0, [][]byte{row}), shares)
	if err != nil {
		t.Fatal(err)
	}
	if got := decode(t, p, 0, opened); got.Sum != 5999 {
		t.Errorf("opened a sum of %d", got.Sum)
	}
}
