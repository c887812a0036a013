package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/network/institution"
)

// TestTenThousandDevices asks about one metric of a day through three institution
// processes: with everything kept, without key sums, and without columns. It is of
// 10,000 devices with VITALVEIL_SOAK=1 (some ten minutes, most of it sealing and
// anchoring 240,000 rows) and of 500 otherwise.
func TestTenThousandDevices(t *testing.T) {
	devices, hours := 500, int64(6)
	if os.Getenv("VITALVEIL_SOAK") != "" {
		devices, hours = 10_000, 24
	}
	w := newWorld(t, hours)
	w.startAll()
	step := func(what string, f func()) {
		start := time.Now()
		f()
		t.Logf("%s: %v", what, time.Since(start).Round(time.Millisecond))
	}
	step("enrolment", func() { w.enrol(devices) })
	step("sealing, anchoring, availability", w.measure)
	w.study(hospitalA, "noisy", false)
	w.study(hospitalA, "exact", true)
	time.Sleep(time.Second) // for the sums of the new studies
	w.timed(t, "with key sums and columns")
	w.timed(t, "the same again")
	w.restart(t, func(dir string) { w.check(os.RemoveAll(filepath.Join(dir, stateDir, "columns"))) })
	w.timed(t, "without columns")
	w.timed(t, "with the columns that it left")
	w.restart(t, func(dir string) { w.dropSums(dir) })
	w.timed(t, "without key sums")
	var exact institution.Answer
	w.check(Call(t.Context(), w.member(hospitalA), "ask", w.ask("exact", 0), &exact))
	w.want(exact.Release)
	if exact.Cohort != devices || exact.Rows != int64(devices)*hours {
		t.Errorf("cohort of %d with %d rows", exact.Cohort, exact.Rows)
	}
}

// timed asks and prints what it took, and the most memory that members used.
func (w *world) timed(t *testing.T, what string) {
	t.Helper()
	var a institution.Answer
	start := time.Now()
	w.check(Call(t.Context(), w.member(hospitalA), "ask", w.ask("noisy", 50_000), &a))
	took := time.Since(start)
	var rss []string
	total := 0
	for _, c := range w.members {
		mb := peakMemory(c.cmd.Process.Pid)
		total += mb
		rss = append(rss, strconv.Itoa(mb))
	}
	ms := func(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }
	t.Logf("%s: %d ms (submit %s, agree %s, sum %s beside shares %s, open %s), %d bytes of rows; peak RSS %d MB (%s)", what, took.Milliseconds(),
		ms(a.Timing.Submit), ms(a.Timing.Agree), ms(a.Timing.Sum), ms(a.Timing.Shares), ms(a.Timing.Open), a.Bytes.Rows, total, strings.Join(rss, " + "))
	if len(w.people) < 1000 && took > 10*time.Second {
		t.Errorf("%s: %v is not in proportion", what, took)
	}
}

// restart ends all members, changes their directories and starts them again.
func (w *world) restart(t *testing.T, change func(dir string)) {
	t.Helper()
	for i := range w.members {
		w.members[i].kill()
		change(w.member(i))
		w.up(i)
	}
	start := time.Now()
	for i := range w.members {
		w.ready(i)
	}
	t.Logf("restart: %v", time.Since(start).Round(time.Millisecond))
}

// dropSums deletes the stored key sums of a member that is down.
func (w *world) dropSums(dir string) {
	db, err := pebble.Open(filepath.Join(dir, stateDir, "vault"), &pebble.Options{})
	w.check(err)
	w.check(db.DeleteRange([]byte("keysum/"), []byte("keysum0"), pebble.Sync))
	w.check(db.Close())
}

// peakMemory is the largest resident set of a process so far, in MB; 0 where the
// system does not say.
func peakMemory(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(rest, " kB")))
			return kb >> 10
		}
	}
	return 0
}
