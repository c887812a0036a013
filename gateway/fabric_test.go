package gateway

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network/fabric/launch"
	"github.com/vitalveil/vitalveil/network/fabric/launch/launchtest"
)

// newFabricWorld is newWorld on a Fabric network of the three organisations.
func newFabricWorld(t *testing.T) *world {
	t.Helper()
	launchtest.Build(t)
	// The chaincode is served by the program itself, not by this test.
	program := filepath.Join(t.TempDir(), "vitalveil")
	if out, err := exec.Command("go", "build", "-o", program, "..").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir, err := os.MkdirTemp("", "vv") // short, for the sockets in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	n := launchtest.Up(t, launch.Options{
		Dir: filepath.Join(dir, "fabric"), Orgs: consortium.MSPs, Chaincode: []string{program, "chaincode"},
	})
	return newWorldOn(t, "vitalveil", func(w *world) {
		w.waits = 2 * time.Minute
		w.Cleanup(func() {
			if w.Failed() {
				w.Logf("the gateway's log: %s", w.logged)
			}
		})
		launchtest.Join(n, w.Consortium)
	})
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
