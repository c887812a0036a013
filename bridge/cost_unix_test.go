//go:build unix

package bridge

import (
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// cpuTime is the processor time of this process.
func cpuTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ward is a device of all nine metrics that lives day after day.
type ward struct {
	*world
	d    *Device
	hour int64
	// days is the processor time of each day, commits that of those of its hours that
	// committed a day too.
	days, commits []time.Duration
}

func newWard(t testing.TB, p *he.Params) *ward {
	w := worldOf(t, p)
	var metrics []string
	for _, m := range wearable.Vitals() {
		metrics = append(metrics, m.Key)
	}
	return &ward{world: w, d: w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), metrics...)}
}

// day has the device measure each metric once a minute, and seal each hour.
func (w *ward) day() {
	begin := cpuTime(w.t)
	for range 24 {
		for minute := range int64(60) {
			var readings []Reading
			for _, m := range wearable.Vitals() {
				units := m.MinUnits() + (w.hour*7+minute*3)%(m.MaxUnits()-m.MinUnits())
				readings = append(readings, Reading{Metric: m.Key, Time: wearable.Int(epochStart + (w.hour*60+minute)*60), Value: m.Value(units)})
			}
			push(w.t, w.d, readings...)
		}
		w.hour++
		before := cpuTime(w.t)
		_, had := w.d.Progress()
		advance(w.t, w.world, w.d, w.hour)
		if _, days := w.d.Progress(); days > had {
			w.commits = append(w.commits, cpuTime(w.t)-before)
		}
	}
	w.days = append(w.days, cpuTime(w.t)-begin)
}

// median is in milliseconds.
func median(list []time.Duration) float64 {
	slices.Sort(list)
	return list[len(list)/2].Seconds() * 1000
}

// BenchmarkDeviceDay is what a device-day costs its hub with and without a day row: nine
// metrics, a reading of each every minute, acknowledged when on disk. Both live the same
// days, in turn; the first, which has no day row yet, does not count. What differs is the
// hour that commits the day, so that is measured by itself too: a day's time varies by more.
func BenchmarkDeviceDay(b *testing.B) {
	hours, days := newWard(b, paramsOf(privacy.V1())), newWard(b, dayParams())
	for _, w := range []*ward{hours, days} {
		w.day()
		w.days, w.commits = nil, nil
	}
	n := 0
	for b.Loop() {
		pair := []*ward{hours, days}
		for i := range pair {
			pair[(i+n)%2].day()
		}
		n++
	}
	v1, v3 := median(hours.days), median(days.days)
	b.ReportMetric(v1, "v1-cpu-ms/day")
	b.ReportMetric(v3, "v3-cpu-ms/day")
	more := median(days.commits) - median(hours.commits)
	b.ReportMetric(more, "more-cpu-ms/commit")
	b.ReportMetric(100*more/v1, "%more")
}

// TestADayRowAddsAtMostEightPercentToADaysBytes, of what hubs send and gateways keep for a
// device that sends every hour; pointers, of which a day has two more, left out.
func TestADayRowAddsAtMostEightPercentToADaysBytes(t *testing.T) {
	w := newDayWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	d := w.enrolled(h, "heart_rate")
	bytes := map[bool]int{} // whether of days
	for hour := range int64(26) {
		advance(t, w, d, hour+1)
		syncs(t, h)
	}
	for _, blob := range w.blobs {
		_, rows, err := record.DecodeRows(blob)
		if err != nil {
			t.Fatal(err)
		}
		rest := len(blob)
		for _, r := range rows {
			if r.Correction == record.PersonDayMark {
				bytes[true] += 11 + len(r.Row)
				rest -= 11 + len(r.Row)
			}
		}
		bytes[false] += rest
	}
	more := float64(bytes[true]) / (float64(bytes[false]) * 24 / 26)
	t.Logf("a day row takes %d bytes, the hours of a day %d: %.1f %% more", bytes[true], bytes[false]*24/26, 100*more)
	if bytes[true] == 0 || more > 0.08 {
		t.Errorf("a day row adds %.1f %%", 100*more)
	}
}
