package institution

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	role "github.com/vitalveil/vitalveil/network/institution"
)

const (
	// What a query of 10,000 devices and 24 hours may take, and what all members may
	// use of memory. The machine may be busy, so the test fails at twice that.
	warmGoal   = time.Second
	coldGoal   = 2400 * time.Millisecond
	memoryGoal = 1000 // MB
	// smallMost is what is out of proportion for 500 devices, however busy.
	smallMost = 10 * time.Second
)

// TestTenThousandDevices asks about one metric of a day through three institution
// processes: with everything kept, without columns, and without key sums. It is of
// 10,000 devices with VITALVEIL_SOAK=1 (some five minutes, most of it sealing and
// anchoring 240,000 rows) and of 300 otherwise.
func TestTenThousandDevices(t *testing.T) {
	devices, hours := 300, int64(privacy.ExactHours)
	soak := os.Getenv("VITALVEIL_SOAK") != ""
	if soak {
		devices, hours = 10_000, 24
	}
	w := newWorld(t, hours)
	w.startAll()
	table := &table{load: loadAverage()}
	table.step("enrolment", func() { w.enrol(devices) })
	table.step("sealing, anchoring, availability", w.measure)
	table.memory("intake", w)
	w.study(hospitalA, "noisy", false)
	w.study(hospitalA, "exact", true)
	time.Sleep(time.Second) // for the sums of the new studies
	var warm []time.Duration
	for range 3 {
		warm = append(warm, table.query("sums and columns kept", w))
	}
	table.memory("queries beside intake", w)
	table.step("restart", func() {
		w.restart(func(dir string) { w.check(os.RemoveAll(filepath.Join(dir, StateDir, "columns"))) }, nil)
	})
	table.query("without columns, from blobs", w)
	warm = append(warm, table.query("with the columns that it left", w))
	table.step("restart", func() { w.restart(w.dropSums, w.park) })
	w.wait("the parked query is agreed", time.Minute, func(s Status) bool { return s.Counts.Queries[record.QueryAgreed] == 1 })
	cold := table.query("without key sums", w)
	table.memory("restart and queries", w)
	var exact role.Answer
	w.check(w.call(t.Context(), hospitalA, "ask", w.ask("exact", 0), &exact))
	w.want(exact.Release)
	if exact.Cohort != devices || exact.Rows != int64(devices)*hours {
		t.Errorf("cohort of %d with %d rows", exact.Cohort, exact.Rows)
	}
	t.Logf("%d devices, %d hours; load %s before, %s after\n%s", devices, hours, table.load, loadAverage(), strings.Join(table.lines, "\n"))
	warmMost, coldMost := 2*warmGoal, 2*coldGoal
	if !soak {
		warmMost, coldMost = smallMost, smallMost
	}
	slices.Sort(warm)
	if median := warm[len(warm)/2]; median > warmMost || cold > coldMost {
		t.Errorf("%v with all kept, the limit is %v; %v without key sums, the limit is %v", median, warmMost, cold, coldMost)
	}
	if table.most > 2*memoryGoal {
		t.Errorf("all members took %d MB at most, the goal is %d", table.most, memoryGoal)
	}
}

// TestTenThousandPeopleOfThirtyDays asks for a mean of person-days through three
// institution processes, with everything kept: of 10,000 people and 30 days with
// VITALVEIL_SOAK=1, and of 60 and 3 otherwise. docs/performance.md sets it beside hours.
func TestTenThousandPeopleOfThirtyDays(t *testing.T) {
	people, days := scaleOf(60, 3, 10_000, 30)
	w := newWorldOf(t, 0, int64(days))
	w.startAll()
	table := &table{load: loadAverage()}
	table.step("enrolment", func() { w.enrol(people) })
	table.step("sealing, anchoring, availability", w.measure)
	w.study(hospitalA, "noisy", false)
	w.study(hospitalA, "exact", true)
	time.Sleep(time.Second) // for the sums of the new studies
	for range 5 {
		table.query("sums and columns kept", w)
	}
	table.memory("intake and queries", w)
	var exact role.Answer
	w.check(w.call(t.Context(), hospitalA, "ask", w.ask("exact", 0), &exact))
	t.Logf("%d people, %d days; load %s before, %s after\n%s", people, days, table.load, loadAverage(), strings.Join(table.lines, "\n"))
	var n, sum int64
	for i := range people {
		for day := range int64(days) {
			n, sum = n+1, sum+heartRate(i, day)
		}
	}
	if r := exact.Persons; r.Raw.N != n || math.Abs(r.Mean.Value-float64(sum)/float64(n)) > 1e-9 || exact.Rows != n {
		t.Errorf("%d rows, %d person-days with mean %g; measured were %d with sum %d", exact.Rows, r.Raw.N, r.Mean.Value, n, sum)
	}
}

