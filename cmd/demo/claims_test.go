package demo

import (
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/network/fabric/launch"
	"github.com/vitalveil/vitalveil/wearable/recording"
	"github.com/vitalveil/vitalveil/zk/claim"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// recordedClaims are asked about recorded vitals: of a day, and with the last two of a week.
var recordedClaims = []string{
	"fitbit-2022484408: on 2025-01-01, heart rate was between 50 and 100 /min in at least 300 of the 1440 minutes 00:00-24:00 UTC",
	"fitbit-2022484408: on 2025-01-01, heart rate was between 50 and 60 /min in at least 300 of the 1440 minutes 00:00-24:00 UTC",
	"fitbit-2022484408: on 2025-01-02, heart rate was below 49 or above 110 /min in at most 0 of the 1440 minutes 00:00-24:00 UTC, with at least 600 measured",
	"fitbit-2022484408: on 2025-01-02, heart rate was measured in at least 634 of the 1440 minutes 00:00-24:00 UTC; the mean over all the time was between 70 and 75 /min",
	"fitbit-2022484408: on 2025-01-02, heart rate was measured in at least 634 of the 1440 minutes 00:00-24:00 UTC; the mean over all the time was at least 75 /min",
	"wesd-s01: on 2025-01-01, heart rate was between 60 and 190 /min in at least 150 of the 1440 minutes 00:00-24:00 UTC, and outside of that in at most 30",
	"wesd-s01: on 2025-01-01, skin temperature was measured in at least 100 of the 1440 minutes 00:00-24:00 UTC; the mean over all the time was at most 26 Cel",
	"wesd-s01: on 2025-01-01, skin temperature was between 22 and 29 Cel in at least 180 of the 1440 minutes 00:00-24:00 UTC",
}

var recordedWeeks = []string{
	"bigideas-001: on at least 5 of the 7 days from 2025-01-01, blood glucose was between 70 and 140 mg/dL in at least 60 of the 480 minutes 00:00-06:00 and 22:00-24:00 UTC of each day",
	"bigideas-001: on at least 7 of the 7 days from 2025-01-01, blood glucose was between 70 and 140 mg/dL in at least 250 of the 1440 minutes 00:00-24:00 UTC of each day; the mean over all the time was at most 110 mg/dL",
}

// Ten claims about recorded vitals, some of which hold, go from sentences through bridge
// and ledger and back; which hold is computed from the recordings alone. The weeks' keys
// take long to make, so these wait for VITALVEIL_SOAK, and for Fabric too.
func TestRecordedClaimsAreProvenIfTheyHold(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: whole demo runs")
	}
	vitals := filepath.Join("..", "..", "..", "shared", "data", "vitals")
	if _, err := os.Stat(vitals); err != nil {
		t.Skipf("SKIPPED: recorded vitals are not beside this checkout (%v)", err)
	}
	soak := os.Getenv("VITALVEIL_SOAK") != ""
	dir, claims := t.TempDir(), recordedClaims
	partOf(t, vitals, dir, "fitbit", "fitbit-2022484408", 2)
	partOf(t, vitals, dir, "wesd", "wesd-s01", 1)
	if soak {
		partOf(t, vitals, dir, "bigideas", "bigideas-001", 7)
		claims = append(claims[:len(claims):len(claims)], recordedWeeks...)
	}
	want := truths(t, dir, claims)
	o := Options{Replay: dir, Claims: claims, Ask: []string{"heart_rate"}, Unit: UnitMinute}
	r, _, _ := runDemo(t, o)
	if got := outcomes(r); !reflect.DeepEqual(got, want) {
		t.Errorf("embedded:\n%v\nfrom the recordings:\n%v", got, want)
	}
	if !soak {
		return
	}
	_, err := launch.Build(t.Context(), testLog{t})
	if errors.Is(err, launch.ErrModules) || errors.Is(err, launch.ErrNoGo) {
		t.Skipf("SKIPPED: Fabric cannot be built here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "vitalveil")
	if out, err := exec.Command("go", "build", "-o", program, "../..").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	o.Ledger, o.Chaincode = LedgerFabric, []string{program, "chaincode"}
	if o.State, err = os.MkdirTemp("", "vv"); err != nil { // sockets lie below it, whose paths are short
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(o.State) })
	r, _, _ = runDemo(t, o)
	if got := outcomes(r); !reflect.DeepEqual(got, want) {
		t.Errorf("Fabric:\n%v\nfrom the recordings:\n%v", got, want)
	}
}

func outcomes(r *Report) []string {
	var list []string
	for _, p := range r.Predicates {
		list = append(list, p.Outcome)
	}
	return list
}

// partOf copies the first days of a recording.
func partOf(t *testing.T, vitals, to, set, subject string, days int64) {
	t.Helper()
	var b strings.Builder
	b.WriteString("subject,t_seconds,metric,value,unit\n")
	for _, line := range csvLines(t, filepath.Join(vitals, set)) {
		f := strings.Split(line, ",")
		if f[0] == subject && rat(t, f[1]).Cmp(big.NewRat(days*86400, 1)) < 0 {
			b.WriteString(line + "\n")
		}
	}
	if err := os.WriteFile(filepath.Join(to, subject+".csv"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// truths says which claims hold, from the minute grid of the CSV. It knows ranges, counts
// and means, by minutes and values, and nothing of codes or circuits.
func truths(t *testing.T, dir string, claims []string) []string {
	t.Helper()
	grid, _ := gridFromCSV(t, dir)
	var list []string
	held := 0
	for _, text := range claims {
		subject, sentence, _ := strings.Cut(text, ": ")
		c, err := claim.English.Parse(sentence)
		if err != nil {
			t.Fatal(err)
		}
		outcome := "declined"
		if holds(t, grid, subject, c) {
			outcome, held = "attested", held+1
		}
		list = append(list, outcome)
	}
	if held < 3 || len(claims)-held < 3 {
		t.Fatalf("%d of %d claims hold: %v", held, len(claims), list)
	}
	return list
}

func holds(t *testing.T, grid map[cell]*big.Int, subject string, c claim.Claim) bool {
	t.Helper()
	b, passed := c.Bounds, 0
	sum, count := new(big.Int), int64(0)
	first := (c.FirstDay*86400 - recording.Epoch) / 60
	for day := range int64(c.Days) {
		inside, present := 0, 0
		for minute := range int64(1440) {
			x := grid[cell{subject, c.Metric.Key, strconv.FormatInt(first+day*1440+minute, 10)}]
			if x == nil || b.HourMask>>(minute/60)&1 == 0 {
				continue
			}
			present++
			if x.Int64() >= c.Metric.Units(uint16(b.Lo)) && x.Int64() <= c.Metric.Units(uint16(b.Hi)) {
				inside++
			}
			sum.Add(sum, x)
			count++
		}
		if inside >= int(b.K) && present-inside <= int(b.OutMax) && present >= int(b.MinCount) {
			passed++
		}
	}
	mean := new(big.Rat).SetFrac(sum, big.NewInt(max(1, count)))
	low := b.MeanLo == verifier.MeanLoOff || mean.Cmp(new(big.Rat).SetInt64(c.Metric.Units(uint16(b.MeanLo)))) >= 0
	high := b.MeanHi == verifier.MeanHiOff || mean.Cmp(new(big.Rat).SetInt64(c.Metric.Units(uint16(b.MeanHi)))) <= 0
	return passed >= int(b.DayK) && low && high
}
