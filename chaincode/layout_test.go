package chaincode_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// aging is the contracts with a function more: age gives the state another layout
// document, or none, as a chaincode of another version would have left it.
type aging struct{ shim.Chaincode }

func (a aging) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	function, args := stub.GetFunctionAndParameters()
	if function != "age" {
		return a.Chaincode.Invoke(stub)
	}
	err := errors.New("age takes one argument")
	if len(args) == 1 && args[0] == "" {
		err = stub.DelState(state.LayoutKey())
	} else if len(args) == 1 {
		err = stub.PutState(state.LayoutKey(), []byte(args[0]))
	}
	if err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(nil)
}

func (w *world) layout(msp string, function contracts.Method) state.Layout {
	w.Helper()
	var l state.Layout
	w.Must(msp, function, "{}", &l)
	return l
}

// A network begins in the layout of its chaincode, where there is nothing to move.
func TestANetworkHasALayoutFromTheStart(t *testing.T) {
	w := newWorld(t)
	want := state.Layout{Version: state.LayoutVersion}
	var got state.Layout
	if w.Read(outsider, contracts.RegistryGetLayout, "{}", &got); got != want {
		t.Errorf("a new network has layout %+v", got)
	}
	if got := w.layout(hospitalB, contracts.RegistryUpgrade); got != want {
		t.Errorf("moved to %+v", got)
	}
	w.Must(hospitalB, contracts.RegistryInit, w.Genesis)
}

// What the state is moved by, and to what: every entry once, none lost, in bounded
// steps that any member repeats; nobody works on a state that is half moved.
func TestStateMovesToTheNextLayout(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.enrolledPerson()
	}
	old := w.latest(state.KindPerson)
	if len(old) != 5 {
		t.Fatalf("%d persons", len(old))
	}
	restore := chaincode.NextLayout(2)
	defer func() { restore() }()

	w.refused(hospitalA, fault.Unavailable, "a member repeats Registry:Upgrade")
	for _, msp := range []string{outsider, gatewayMSP} {
		if _, err := w.Submit(msp, contracts.RegistryUpgrade, "{}"); fault.Of(err) != fault.Forbidden {
			t.Errorf("%s moves the state: %v", msp, err)
		}
	}
	next := state.LayoutVersion + 1
	for i, msp := range []string{hospitalA, hospitalB} {
		want := state.Layout{Version: state.LayoutVersion, To: next, Moved: uint64(2 * (i + 1))}
		if got := w.layout(msp, contracts.RegistryUpgrade); got != want {
			t.Errorf("step %d: %+v", i, got)
		}
		w.refused(hospitalA, fault.Unavailable, "a member repeats Registry:Upgrade")
		restore() // the chaincode before
		w.refused(hospitalA, fault.Internal, "upgrade this program")
		restore = chaincode.NextLayout(2)
	}
	want := state.Layout{Version: next, Moved: 5}
	for range 2 { // and once more without effect
		if got := w.layout(association, contracts.RegistryUpgrade); got != want {
			t.Errorf("at the end: %+v", got)
		}
	}
	w.Tick(start + 60)
	moved := w.latest(chaincode.KindNext)
	for name, value := range old {
		quoted, _ := json.Marshal(value)
		if moved[name] != string(quoted) {
			t.Errorf("person %s was moved to %q, want %s", name, moved[name], quoted)
		}
	}
	if left := w.latest(state.KindPerson); len(left) != 0 || len(moved) != len(old) {
		t.Errorf("%d entries were moved of %d, %d are left", len(moved), len(old), len(left))
	}
}

// Attack: chaincode that does not know the layout goes on all the same.
func TestAttackStateOfAnotherLayout(t *testing.T) {
	w := newWorld(t)
	for layout, words := range map[string]string{
		"":                       "has no layout number",
		`{"version":1}`:          "begin a new network",
		`{"version":0}`:          "begin a new network",
		`{"version":99}`:         "upgrade this program and the chaincode",
		`{"version":2,"to":3}`:   "upgrade this program and the chaincode",
		`{"version":2,"to":2}`:   "begin a new network",
		`{"version":4294967295}`: "upgrade this program and the chaincode",
	} {
		if _, err := w.Clients[hospitalA].Submit(context.Background(), network.Call{Function: "age", Args: []string{layout}}); err != nil {
			t.Fatal(err)
		}
		w.refused(hospitalA, fault.Internal, words)
		before := w.Ledger.Height()
		if _, err := w.Submit(hospitalA, contracts.RegistryUpgrade, "{}"); fault.Of(err) != fault.Internal || w.Ledger.Height() != before {
			t.Errorf("layout %s is moved: %v", layout, err)
		}
		if _, err := w.Submit(hospitalA, contracts.RegistryInit, w.Genesis); fault.Of(err) != fault.Internal || !strings.Contains(err.Error(), words) {
			t.Errorf("layout %s begins again: %v", layout, err)
		}
	}
}

// refused makes calls of every kind, which all must fail in this way.
func (w *world) refused(msp string, code fault.Code, words string) {
	w.Helper()
	for function, arg := range map[contracts.Method]any{
		contracts.ClockTick: record.Tick{Time: start + 60}, contracts.ClockNow: "{}", contracts.RegistryGetGenesis: "{}",
		contracts.RegistryGetPatient: record.RandomID().String(), contracts.StudyGet: `{"owner":"HospitalA","id":"x"}`,
	} {
		_, err := w.Submit(msp, function, arg, nil)
		if fault.Of(err) != code || !strings.Contains(fmt.Sprint(err), words) {
			w.Errorf("%s: %v, want %s: %s", function, err, code, words)
		}
	}
}

// latest reads the values of a kind from the chain, by their attributes.
func (w *world) latest(kind state.Kind) map[string]string {
	w.Helper()
	prefix := "\x00" + string(kind) + "\x00"
	values := map[string]string{}
	for b, err := range w.Ledger.Blocks(context.Background(), 0) {
		if err != nil {
			w.Fatal(err)
		}
		for _, tx := range b.Txs {
			for _, write := range tx.Writes {
				name, of := strings.CutPrefix(write.Key, prefix)
				switch {
				case of && tx.Valid && write.Delete:
					delete(values, name)
				case of && tx.Valid:
					values[name] = string(write.Value)
				}
			}
		}
		if b.Number+1 == w.Ledger.Height() {
			break
		}
	}
	return values
}
