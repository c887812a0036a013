package institution

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// answers is a ledger whose chaincode gives one layout after the other, and refuses
// after the last: no chaincode that this program comes with has anything to move.
type answers struct {
	network.Client
	layouts []state.Layout
	calls   int
}

func (a *answers) Submit(_ context.Context, call network.Call) (network.Result, error) {
	if call.Function != contracts.RegistryUpgrade.Name() || a.calls == len(a.layouts) {
		return network.Result{}, fault.New(fault.Forbidden, "not expected")
	}
	raw, err := json.Marshal(a.layouts[a.calls])
	a.calls++
	return network.Result{Payload: raw}, err
}

// An institution that starts repeats the step until the state is moved, and neither
// asks for nothing nor for ever.
func TestStartMovesTheState(t *testing.T) {
	current := state.LayoutVersion
	old := state.Layout{Version: current - 1}
	moving := state.Layout{Version: current - 1, To: current, Moved: 200}
	done := state.Layout{Version: current, Moved: 300}
	for name, c := range map[string]struct {
		first   state.Layout
		answers []state.Layout
		code    fault.Code
	}{
		"nothing to do":                   {state.Layout{Version: current}, nil, ""},
		"moved in two steps":              {old, []state.Layout{moving, done}, ""},
		"begun by another, who stopped":   {moving, []state.Layout{done}, ""},
		"refused":                         {old, nil, fault.Forbidden},
		"the ledger's chaincode is older": {old, []state.Layout{old}, fault.Internal},
	} {
		ledger := &answers{layouts: c.answers}
		err := upgrade(t.Context(), ledger, c.first)
		if fault.Of(err) != c.code || ledger.calls != len(c.answers) {
			t.Errorf("%s: %v after %d calls", name, err, ledger.calls)
		}
	}
}