// scaleOf is two numbers for the usual run, and VITALVEIL_SCALE or the soak's.
func scaleOf(a, b, soakA, soakB int) (int, int) {
	if text := os.Getenv("VITALVEIL_SCALE"); text != "" {
		if _, err := fmt.Sscanf(text, "%dx%d", &a, &b); err != nil {
			panic(err)
		}
		return a, b
	}
	if os.Getenv("VITALVEIL_SOAK") != "" {
		return soakA, soakB
	}
	return a, b
}

// table is what is measured.
type table struct {
	load  string
	lines []string
	most  int // MB
}

func (m *table) step(what string, f func()) {
	start := time.Now()
	f()
	m.lines = append(m.lines, fmt.Sprintf("%-34s %7d ms", what, time.Since(start).Milliseconds()))
}

// memory notes the largest resident sets so far of the members that run.
func (m *table) memory(what string, w *world) {
	total := 0
	var each []string
	for _, c := range w.members {
		mb := peakMemory(c.cmd.Process.Pid)
		total += mb
		each = append(each, strconv.Itoa(mb))
	}
	m.most = max(m.most, total)
	m.lines = append(m.lines, fmt.Sprintf("%-34s %7d MB at most (%s)", what, total, strings.Join(each, " + ")))
}

// query asks and notes how long it took and for what.
func (m *table) query(what string, w *world) time.Duration {
	w.Helper()
	var a role.Answer
	cpu := w.processorTime()
	start := time.Now()
	w.check(w.call(context.Background(), hospitalA, "ask", w.ask("noisy", 50_000), &a))
	took := time.Since(start)
	cpu = w.processorTime() - cpu
	ms := func(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }
	m.lines = append(m.lines, fmt.Sprintf("%-34s %7d ms: submit %s, agree %s, sum %s beside shares %s, open %s; processors %s; %.1f MB of rows", what,
		took.Milliseconds(), ms(a.Timing.Submit), ms(a.Timing.Agree), ms(a.Timing.Sum), ms(a.Timing.Shares), ms(a.Timing.Open), ms(cpu), float64(a.Bytes.Rows)/1e6))
	return took
}

// processorTime is what members and ledger have used so far, which says more than the
// clock where others want the cores too; 0 where the system does not say.
func (w *world) processorTime() time.Duration {
	const tick = 10 * time.Millisecond // of Linux, for user space
	total := time.Duration(0)
	for _, c := range append(w.members[:], w.ledger) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
		if err != nil {
			return 0
		}
		fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		for _, f := range fields[11:13] { // user and system time
			n, _ := strconv.Atoi(f)
			total += time.Duration(n) * tick
		}
	}
	return total
}

// loadAverage is what the system says of the last minute.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(b), " ")
	if err != nil {
		return "unknown"
	}
	return first
}

// park asks a query that nobody fetches. Key sums are brought up to date after open
// queries, so that the next query finds none of those that were deleted.
func (w *world) park() {
	_, err := w.submit(hospitalA, contracts.QueryAsk, w.ask("noisy", 50_000))
	w.check(err)
}

// restart ends all members, changes their directories, does what may be done while
// they are down and starts them again.
func (w *world) restart(change func(dir string), meanwhile func()) {
	w.Helper()
	for i := range w.members {
		w.members[i].kill()
		change(w.member(i))
	}
	if meanwhile != nil {
		meanwhile()
	}
	for i := range w.members {
		w.up(i)
	}
	for i := range w.members {
		w.ready(i)
	}
}

// dropSums deletes the stored key sums of a member that is down.
func (w *world) dropSums(dir string) {
	db, err := pebble.Open(filepath.Join(dir, StateDir, "vault"), &pebble.Options{Logger: noLog{}})
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

// noLog drops what the database says.
type noLog struct{}

func (noLog) Infof(string, ...any)  {}
func (noLog) Errorf(string, ...any) {}
func (noLog) Fatalf(f string, args ...any) {
	panic(fmt.Sprintf(f, args...))
}
