package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
)

// inStore closes the ledger and changes what it stored.
func inStore(t *testing.T, dir string, change func(*pebble.DB)) {
	t.Helper()
	db, err := openStore(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	change(db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func set(t *testing.T, db *pebble.DB, key []byte, v any) {
	t.Helper()
	data, err := marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Set(key, data, pebble.Sync); err != nil {
		t.Fatal(err)
	}
}

func refusesToOpen(t *testing.T, cfg Config, words string) error {
	t.Helper()
	l, err := Open(cfg)
	if err == nil {
		l.Close()
		t.Fatal("it opened")
	}
	if !strings.Contains(err.Error(), words) {
		t.Fatalf("got %q, want it to say %q", err, words)
	}
	return err
}

func TestNewerSchemaIsRefused(t *testing.T) {
	h := newHarness(t)
	h.close(t)
	inStore(t, h.cfg.Dir, func(db *pebble.DB) { set(t, db, keySchema, uint64(schemaVersion+1)) })
	if err := refusesToOpen(t, h.cfg, "has 2, this program knows 1"); !errors.Is(err, ErrNewerSchema) {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), h.cfg); !errors.Is(err, ErrNewerSchema) {
		t.Fatal(err)
	}
}

func TestWhatIsNotTheLedgerIsRefused(t *testing.T) {
	h := newHarness(t)
	h.close(t)
	other := newConsortium(t)

	cfg := h.cfg
	cfg.Channel = "other"
	refusesToOpen(t, cfg, `channel "test"`)
	cfg = h.cfg
	cfg.Roots = other.roots
	refusesToOpen(t, cfg, "other root certificates")
	cfg = h.cfg
	cfg.Operator = other.ids[conformance.OrgA]
	refusesToOpen(t, cfg, "operator's key")
	cfg = h.cfg
	cfg.Dir = t.TempDir()
	cfg.ReadOnly = true
	refusesToOpen(t, cfg, "there is no ledger")
	cfg.ReadOnly = false
	cfg.Roots = nil
	refusesToOpen(t, cfg, "no root certificates")
	cfg = h.cfg
	cfg.Dir, cfg.Channel = t.TempDir(), ""
	refusesToOpen(t, cfg, "channel name")
	refusesToOpen(t, Config{}, "directory")
	if _, err := Verify(t.Context(), Config{Dir: filepath.Join(t.TempDir(), "nothing")}); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	inStore(t, h.cfg.Dir, func(db *pebble.DB) {
		if err := db.Delete(keySchema, pebble.Sync); err != nil {
			t.Fatal(err)
		}
	})
	refusesToOpen(t, h.cfg, "is not a ledger")
}

func TestSecondOpenIsRefused(t *testing.T) {
	h := newHarness(t)
	refusesToOpen(t, h.cfg, "only one process")
}

func TestReadOnly(t *testing.T) {
	h := newHarness(t)
	c := h.Client(t, conformance.OrgA)
	mustSubmit(t, c, putCall("k"))
	h.close(t)
	h.cfg = Config{Dir: h.cfg.Dir, Chaincode: conformance.Chaincode{}, ReadOnly: true} // the rest is in the ledger
	h.open(t)
	c = h.Client(t, conformance.OrgA)
	if _, err := c.Submit(t.Context(), putCall("k")); fault.Of(err) != fault.Forbidden {
		t.Fatalf("got %v", err)
	}
	got, err := c.Evaluate(t.Context(), network.Call{Function: "get", Args: []string{"k"}})
	if err != nil || string(got) != "v" {
		t.Fatalf("got %q, %v", got, err)
	}
	if h.ledger.Height() != 2 || h.ledger.Channel() != "test" || len(h.ledger.Roots()) != 2 {
		t.Fatal("height, channel or roots differ")
	}
	verifies(t, h.ledger)
}

// TestOwnOperator: the operator's identity may come from outside.
func TestOwnOperator(t *testing.T) {
	h := &harness{consortium: newConsortium(t)}
	h.cfg = Config{
		Dir: t.TempDir(), Channel: "test", Roots: h.roots,
		Chaincode: conformance.Chaincode{}, Operator: h.ids[conformance.OrgA],
	}
	h.open(t)
	mustSubmit(t, h.Client(t, conformance.OrgA), putCall("k"))
	h.Restart(t)
	verifies(t, h.ledger)
	h.close(t)
	if _, err := os.Stat(filepath.Join(h.cfg.Dir, "operator")); err == nil {
		t.Fatal("an operator's key was made although one was given")
	}
}

func TestWithoutChaincode(t *testing.T) {
	h := &harness{consortium: newConsortium(t)}
	h.cfg = Config{Dir: t.TempDir(), Channel: "test", Roots: h.roots}
	h.open(t)
	defer h.close(t)
	if _, err := h.Client(t, conformance.OrgA).Submit(t.Context(), putCall("k")); fault.Of(err) != fault.Unavailable {
		t.Fatalf("got %v", err)
	}
}
