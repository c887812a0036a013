package bridge

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/bridge/radio"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/virtual"
)

// remembered adds records to a meter, whose clock shows shown when it is now; each is a
// quarter of an hour after what the clock showed, because its user moved it since.
func remembered(t *testing.T, meter *virtual.Sensor, sequence uint16, shown time.Time, ago time.Duration) {
	t.Helper()
	const moved = 15
	base := wearable.TimestampOf(shown.Add(-ago - moved*time.Minute))
	r, err := virtual.Glucose(sequence, base, moved, 100+int64(sequence%100))
	if err != nil {
		t.Fatal(err)
	}
	meter.Remember(r)
}

// gridded waits until so many readings are in the grid.
func gridded(t *testing.T, d *Device, want uint64) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for d.Counts().Gridded < want {
		if time.Now().After(deadline) {
			t.Fatalf("%d readings are gridded of %d: %+v", d.Counts().Gridded, want, d.Counts())
		}
		time.Sleep(time.Millisecond)
	}
}

// From the meter's memory through its control point, over the attribute protocol: its clock
// is wrong by five years, and each record is in the minute in which it was measured.
func TestAMetersRecordsReachTheirOwnMinutes(t *testing.T) {
	_, d, _, now := cuffWorld(t, "glucose")
	shown := now.AddDate(-5, 0, 0)
	meter := virtual.New(virtual.GlucoseMeter, "meter", virtual.WithClock(func() time.Time { return shown }))
	const records = 6
	for i := 1; i <= records; i++ {
		remembered(t, meter, uint16(i), shown, time.Duration(i)*time.Hour)
	}
	wear(t, d, meter, "meter")
	gridded(t, d, records)
	for i := 1; i <= records; i++ {
		if code := codeAt(t, d, "glucose", now.Add(-time.Duration(i)*time.Hour)); code != uint16(100+i-10+1) {
			t.Errorf("record %d: code %d", i, code)
		}
	}
	if c := d.Counts(); c.Gridded != records || c.Undecodable+c.Special+c.NoTime != 0 {
		t.Errorf("counts %+v", c)
	}
}

// Whichever packet a link breaks at, what a meter measured is in the grid after the next
// connection, once.
func TestAMeterWhoseLinkBreaksAtAnyPacketLosesNothing(t *testing.T) {
	_, d, _, now := cuffWorld(t, "glucose")
	shown := now.AddDate(-5, 0, 0)
	meter := virtual.New(virtual.GlucoseMeter, "meter", virtual.WithClock(func() time.Time { return shown }))
	total, whole := 0, false
	for n := 1; !whole; n++ {
		if n > 300 {
			t.Fatal("no link lived to its end")
		}
		for range 2 {
			total++
			remembered(t, meter, uint16(total), shown, time.Duration(total)*time.Minute+time.Hour)
		}
		whole = broken(t, d, meter, n, uint64(total))
		if !broken(t, d, meter, 0, uint64(total)) {
			t.Fatalf("the connection after a break at packet %d failed", n)
		}
	}
	for i := 1; i <= total; i++ {
		if code := codeAt(t, d, "glucose", now.Add(-time.Duration(i)*time.Minute-time.Hour)); code != uint16(100+i%100-10+1) {
			t.Errorf("record %d: code %d", i, code)
		}
	}
	if c := d.Counts(); c.Gridded != uint64(total) {
		t.Errorf("counts %+v of %d records", c, total)
	}
}

// broken connects over a link that breaks at a packet, 0 for none, and tells whether all
// records came over it.
func broken(t *testing.T, d *Device, meter *virtual.Sensor, at int, want uint64) bool {
	t.Helper()
	central, peripheral := virtual.NewLink()
	central.BreakAt(at)
	var served sync.WaitGroup
	served.Go(func() { _ = meter.Serve(peripheral) })
	defer served.Wait()
	session, err := connect(t.Context(), d, central, "meter")
	if err != nil {
		_ = central.Close()
		return false
	}
	defer session.Close()
	if at == 0 {
		gridded(t, d, want)
		return true
	}
	for d.Counts().Gridded < want {
		select {
		case <-session.Done():
			return false
		case <-time.After(time.Millisecond):
		}
	}
	return true
}

// A sensor that wants a bond is named, and taken once it has one.
func TestAMeterThatWantsABondIsNamed(t *testing.T) {
	_, d, _, now := cuffWorld(t, "glucose")
	meter := virtual.New(virtual.GlucoseMeter, "meter", virtual.WithPairing(), virtual.WithClock(func() time.Time { return now }))
	remembered(t, meter, 1, now, time.Hour)
	central, peripheral := virtual.NewLink()
	var served sync.WaitGroup
	served.Go(func() { _ = meter.Serve(peripheral) })
	_, err := connect(t.Context(), d, central, "meter")
	if !errors.Is(err, radio.ErrPairing) {
		t.Errorf("without a bond: %v", err)
	}
	_ = central.Close()
	served.Wait()
	meter.Pair()
	wear(t, d, meter, "meter")
	gridded(t, d, 1)
}
