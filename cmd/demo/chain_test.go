package demo

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/network/embedded"
)

// checkConsentsOffChain reads every block: no argument, write or event has a field
// or the digest of a consent document, and of the details off-chain the
// erased patient's are gone and the others' there.
func checkConsentsOffChain(t *testing.T, w *world) {
	t.Helper()
	l, err := embedded.Open(embedded.Config{Dir: filepath.Join(w.dir, "ledger"), Channel: w.genesis.Network, Roots: w.roots(), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	needles := []string{"data_until", "operations", "not_before"}
	for _, p := range w.people {
		needles = append(needles, p.consent.Digest(w.genesis.Network).String())
	}
	consents, private := 0, map[state.Kind]int{}
	for b, err := range l.Blocks(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range b.Txs {
			for _, p := range tx.Private {
				if p.Collection == state.Collection && p.Available && !p.Delete {
					kind, _, err := state.ParseKey(p.Key)
					if err != nil {
						t.Error(err)
					}
					private[kind]++
				}
			}
			tx.Private = nil
			raw, err := json.Marshal(tx)
			if err != nil {
				t.Fatal(err)
			}
			public := string(raw) + string(tx.Event.Payload)
			for _, x := range tx.Writes {
				public += string(x.Value)
				if strings.HasPrefix(x.Key, "\x00"+string(state.KindConsent)+"\x00") {
					consents++
				}
			}
			for _, n := range needles {
				if strings.Contains(public, n) {
					t.Errorf("block %d, %s shows %q of a consent", b.Number, tx.Function, n)
				}
			}
		}
		if b.Number+1 == l.Height() {
			break
		}
	}
	if n := private[state.KindConsentDetails]; consents != len(w.people)+1 || n != len(w.people)-1 { // one revoked, and was erased
		t.Errorf("%d versions of %d people's consents, details of %d", consents, len(w.people), n)
	}
	if n := private[state.KindQuestion]; n < 2 || len(private) != 2 {
		t.Errorf("two claims were asked, and %v is private", private)
	}
}
