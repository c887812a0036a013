package index

import (
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// What an index cannot read it does not pass over: it stops, and says who is too old.
func TestAttackLedgerOfAnotherLayout(t *testing.T) {
	l := newLedger()
	genesis := put(chaincode.GenesisKey(), l.genesis)
	tick := put(chaincode.TickKey(members[0]), record.Tick{Time: day0 * 86400})
	layout := func(l chaincode.Layout) network.Write { return put(chaincode.LayoutKey(), l) }
	current, next := chaincode.LayoutVersion, chaincode.LayoutVersion+1
	for name, c := range map[string]struct {
		writes []network.Write
		words  string // of the error; none if the block is fine
	}{
		"none":      {[]network.Write{genesis, tick}, "does not say which layout"},
		"older":     {[]network.Write{genesis, layout(chaincode.Layout{Version: 1}), tick}, "this version reads 2 and later"},
		"newer":     {[]network.Write{genesis, layout(chaincode.Layout{Version: next}), tick}, "upgrade this program"},
		"on to it":  {[]network.Write{genesis, layout(chaincode.Layout{Version: current, To: next}), tick}, "upgrade this program"},
		"current":   {[]network.Write{genesis, layout(chaincode.Layout{Version: current}), tick}, ""},
		"once more": {[]network.Write{genesis, layout(chaincode.Layout{Version: current}), layout(chaincode.Layout{Version: current}), tick}, ""},
	} {
		err := blank().Apply(&network.Block{Txs: []network.Tx{{ID: "tx", Valid: true, Writes: c.writes}}})
		if c.words == "" && err != nil || c.words != "" && (fault.Of(err) != fault.Internal || !strings.Contains(err.Error(), c.words)) {
			t.Errorf("%s: %v, want %q", name, err, c.words)
		}
	}
}
