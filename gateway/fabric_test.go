package gateway

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/details/detailstest"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/fabric"
	"github.com/vitalveil/vitalveil/network/fabric/launch"
)

// newFabricWorld is newWorld on a Fabric network of the three organisations.
func newFabricWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED, NOT PASSED: runs a Fabric network")
	}
	_, err := launch.Build(t.Context(), testLog{t})
	if errors.Is(err, launch.ErrModules) || errors.Is(err, launch.ErrNoGo) {
		t.Skipf("SKIPPED, NOT PASSED: Fabric cannot be built here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	// The chaincode is served by the program itself, not by this test.
	program := filepath.Join(t.TempDir(), "vitalveil")
	if out, err := exec.Command("go", "build", "-o", program, "..").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return newWorldOn(t, func(w *world) string { return w.openFabric(testLog{t}, program) })
}

func (w *world) openFabric(log testLog, program string) string {
	w.Helper()
	w.waits = 2 * time.Minute
	w.Cleanup(func() {
		if w.Failed() {
			w.Logf("the gateway's log: %s", w.logged)
		}
	})
	dir, err := os.MkdirTemp("", "vv") // short, for the sockets in it
	w.ok(err)
	w.Cleanup(func() { w.ok(os.RemoveAll(dir)) })
	n, err := launch.Up(context.Background(), launch.Options{
		Dir: filepath.Join(dir, "fabric"), Orgs: []string{hospitalA, hospitalB, association},
		Attached: true, Chaincode: []string{program, "chaincode"}, Log: log,
	})
	w.ok(err)
	w.Cleanup(func() { w.ok(n.Down(context.Background())) })
	p, err := n.Profile()
	w.ok(err)
	for _, msp := range []string{hospitalA, hospitalB, association} {
		org, err := p.Org(msp)
		w.ok(err)
		id, err := network.LoadIdentity(org.IdentityDir)
		w.ok(err)
		c, err := fabric.Connect(p, id, fabric.WithPeers(msp))
		w.ok(err)
		w.Cleanup(func() { w.ok(c.Close()) })
		w.members[msp] = c
		detailstest.Serve(w, w.details, fabric.KeySocket(n.Dir(), msp))
	}
	return p.Channel
}

// testLog shows progress in the test's output.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// TestAttackDocumentsThatAreTriedForEverOnFabric: sixteen of each kind end, and a
// revocation goes through meanwhile about as fast as alone.
func TestAttackDocumentsThatAreTriedForEverOnFabric(t *testing.T) {
	w := newFabricWorld(t)
	gone, living, bad, given, kept := poisoned(w)
	calm := w.enrolled()
	mine := calm.consent()
	w.done(w.as("", nil).PutConsent(context.Background(), mine))
	alone := w.took(calm, mine)

	var mu sync.Mutex
	var ops []*api.Operation
	var posting sync.WaitGroup
	for what, post := range hostile(w, gone, living, bad, given, kept) {
		posting.Go(func() {
			for range workers {
				op, err := post()
				if err != nil && fault.Codes[fault.Of(err)].Retry {
					t.Errorf("%s is refused for now only: %v", what, err)
				}
				if err == nil {
					mu.Lock()
					ops = append(ops, op)
					mu.Unlock()
				}
			}
		})
	}
	took := w.took(living, kept)
	posting.Wait()
	t.Logf("a revocation took %s alone, and %s among hostile documents, of which %d were accepted", alone, took, len(ops))
	if took > 2*alone+3*time.Second {
		t.Errorf("a revocation took %s, alone %s", took, alone)
	}
	w.restart()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, op := range ops {
		_, err := w.as("", nil).Wait(ctx, op)
		if err == nil || fault.Codes[fault.Of(err)].Retry {
			t.Errorf("a hostile document ended with %v", err)
		}
	}
}
