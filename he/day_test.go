package he

import (
	"crypto/sha256"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// dayParams are those of hours and of the day row beside them.
func dayParams(t testing.TB) (hours, days *Params) {
	t.Helper()
	sharing, err := NewSharing(3, 2)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(DefaultProfile(), privacy.V3(), sharing)
	if err != nil {
		t.Fatal(err)
	}
	return p, p.Day()
}

// dayOf is a day on which the heart beat steadily.
func dayOf(t testing.TB, rate int64) *wearable.Day {
	t.Helper()
	m, _ := wearable.ByKey("heart_rate")
	code, ok := m.Code(rate)
	if !ok {
		t.Fatalf("%d is out of range", rate)
	}
	d := new(wearable.Day)
	for minute := range 600 {
		if err := d.Set(m.Slot, minute, code); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func dayRow(t testing.TB, p *Params, rate int64) []privacy.Payload {
	t.Helper()
	row, err := p.Schema().DayRow(dayOf(t, rate), 0)
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// TestSealedDaysOpenToTheExactSums: two people, two days each, opened by shares of all
// pieces without privacy noise.
func TestSealedDaysOpenToTheExactSums(t *testing.T) {
	hours, p := dayParams(t)
	windows := []Window{DayWindow(20_000), DayWindow(20_001)}
	devices := []*testDevice{newTestDevice(t, hours, testContext), newTestDevice(t, hours, testContext)}
	var rows [][]byte
	for i, d := range devices {
		d.key = d.key.ForDays()
		for j, w := range windows {
			rows = append(rows, d.seal(t, p, testContext, w, dayRow(t, p, 60+int64(10*i+j))))
		}
	}
	opened, err := p.Open(sumOf(t, p, 0, rows), allShares(t, p, 0, groupsOf(t, p, devices, windows...), 4, nil))
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Schema().ReleaseDays(0, opened, 2, nil, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	if r.PersonDays.Value != 4 || r.Mean.Value != 65.5 || r.Histogram.Counts[5] != 2 {
		t.Errorf("%+v, mean %+v, histogram %+v", r, r.Mean, r.Histogram)
	}
}

// TestAnAskedFigureOpensWithItsNoise: the shares of a plan open its coefficients alone,
// and the mean is as near as its interval says.
func TestAnAskedFigureOpensWithItsNoise(t *testing.T) {
	hours, p := dayParams(t)
	w := DayWindow(20_000)
	var devices []*testDevice
	var rows [][]byte
	for i := range 12 {
		d := newTestDevice(t, hours, testContext)
		d.key = d.key.ForDays()
		devices = append(devices, d)
		rows = append(rows, d.seal(t, p, testContext, w, dayRow(t, p, 60+int64(i))))
	}
	plan, err := p.Schema().PlanDays(0, privacy.WantMean, 1, 20_000_000)
	if err != nil {
		t.Fatal(err)
	}
	asked := p.Schema().Asked(plan)
	sum, err := p.NewSum(asked)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if err := sum.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	shares := map[int][]byte{}
	for piece, groups := range groupsOf(t, p, devices, w) {
		v, err := p.KeyProduct(testContext, asked, groups)
		if err != nil {
			t.Fatal(err)
		}
		req := request(p, piece, 0, 12, plan)
		req.Coeffs = asked
		if shares[piece], err = p.Share(testKeys[piece], req, v); err != nil {
			t.Fatal(err)
		}
	}
	opened, err := p.Open(sum, shares)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Schema().ReleaseDays(0, opened, 12, plan, 0, 3)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(r.Mean.Value-65.5) > 6*r.Mean.SD || r.Mean.SD == 0 || r.Spread != nil || r.Within != nil || r.Histogram != nil {
		t.Errorf("mean %+v of %+v", r.Mean, r)
	}
}

// TestAttackADayRowUnderAnHoursPolynomial: day rows have a polynomial of their own. If
// it were a stretch of the hours', the two rows under it would open their difference.
func TestAttackADayRowUnderAnHoursPolynomial(t *testing.T) {
	hours, days := dayParams(t)
	a := days.expandWindow("n", DayWindow(20_000))[0][:days.schema.Coefficients()]
	known := map[uint64]bool{}
	for hour := range int64(24) {
		for _, c := range hours.expandWindow("n", Window{Hour: 20_000*24 + hour})[0] {
			known[c] = true
		}
	}
	same := 0
	for _, c := range a {
		if known[c] {
			same++
		}
	}
	// 196,608 draws of 2^55: two equal ones are a chance of one in 10^9.
	if same > 0 {
		t.Errorf("%d of %d coefficients are those of the hours", same, len(a))
	}
}

// TestAttackRowsOfDaysAmongThoseOfHours: nothing of one kind is taken for the other.
func TestAttackRowsOfDaysAmongThoseOfHours(t *testing.T) {
	hours, days := dayParams(t)
	d := newTestDevice(t, hours, testContext)
	forDays := d.key.ForDays()
	w := DayWindow(20_000)
	if _, err := days.Seal(testContext, d.key, w, dayRow(t, days, 60)); err == nil {
		t.Error("the key for hours seals a day")
	}
	if _, err := hours.Seal(testContext, forDays, w, smallRow(t, hours, 1, 0)); err == nil {
		t.Error("the key for days seals an hour")
	}
	if _, err := days.Seal(testContext, forDays, Window{Hour: w.Hour + 1}, dayRow(t, days, 60)); err == nil {
		t.Error("a day is sealed under the window of an hour")
	}
	if _, err := days.Seal(testContext, forDays, Window{w.Hour, 1}, dayRow(t, days, 60)); err == nil {
		t.Error("a day is corrected")
	}
	if _, err := days.Seal(testContext, forDays, w, dayRow(t, days, 60)); err != nil {
		t.Fatal(err)
	}
	if _, err := days.Seal(testContext, forDays, w, dayRow(t, days, 61)); !errors.Is(err, ErrSealedTwice) {
		t.Errorf("a day is sealed twice: %v", err)
	}
	coeffs := []int{0}
	a, err := hours.NewSum(coeffs)
	if err != nil {
		t.Fatal(err)
	}
	b, err := days.NewSum(coeffs)
	if err != nil {
		t.Fatal(err)
	}
	if a.Merge(b) == nil {
		t.Error("a sum of days is merged into one of hours")
	}
	v, err := days.KeyProduct(testContext, hours.Schema().MetricCoefficients(0), groupsOf(t, days, []*testDevice{d}, w)[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hours.Share(testKeys[0], request(hours, 0, 0, 1, nil), v); err == nil {
		t.Error("a product with a day's polynomial makes a share of hours")
	}
	if _, err := days.KeyProduct(testContext, coeffs, []KeyGroup{{[]Window{{Hour: 1}}, days.NewKeySum()}}); err == nil {
		t.Error("a product about an hour is made of days")
	}
}

// TestAttackSealingWithAWipedKey: a key for days is no way around the wiping of the
// key for hours, nor the other way round.
func TestAttackSealingWithAWipedKey(t *testing.T) {
	hours, days := dayParams(t)
	d := newTestDevice(t, hours, testContext)
	forDays := d.key.ForDays()
	d.key.Wipe()
	if _, err := days.Seal(testContext, forDays, DayWindow(1), dayRow(t, days, 60)); err == nil || !strings.Contains(err.Error(), "no device key") {
		t.Errorf("a wiped secret seals: %v", err)
	}
}

// TestAttackMoreDaysThanThePlanPaysFor: noise is sized for so many hours or days of one
// person, so a vector about more makes no share with it; in an exact study it does.
func TestAttackMoreDaysThanThePlanPaysFor(t *testing.T) {
	hours, days := dayParams(t)
	d := newTestDevice(t, hours, testContext)
	forDays, err := days.Schema().PlanDays(0, privacy.WantMean, 2, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	forHours, err := hours.Schema().Plan(0, 2, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		p    *Params
		plan *privacy.Plan
		sets [][]Window
		want bool
	}{
		{"two days", days, forDays, [][]Window{{DayWindow(1), DayWindow(2)}}, true},
		{"three days", days, forDays, [][]Window{{DayWindow(1), DayWindow(2), DayWindow(3)}}, false},
		{"three days in two groups", days, forDays, [][]Window{{DayWindow(1), DayWindow(2)}, {DayWindow(3)}}, false},
		{"three days, exactly", days, nil, [][]Window{{DayWindow(1), DayWindow(2), DayWindow(3)}}, true},
		{"two hours and a correction", hours, forHours, [][]Window{{{Hour: 1}, {Hour: 2}, {Hour: 2, Correction: 1}}}, true},
		{"three hours", hours, forHours, [][]Window{{{Hour: 1}, {Hour: 2}}, {{Hour: 3}}}, false},
	} {
		var groups []KeyGroup
		for _, set := range c.sets {
			groups = append(groups, groupsOf(t, c.p, []*testDevice{d}, set...)[0]...)
		}
		req := request(c.p, 0, 0, 3, c.plan)
		if c.plan != nil {
			req.Coeffs = c.p.Schema().Asked(c.plan)
		}
		v, err := c.p.KeyProduct(testContext, req.Coeffs, groups)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.p.Share(testKeys[0], req, v); (err == nil) != c.want {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// TestAttackADaySealedTwiceUnderTwoKeys: two rows under one day open their difference to
// everyone, so however often the key for days is asked for, it knows what it has sealed.
func TestAttackADaySealedTwiceUnderTwoKeys(t *testing.T) {
	hours, days := dayParams(t)
	d := newTestDevice(t, hours, testContext)
	if _, err := days.Seal(testContext, d.key.ForDays(), DayWindow(1), dayRow(t, days, 60)); err != nil {
		t.Fatal(err)
	}
	if _, err := days.Seal(testContext, d.key.ForDays(), DayWindow(1), dayRow(t, days, 61)); !errors.Is(err, ErrSealedTwice) {
		t.Errorf("a day is sealed twice: %v", err)
	}
}

// TestAttackMasksLeftByAWipe: a mask opens the rows of its day, so that whichever key is
// wiped takes those of both with it.
func TestAttackMasksLeftByAWipe(t *testing.T) {
	hours, days := dayParams(t)
	for name, wipe := range map[string]func(k *DeviceKey){
		"the key for hours": func(k *DeviceKey) { k.Wipe() },
		"the key for days":  func(k *DeviceKey) { k.ForDays().Wipe() },
	} {
		d := newTestDevice(t, hours, testContext)
		forDays := d.key.ForDays()
		d.seal(t, hours, testContext, Window{Hour: 24}, smallRow(t, hours, 1, 0))
		row, err := days.Seal(testContext, forDays, DayWindow(1), dayRow(t, days, 60))
		if err != nil {
			t.Fatal(err)
		}
		left := [][]uint64{d.key.masks[0].residues, forDays.masks[0].residues}
		if opened := openWith(t, days, row, left[1]); opened.Int64()&0xff != 1 {
			t.Fatalf("a mask does not open its row: %d", opened)
		}
		wipe(d.key)
		for i, residues := range left {
			if slices.ContainsFunc(residues, func(r uint64) bool { return r != 0 }) {
				t.Errorf("%s is wiped: the mask of key %d is still there", name, i)
			}
		}
	}
}

// openWith opens the first coefficient of a row with a mask in place of shares.
func openWith(t testing.TB, p *Params, row []byte, mask []uint64) *big.Int {
	t.Helper()
	residues, err := p.unpack(row, p.schema.Coefficients())
	if err != nil {
		t.Fatal(err)
	}
	total := make([]uint64, len(p.profile.Primes))
	for l, q := range p.profile.Primes {
		total[l] = (residues[l] + mask[l]) % q
	}
	payload, _ := p.crt.unscale(p.crt.lift(total))
	return payload
}

// TestAttackOneStreamAtTwoScales: plans with the same variances for other figures or
// days have noise of their own; the same stream at two scales would cancel out.
func TestAttackOneStreamAtTwoScales(t *testing.T) {
	hours, p := dayParams(t)
	d := newTestDevice(t, hours, testContext)
	noise := func(days int64, rho uint64) []byte {
		plan, err := p.Schema().PlanDays(0, privacy.WantMean, days, rho)
		if err != nil {
			t.Fatal(err)
		}
		asked := p.Schema().Asked(plan)
		v, err := p.KeyProduct(testContext, asked, groupsOf(t, p, []*testDevice{d}, DayWindow(1))[0])
		if err != nil {
			t.Fatal(err)
		}
		req := request(p, 0, 0, 1, plan)
		req.Coeffs = asked
		share, err := p.Share(testKeys[0], req, v)
		if err != nil {
			t.Fatal(err)
		}
		return share
	}
	// Twice the days at four times the loss have the same variances.
	if slices.Equal(noise(1, 100_000), noise(2, 400_000)) {
		t.Error("two plans have one stream")
	}
	if !slices.Equal(noise(1, 100_000), noise(1, 100_000)) {
		t.Error("holders of the same key draw other noise")
	}
}

// dayVectors are what another implementation of day rows must reproduce.
type dayVectors struct {
	Profile      string    `json:"profile"`
	Schema       record.ID `json:"schema"`
	Network      string    `json:"network"`
	Day          int64     `json:"day"`
	WindowDigest record.ID `json:"window_digest"`
	HeartRate    int64     `json:"heart_rate_in_600_minutes"`
	NoiseStream  string    `json:"noise_stream"`
	Row          string    `json:"row"`
}

func TestDayVectors(t *testing.T) {
	hours, p := dayParams(t)
	c := Context{Network: "vectors", Epoch: 7}
	v := dayVectors{Profile: p.profile.Name, Schema: p.schema.Digest(), Network: c.Network, Day: 20_089, HeartRate: 64, NoiseStream: "SHAKE128 of the empty string"}
	v.WindowDigest = windowDigest(t, p, c, DayWindow(v.Day))
	var seeds []Seed
	for piece := range p.Sharing().Pieces() {
		seeds = append(seeds, Seed(sha256.Sum256([]byte{byte(piece)})))
	}
	k, err := hours.NewDeviceKey(c, record.SumID([]byte("device")), seeds)
	if err != nil {
		t.Fatal(err)
	}
	row, err := p.seal(k.ForDays(), DayWindow(v.Day), dayRow(t, p, v.HeartRate), sha3.NewSHAKE128())
	if err != nil {
		t.Fatal(err)
	}
	v.Row = hex.EncodeToString(row)
	golden(t, "day.json", v)
}

// TestADayRowIsSmall beside the day's 24 rows of hours.
func TestADayRowIsSmall(t *testing.T) {
	hours, days := dayParams(t)
	if share := float64(days.RowBytes()) / float64(24*hours.RowBytes()); share > 0.08 {
		t.Errorf("a day row of %d bytes is %.1f %% of the hours' %d", days.RowBytes(), 100*share, 24*hours.RowBytes())
	}
}
