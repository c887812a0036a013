//go:build unix

package bridge

import (
	"path/filepath"
	"testing"

	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/virtual"
)

// BenchmarkDeviceDayOverGATT is what a device-day costs its hub over the virtual GATT stack:
// nine metrics, a reading of each every minute, six of them from sensors, of which three
// indicate and so are on disk each time; hours are sealed as they end.
func BenchmarkDeviceDayOverGATT(b *testing.B) {
	w := newWorld(b)
	h := w.hub(filepath.Join(b.TempDir(), "hub"))
	d := w.enrolled(h, "heart_rate", "pulse_rate", "resp_rate", "spo2", "body_temp", "skin_temp", "bp_systolic", "bp_diastolic", "glucose")
	strap, oximeter := virtual.NewHeartRateStrap("strap"), virtual.NewPulseOximeter("oximeter")
	thermometer, cuff := virtual.NewThermometer("thermometer"), virtual.NewBloodPressureCuff("cuff")
	for _, s := range []*virtual.Sensor{strap, oximeter, thermometer, cuff} {
		wear(b, d, s, s.Name())
	}
	ctx := b.Context()
	minute, begin := int64(0), cpuTime(b)
	for b.Loop() {
		for range 1440 {
			at := epochStart + minute*60
			w.at(at)
			n := minute % 40
			emitted := func(s *virtual.Sensor, values map[string]int64) {
				var list []wearable.Reading
				for _, key := range s.Metrics() {
					list = append(list, wearable.Reading{Metric: key, Value: wearable.Int(values[key])})
				}
				if err := s.Emit(ctx, list...); err != nil {
					b.Fatal(err)
				}
			}
			emitted(strap, map[string]int64{"heart_rate": 60 + n})
			emitted(oximeter, map[string]int64{"spo2": 97, "pulse_rate": 60 + n})
			emitted(thermometer, map[string]int64{"body_temp": 37})
			emitted(cuff, map[string]int64{"bp_systolic": 110 + n, "bp_diastolic": 70 + n})
			var pushed []Reading
			for _, key := range []string{"resp_rate", "skin_temp", "glucose"} {
				pushed = append(pushed, Reading{Metric: key, Time: wearable.Int(at), Value: wearable.Int(20 + n/4)})
			}
			if _, err := d.Push(ctx, pushed); err != nil {
				b.Fatal(err)
			}
			if minute++; minute%60 == 0 {
				if err := d.Advance(ctx, epochStart+minute*60); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.ReportMetric((cpuTime(b)-begin).Seconds()*1000/float64(b.N), "cpu-ms/day")
}
