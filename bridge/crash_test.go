package bridge

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// The environment of a bridge that a test runs as a process of its own.
const (
	childDir     = "VITALVEIL_BRIDGE_CHILD"
	childGateway = "VITALVEIL_BRIDGE_GATEWAY"
	childGenesis = "VITALVEIL_BRIDGE_GENESIS"
	childFrom    = "VITALVEIL_BRIDGE_FROM"
)

// crashMinutes is how many readings, one a minute, the child takes.
const crashMinutes = 2000

// crashValue is the reading of a minute: pushing it twice does not change the
// mean.
func crashValue(minute int64) wearable.Decimal { return wearable.Int(60 + minute%100) }

// lateness is by how many minutes every tenth reading is late: its hour is sealed
// by then.
const lateness = 200

func isLate(minute int64) bool { return minute%10 == 7 }

func crashReading(minute int64) Reading {
	return Reading{Metric: "heart_rate", Time: wearable.Int(epochStart + minute*60), Value: crashValue(minute)}
}

// child pushes reading after reading, says so for each, and seals and syncs on
// the way, until it is done or killed.
func child() {
	if err := live(); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("done")
}

func live() error {
	cfg := Config{Dir: os.Getenv(childDir), Params: dayParams(), GatewayURL: os.Getenv(childGateway)}
	if err := json.Unmarshal([]byte(os.Getenv(childGenesis)), &cfg.Genesis); err != nil {
		return err
	}
	from, err := strconv.ParseInt(os.Getenv(childFrom), 10, 64)
	if err != nil {
		return err
	}
	h, err := Open(cfg)
	if err != nil {
		return err
	}
	d := h.Devices()[0]
	ctx := context.Background()
	for i := from; i < crashMinutes; i++ {
		at := epochStart + i*60
		var readings []Reading
		if !isLate(i) {
			readings = append(readings, crashReading(i))
		}
		if i >= lateness && isLate(i-lateness) {
			readings = append(readings, crashReading(i-lateness))
		}
		if _, err := d.Push(ctx, readings); err != nil {
			return err
		}
		fmt.Println("ack", i)
		if i%90 != 0 {
			continue
		}
		if err := d.Advance(ctx, at); err != nil {
			return err
		}
		if r, err := h.Sync(ctx); err != nil || len(r.Refused)+len(r.Retired) > 0 {
			return fmt.Errorf("sync: %+v: %w", r, err)
		}
	}
	return h.Close()
}

// A bridge is killed (SIGKILL) again and again. What it had acknowledged is in
// the grid or, if it came late, in a correction; the ledger has one row for each
// hour, and its rows open to all readings.
func TestKilledBridgeLosesNothingItAcknowledged(t *testing.T) {
	w := newDayWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	h := w.hub(dir)
	d := w.enrolled(h, "heart_rate")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	w.at(epochStart + 3*86400)
	next, kills := int64(0), 0
	for finished := false; !finished; {
		delay := time.Duration(50+rand.IntN(400)) * time.Millisecond
		if kills == 8 {
			delay = time.Minute
		}
		next, finished = runChild(t, w, dir, next, delay)
		if !finished {
			kills++
		}
	}
	t.Logf("killed %d times", kills)
	again := w.hub(dir)
	d, _ = again.Device(d.ID())
	for i := int64(crashMinutes - lateness); i < crashMinutes; i++ {
		if isLate(i) {
			push(t, d, crashReading(i))
		}
	}
	if err := d.Advance(t.Context(), epochStart+2*86400+dayGrace*3600); err != nil {
		t.Fatal(err)
	}
	if r := syncs(t, again); len(r.Refused) != 0 || len(r.Retired) != 0 {
		t.Errorf("%+v", r)
	}
	w.findAvailable(2)
	if r := syncs(t, again); r.Awaited != 0 {
		t.Errorf("%+v", r)
	}
	m, _ := wearable.ByKey("heart_rate")
	for day := range int64(2) {
		grid := dayOf(t, d, epochDay+day)
		for i, code := range grid.Codes(0) {
			minute := day*1440 + int64(i)
			want := uint16(0)
			inTime := !isLate(minute) || minute+lateness < 1440+60*dayGrace || minute >= 1440
			if minute < crashMinutes && inTime {
				want, _ = m.Code(60 + minute%100)
			}
			// The child advances every 90 minutes; one killed just before the day ended
			// ends it that much later, and what came by then is in the day.
			either, _ := m.Code(60 + minute%100)
			ended := isLate(minute) && minute < 1440 && minute+lateness >= 1440+60*dayGrace && minute+lateness < 1440+60*dayGrace+90
			if code != want && !(ended && code == either) {
				t.Fatalf("minute %d: code %d, want %d", minute, code, want)
			}
		}
	}
	for hour := range int64(48) {
		if _, ok, err := d.Receipt(record.KindRow, epochStart/3600+hour); err != nil || !ok {
			t.Errorf("no receipt for hour %d: %v", hour, err)
		}
	}
	w.holdsEveryReading(d)
	for day := range int64(2) {
		receipt, ok, err := d.Receipt(record.KindPersonDay, epochDay+day)
		if err != nil || !ok {
			t.Fatalf("no receipt for the row of day %d: %v", day, err)
		}
		wantDay(t, w, d, 0, dayOf(t, d, epochDay+day), w.row(receipt.Pointer.Pointer), "heart_rate")
	}
}

// holdsEveryReading opens what the ledger has of a device.
func (w *world) holdsEveryReading(d *Device) {
	t := w.t.(*testing.T)
	t.Helper()
	rows, corrections := map[he.Window][]byte{}, 0
	for name, p := range w.pointers {
		if name.kind == record.KindRow {
			rows[he.Window{Hour: name.index, Correction: name.number}] = w.row(p.signed.Pointer)
			corrections += int(min(name.number, 1))
		}
	}
	sum := int64(0)
	for i := range int64(crashMinutes) {
		sum += 60 + i%100
	}
	if r := reveal(t, w, d, 0, rows); r.N != crashMinutes || r.Sum != sum || corrections == 0 {
		t.Errorf("%d corrections; n = %d, sum %d, want %d and %d", corrections, r.N, r.Sum, crashMinutes, sum)
	}
}

// runChild runs the child until it is done or the delay has passed, and returns
// the first minute that it did not acknowledge, and whether it was done.
func runChild(t *testing.T, w *world, dir string, from int64, delay time.Duration) (int64, bool) {
	t.Helper()
	genesis, err := json.Marshal(w.genesis)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childGateway+"="+w.server.URL,
		childGenesis+"="+string(genesis), childFrom+"="+strconv.FormatInt(from, 10))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var timer *time.Timer
	lines := bufio.NewScanner(out)
	next, finished := from, false
	for lines.Scan() {
		if timer == nil { // the first acknowledgement: it is at work
			timer = time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
		}
		switch word, rest, _ := strings.Cut(lines.Text(), " "); word {
		case "ack":
			n, err := strconv.ParseInt(rest, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			next = n + 1
		case "done":
			finished = true
		default:
			t.Fatalf("the child says: %s", lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil && finished {
		t.Fatal(err)
	}
	return next, finished
}
