package institution

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// TestAttackCopiedSeedBoxAmongProcesses: what three institutions and a ledger, each a
// process of its own, publish about devices that sealed under another device's keys:
// that they are at fault, and no value that opens anything.
func TestAttackCopiedSeedBoxAmongProcesses(t *testing.T) {
	w := newWorld(t, 1)
	w.startAll()
	w.enrol(1)
	victim := must(opening.Boxes(w.people[0].device.Seeds, w.people[0].device.ID, 6))
	for _, copied := range []func(mine, his []byte) []byte{
		func(mine, his []byte) []byte { return slices.Concat(his[:32], mine[32:]) },
		func(_, his []byte) []byte { return his },
	} {
		thief := w.Patient().NewDevice(firstHour, metricKey)
		thief.Reseed(w.Params, w.Epoch, func(_ []he.Seed, blob *[]byte) {
			if blob == nil {
				return
			}
			mine := must(opening.Boxes(*blob, thief.ID, 6))
			for i := range mine {
				mine[i] = copied(mine[i], victim[i])
			}
			*blob = opening.Blob(thief.ID, mine)
		})
		thief.Sign()
		thief.Enrol()
	}
	w.wait("both are put out", time.Minute, func(s Status) bool { return s.Counts.Quarantined == 2 && s.Counts.Ready == 1 })

	complaints := 0
	height := must(w.clients[patients].Height(t.Context()))
	for b, err := range w.clients[patients].Blocks(t.Context(), 0) {
		w.check(err)
		for _, tx := range b.Txs {
			if tx.Function != contracts.RegistryComplain.Name() {
				continue
			}
			var c record.Complain
			w.check(json.Unmarshal([]byte(tx.Args[0]), &c))
			if complaints++; len(c.Proof) != 0 {
				t.Errorf("%s opens a box of piece %d", tx.Creator.MSP, c.Piece)
			}
		}
		if b.Number+1 >= height {
			break
		}
	}
	if complaints < 2 {
		t.Errorf("%d complaints were read", complaints)
	}
}
