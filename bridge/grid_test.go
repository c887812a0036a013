package bridge

import (
	"encoding/hex"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

func decimal(t testing.TB, s string) wearable.Decimal {
	t.Helper()
	v, err := wearable.ParseDecimal(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func reading(t testing.TB, metric string, unix int64, value string) Reading {
	return Reading{Metric: metric, Time: wearable.Int(unix), Value: decimal(t, value)}
}

func push(t testing.TB, d *Device, readings ...Reading) Outcome {
	t.Helper()
	o, err := d.Push(t.Context(), readings)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// dayOf returns the committed day behind a day root.
func dayOf(t testing.TB, d *Device, day int64) wearable.Day {
	t.Helper()
	var rec dayRecord
	found, err := d.vault.load(d.vault.key(kindOpening, ordered(day)...), &rec)
	if err != nil || !found {
		t.Fatalf("day %d is not committed: %v", day, err)
	}
	var got wearable.Day
	if err := got.UnmarshalBinary(rec.Opening[33:]); err != nil { // version and secret come before the day
		t.Fatal(err)
	}
	return got
}

// crashed returns a copy of a hub's directory, key and mark as a process killed
// now would leave them.
func crashed(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "hub")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	for _, end := range []string{".key", ".mark"} {
		data, err := os.ReadFile(dir + end)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to+end, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

const epochDay = epochStart / 86400

func TestMinuteIsTheMeanOfItsSamplesRoundedHalfAwayFromZero(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate", "spo2")
	push(t, d,
		reading(t, "heart_rate", epochStart+5, "60"), reading(t, "heart_rate", epochStart+59, "61"), // 60.5 -> 61
		reading(t, "heart_rate", epochStart+60, "60.49"), // 60
		reading(t, "spo2", epochStart+86399, "97.25"),    // 97.3
	)
	if err := d.Advance(t.Context(), epochStart+86400); err != nil {
		t.Fatal(err)
	}
	day := dayOf(t, d, epochDay)
	if a, b := day.Codes(0)[0], day.Codes(0)[1]; a != 61-20+1 || b != 60-20+1 {
		t.Errorf("heart rate codes %d and %d", a, b)
	}
	if c := day.Codes(3)[1439]; c != 973-500+1 {
		t.Errorf("spo2 code %d", c)
	}
}

func TestOutOfRangeSamplesAreDroppedAndCounted(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	o := push(t, d, reading(t, "heart_rate", epochStart, "19.999"), reading(t, "heart_rate", epochStart, "220"), reading(t, "heart_rate", epochStart, "220.001"))
	if o.OutOfRange != 2 || o.Gridded != 1 || d.Counts().OutOfRange != 2 {
		t.Errorf("outcome %+v, counts %+v", o, d.Counts())
	}
}

// The oracle: for each (metric, minute) the mean of in-range samples as a
// rational, rounded by definition.
func naive(samples map[string]map[int64][]*big.Rat, m wearable.Metric, minute int64) uint16 {
	sum, n := new(big.Rat), int64(0)
	for _, v := range samples[m.Key][minute] {
		if v.Cmp(m.Min.Rat()) >= 0 && v.Cmp(m.Max.Rat()) <= 0 {
			sum.Add(sum, v)
			n++
		}
	}
	if n == 0 {
		return 0
	}
	units := sum.Quo(sum, new(big.Rat).Mul(new(big.Rat).SetInt64(n), m.Resolution.Rat()))
	twice := new(big.Rat).Add(new(big.Rat).Add(units, units), big.NewRat(1, 1)) // wearable.FloorDiv(x + 1/2), as all values are positive
	floor := new(big.Int).Div(twice.Num(), new(big.Int).Mul(twice.Denom(), big.NewInt(2)))
	return uint16(floor.Int64() - m.MinUnits() + 1)
}

func TestGridEqualsNaiveRationalArithmetic(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	h := w.hub(dir)
	keys := []string{"heart_rate", "body_temp", "glucose"}
	rapid.Check(t, func(rt *rapid.T) {
		d := w.enrolled(h, keys...)
		samples := map[string]map[int64][]*big.Rat{}
		for _, k := range keys {
			samples[k] = map[int64][]*big.Rat{}
		}
		for range rapid.IntRange(1, 6).Draw(rt, "pushes") {
			var batch []Reading
			for range rapid.IntRange(1, 25).Draw(rt, "size") {
				m, _ := wearable.ByKey(rapid.SampledFrom(keys).Draw(rt, "metric"))
				// Times are decimals with three places, close to each other.
				ms := rapid.Int64Range(0, 7200_000).Draw(rt, "ms")
				at, _ := wearable.NewDecimal(epochStart*1000+ms, 3)
				micro := rapid.Int64Range(5_000_000, 650_000_000).Draw(rt, "value")
				value, _ := wearable.NewDecimal(micro, 6)
				batch = append(batch, Reading{Metric: m.Key, Time: at, Value: value})
				minute := wearable.FloorDiv(epochStart*1000+ms, 60_000)
				samples[m.Key][minute] = append(samples[m.Key][minute], big.NewRat(micro, 1_000_000))
			}
			push(t, d, batch...)
		}
		for _, k := range keys {
			m, _ := wearable.ByKey(k)
			for hour := range int64(2) {
				codes, _, err := d.grid.codes(epochStart/3600+hour, m.Slot)
				if err != nil {
					rt.Fatal(err)
				}
				for i, code := range codes {
					minute := epochStart/60 + hour*60 + int64(i)
					if want := naive(samples, m, minute); code != want {
						rt.Fatalf("%s minute %d: code %d, want %d", k, minute, code, want)
					}
				}
			}
		}
	})
}

func TestPushRefusesAsAWhole(t *testing.T) {
	w := newWorld(t)
	w.genesis.Clock = record.ClockWall
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	good := reading(t, "heart_rate", epochStart, "60")
	third, _ := wearable.DecimalFromRat(big.NewRat(181, 3))
	for name, bad := range map[string]Reading{
		"another metric": reading(t, "spo2", epochStart, "97"),
		"no metric":      reading(t, "", epochStart, "97"),
		"the future":     reading(t, "heart_rate", epochStart+skewSeconds+60, "60"),
		"a fraction":     {Metric: "heart_rate", Time: wearable.Int(epochStart), Value: third},
	} {
		if _, err := d.Push(t.Context(), []Reading{good, bad}); !errors.Is(err, ErrReading) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := d.Push(t.Context(), make([]Reading, MaxPush+1)); !errors.Is(err, ErrReading) {
		t.Errorf("too many: error %v", err)
	}
	if c := d.Counts(); c.Gridded != 0 {
		t.Errorf("%d readings of refused pushes were taken", c.Gridded)
	}
}

func TestPushIsDurableWhenItReturns(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	d := w.enrolled(w.hub(dir), "heart_rate")
	push(t, d, reading(t, "heart_rate", epochStart, "60"), reading(t, "heart_rate", epochStart+3600*50, "70"))
	again := w.hub(crashed(t, dir))
	d2, _ := again.Device(d.ID())
	push(t, d2, reading(t, "heart_rate", epochStart+1, "63"))
	if err := d2.Advance(t.Context(), epochStart+3*86400); err != nil {
		t.Fatal(err)
	}
	first, third := dayOf(t, d2, epochDay), dayOf(t, d2, epochDay+2)
	if c := first.Codes(0)[0]; c != 62-20+1 { // (60+63)/2
		t.Errorf("minute 0 has code %d", c)
	}
	if c := third.Codes(0)[2*60]; c != 70-20+1 {
		t.Errorf("hour 50 has code %d", c)
	}
	if d2.Counts().Gridded != 3 {
		t.Errorf("counts %+v", d2.Counts())
	}
}

func TestManyOpenHoursDoNotStayInMemory(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	for hour := range int64(3 * maxOpenHours) {
		push(t, d, reading(t, "heart_rate", epochStart+hour*3600, "60"))
	}
	push(t, d, reading(t, "heart_rate", epochStart, "62"))
	if n := len(d.grid.hours); n > maxOpenHours {
		t.Errorf("%d hours in memory", n)
	}
	if err := d.Advance(t.Context(), epochStart+86400); err != nil {
		t.Fatal(err)
	}
	day := dayOf(t, d, epochDay)
	if c := day.Codes(0)[0]; c != 61-20+1 {
		t.Errorf("an hour that had left memory lost a sample: code %d", c)
	}
}

func FuzzParseMinutes(f *testing.F) {
	a, _ := wearable.NewAccumulator("heart_rate")
	a.Add(wearable.Int(60))
	m := &minutes{}
	m.cells[3].sum, m.cells[59] = a, cell{sum: a, source: 2, seen: []uint64{7, 8}}
	good, err := m.marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{minutesVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMinutes(0, b)
		if err != nil || len(b) == 0 || b[0] != minutesVersion {
			return
		}
		again, err := m.marshal()
		if err != nil || string(again) != string(b) {
			t.Fatalf("accepted %s, which reads back as %s (%v)", hex.EncodeToString(b), hex.EncodeToString(again), err)
		}
	})
}
