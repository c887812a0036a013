package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/chaincode"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/internal/vault"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/embedded"
	"github.com/vitalveil/vitalveil/network/index/follow"
)

func must[T any](v T, err error) T { return consortium.Must(v, err) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// site is a state directory with a ledger and nothing on it but its genesis and ticks.
type site struct {
	*testing.T
	dir      string
	network  record.Descriptor
	identity network.Identity
}

func newSite(t *testing.T) *site {
	t.Helper()
	c := consortium.New(t, func(g *record.Genesis) { g.Network, g.Gateways = testNetwork, nil })
	s := &site{T: t, dir: t.TempDir(), network: record.Descriptor{Roots: map[string][]byte{}, Genesis: c.Genesis}}
	for _, msp := range consortium.MSPs {
		s.identity, s.network.Roots[msp] = consortium.Identity(msp), consortium.Authority(msp).RootPEM()
	}
	must(state.Claim(s.dir, knownVersion))
	check(t, os.MkdirAll(filepath.Join(s.dir, "gateway", "blobs"), 0o700))
	check(t, state.WriteFile(filepath.Join(s.dir, "network.json"), must(json.Marshal(s.network))))
	s.submit(contracts.RegistryInit, s.network.Genesis)
	return s
}

func (s *site) ledger() string { return filepath.Join(s.dir, "ledger") }

// submit starts the ledger, has one member submit a call and stops it again.
func (s *site) submit(m contracts.Method, argument any) {
	s.Helper()
	l, err := embedded.Open(embedded.Config{Dir: s.ledger(), Channel: testNetwork, Roots: s.network.Roots, Chaincode: must(chaincode.New(nil))})
	check(s.T, err)
	_, err = l.Client(s.identity).Submit(s.Context(), network.Call{Function: m.Name(), Args: []string{string(must(json.Marshal(argument)))}})
	check(s.T, err)
	check(s.T, l.Close())
}

var tipPattern = regexp.MustCompile(`tip ([0-9a-f]{64})`)

// verify checks the directory and returns the tip that it printed.
func (s *site) verify(tip Tip) (Tip, error) {
	s.Helper()
	var out bytes.Buffer
	err := Check(s.Context(), s.dir, tip, &out)
	printed := tipPattern.FindStringSubmatch(out.String())
	if printed == nil {
		s.Fatalf("no tip in %q (%v)", out.String(), err)
	}
	return Tip(must(record.ParseID(printed[1]))), err
}

// TestAttackEndOfTheLedgerCutOff: an older copy of a ledger is whole by itself. Who
// kept the tip, and the gateway's journal, know better.
func TestAttackEndOfTheLedgerCutOff(t *testing.T) {
	s := newSite(t)
	s.submit(contracts.ClockTick, record.Tick{Time: 1_735_689_600})
	older := t.TempDir()
	check(t, os.CopyFS(older, os.DirFS(s.ledger())))
	earlier, err := s.verify(Tip{})
	check(t, err)
	s.submit(contracts.ClockTick, record.Tick{Time: 1_735_689_660})
	tip, err := s.verify(earlier)
	check(t, err)
	if tip == earlier {
		t.Fatal("the tip did not move")
	}
	check(t, os.RemoveAll(s.ledger()))
	check(t, os.Rename(older, s.ledger()))
	if _, err := s.verify(Tip{}); err != nil {
		t.Errorf("the older copy by itself: %v", err)
	}
	if _, err := s.verify(tip); err == nil || !strings.Contains(err.Error(), "blocks are missing") {
		t.Errorf("got %v", err)
	}
	for _, known := range []struct {
		block follow.Block
		fits  bool
	}{
		{follow.Block{Number: 2, Hash: record.ID(earlier)}, true},
		{follow.Block{Number: 3, Hash: record.ID(tip)}, false},
	} {
		s.hasRead(consortium.HospitalA, known.block)
		if _, err := s.verify(Tip{}); (err == nil) != known.fits {
			t.Errorf("a member has read block %d: %v", known.block.Number, err)
		}
	}
}

// hasRead is the state of a member that has read a block.
func (s *site) hasRead(msp string, b follow.Block) {
	s.Helper()
	dir := filepath.Join(s.dir, "institutions", msp)
	_, err := state.Claim(dir, 1)
	check(s.T, err)
	v, err := vault.Open(filepath.Join(dir, "vault"), filepath.Join(dir, "vault.key"))
	check(s.T, err)
	check(s.T, v.Update(true, func(batch *pebble.Batch) error {
		return v.Set(batch, []byte("ledger/head"), must(json.Marshal(b)))
	}))
	check(s.T, v.Close())
}

func TestWhatTheGatewayHasToldIsOnTheLedger(t *testing.T) {
	c := newChecker(record.Descriptor{})
	c.takeBlock(&network.Block{Number: 4, Txs: []network.Tx{{ID: "here", Valid: true}, {ID: "without effect"}}})
	for name, op := range map[string]struct {
		op          *apiv1.Operation
		told, wrong int
	}{
		"recorded":       {&apiv1.Operation{TxId: "here", Block: 4}, 1, 0},
		"another block":  {&apiv1.Operation{TxId: "here", Block: 5}, 1, 1},
		"cut off":        {&apiv1.Operation{TxId: "gone", Block: 7}, 1, 1},
		"without effect": {&apiv1.Operation{TxId: "without effect", Block: 4}, 1, 1},
		"failed":         {&apiv1.Operation{TxId: "gone", Block: 7, Error: &apiv1.Failure{Code: "CONFLICT"}}, 0, 0},
		"waiting":        {&apiv1.Operation{}, 0, 0},
	} {
		c.failures = nil
		if told := c.operation(op.op); told != op.told || len(c.failures) != op.wrong {
			t.Errorf("%s: %d told, wrong %v", name, told, c.failures)
		}
	}
	c.places.journal, c.failures = filepath.Join(t.TempDir(), "journal"), nil
	if n := c.operations(context.Background()); n != 0 || len(c.failures) > 0 {
		t.Errorf("without a journal: %d, %v", n, c.failures)
	}
}
