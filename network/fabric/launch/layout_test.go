package launch

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// The contracts come as the next sequence upon state that another chaincode left:
// they serve it if it says that it has their layout, and else refuse every call.
func TestUpgradeToContractsAsksForTheLayout(t *testing.T) {
	n := launchNetwork(t, Options{Attached: true})
	c := connectAs(t, n, "HospitalA")
	serve := func(word string) {
		t.Helper()
		n.chaincode = []string{os.Args[0], word}
		if err := n.Upgrade(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	g := record.Genesis{Network: channelName, Clock: record.ClockSimulated, Threshold: 2}
	for _, o := range n.topology.Orgs {
		g.Members = append(g.Members, record.Member{MSP: o.MSP})
	}
	put(t, c, state.GenesisKey(), text(t, g))
	serve(serveContracts)
	for _, m := range []contracts.Method{contracts.RegistryGetGenesis, contracts.RegistryGetLayout, contracts.RegistryUpgrade, contracts.ClockNow} {
		_, err := c.Evaluate(t.Context(), network.Call{Function: m.Name(), Args: []string{"{}"}})
		if fault.Of(err) != fault.Internal || !strings.Contains(err.Error(), "no layout number") {
			t.Errorf("%s on state without a layout: %v", m, err)
		}
	}
	_, _, err := contracts.ClockTick.Submit(t.Context(), c, record.Tick{Time: 1})
	if fault.Of(err) != fault.Internal {
		t.Errorf("a transaction on state without a layout: %v", err)
	}

	want := state.Layout{Version: state.LayoutVersion}
	serve(serveConformance)
	put(t, c, state.LayoutKey(), text(t, want))
	serve(serveContracts)
	got, _, err := contracts.RegistryUpgrade.Submit(t.Context(), c, struct{}{})
	if err != nil || got != want {
		t.Errorf("upgrade of state in the layout already: %+v, %v", got, err)
	}
	if _, err := contracts.RegistryGetGenesis.Evaluate(t.Context(), c, struct{}{}); err != nil {
		t.Errorf("the genesis after the upgrade: %v", err)
	}
}

func text(t *testing.T, document any) string {
	t.Helper()
	raw, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
