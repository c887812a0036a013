package demo

import (
	"errors"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/vitalveil/vitalveil/network/fabric/launch"
	"github.com/vitalveil/vitalveil/wearable/recording"
)

// TestFabricGivesTheSameAnswers runs the demo on both ledgers.
func TestFabricGivesTheSameAnswers(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: runs a Fabric network")
	}
	_, err := launch.Build(t.Context(), testLog{t})
	if errors.Is(err, launch.ErrModules) || errors.Is(err, launch.ErrNoGo) {
		t.Skipf("SKIPPED: Fabric cannot be built here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	// The chaincode is served by the program itself, not by this test.
	program := filepath.Join(t.TempDir(), "vitalveil")
	if out, err := exec.Command("go", "build", "-o", program, "../..").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir := madeUp(t)
	on, _, _ := runDemo(t, Options{Replay: dir, Exact: true, Unit: UnitPerson, Ledger: LedgerFabric, Chaincode: []string{program, "chaincode"}})
	off, _, _ := runDemo(t, Options{Replay: dir, Exact: true, Unit: UnitPerson})
	src, err := recording.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	comparePeople(t, on, src, dir)
	checkPredicates(t, on)
	if !reflect.DeepEqual(on.Persons, off.Persons) || !reflect.DeepEqual(on.Refused, off.Refused) {
		t.Errorf("on Fabric %+v, embedded %+v", on.Persons, off.Persons)
	}
}

// testLog writes progress to the test's log.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", b)
	return len(b), nil
}
