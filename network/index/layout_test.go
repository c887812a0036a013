package index

import (
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// What an index cannot read it does not pass over: it stops, and says who is too old.
func TestAttackLedgerOfAnotherLayout(t *testing.T) {
	l := newLedger()
	genesis := put(state.GenesisKey(), l.genesis)
	tick := put(state.TickKey(members[0]), record.Tick{Time: day0 * 86400})
	layout := func(l state.Layout) network.Write { return put(state.LayoutKey(), l) }
	current, next := state.LayoutVersion, state.LayoutVersion+1
	for name, c := range map[string]struct {
		writes []network.Write
		words  string // of the error; none if the block is fine
	}{
		"none":      {[]network.Write{genesis, tick}, "does not say which layout"},
		"older":     {[]network.Write{genesis, layout(state.Layout{Version: 1}), tick}, "this version reads 2 and later"},
		"newer":     {[]network.Write{genesis, layout(state.Layout{Version: next}), tick}, "upgrade this program"},
		"on to it":  {[]network.Write{genesis, layout(state.Layout{Version: current, To: next}), tick}, "upgrade this program"},
		"current":   {[]network.Write{genesis, layout(state.Layout{Version: current}), tick}, ""},
		"once more": {[]network.Write{genesis, layout(state.Layout{Version: current}), layout(state.Layout{Version: current}), tick}, ""},
	} {
		err := blank().Apply(&network.Block{Txs: []network.Tx{{ID: "tx", Valid: true, Writes: c.writes}}})
		if c.words == "" && err != nil || c.words != "" && (fault.Of(err) != fault.Internal || !strings.Contains(err.Error(), c.words)) {
			t.Errorf("%s: %v, want %q", name, err, c.words)
		}
	}
}
