package embedded

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
)

// childEnv tells the test binary that it is a child that writes to the ledger
// in this directory until it is killed.
const childEnv = "VITALVEIL_TEST_LEDGER_CHILD"

// runChild is the child: it prints each key once its transaction is committed.
func runChild() bool {
	dir := os.Getenv(childEnv)
	if dir == "" {
		return false
	}
	id, err := network.LoadIdentity(filepath.Join(dir, "id"))
	if err == nil {
		err = writeUntilKilled(dir, id)
	}
	fmt.Println("failed:", err)
	return true
}

func writeUntilKilled(dir string, id network.Identity) error {
	l, err := Open(Config{Dir: dir, Chaincode: conformance.Chaincode{}})
	if err != nil {
		return err
	}
	c := l.Client(id)
	var mu sync.Mutex
	errs := make(chan error)
	for range 4 {
		go func() {
			for {
				key := fmt.Sprintf("key-%016x", rand.Uint64())
				call := network.Call{
					Function: "putPrivate", Args: []string{secrets, key},
					Transient: map[string][]byte{"value": []byte(key)},
				}
				if rand.N(2) == 0 {
					call = network.Call{Function: "put", Args: []string{key, key}}
				}
				if _, err := c.Submit(context.Background(), call); err != nil {
					errs <- err
					return
				}
				mu.Lock()
				fmt.Println(key)
				mu.Unlock()
			}
		}()
	}
	return <-errs
}

// TestKill: a process that is killed at any moment has lost nothing that it
// acknowledged, and what it left verifies.
func TestKill(t *testing.T) {
	h := newHarness(t)
	if err := h.ids[conformance.OrgA].Save(filepath.Join(h.cfg.Dir, "id")); err != nil {
		t.Fatal(err)
	}
	rounds := 5
	if os.Getenv("VITALVEIL_SOAK") != "" {
		rounds = 100
	}
	acknowledged := map[string]bool{}
	for round := range rounds {
		h.close(t)
		for _, key := range killedChild(t, h.cfg.Dir) {
			acknowledged[key] = true
		}
		h.open(t)
		c := h.Client(t, conformance.OrgA)
		for key := range acknowledged {
			public, err := c.Evaluate(t.Context(), network.Call{Function: "get", Args: []string{key}})
			if err != nil {
				t.Fatal(err)
			}
			private, err := c.Evaluate(t.Context(), network.Call{Function: "getPrivate", Args: []string{secrets, key}})
			if err != nil {
				t.Fatal(err)
			}
			if string(public)+string(private) != key {
				t.Fatalf("round %d: %s was acknowledged and is lost", round, key)
			}
		}
		verifies(t, h.ledger)
	}
	t.Logf("%d acknowledged transactions survived %d kills", len(acknowledged), rounds)
	if len(acknowledged) < rounds {
		t.Fatal("the children did too little for this to mean something")
	}
}

// killedChild runs a child, kills it at a random moment and returns the keys
// that it acknowledged.
func killedChild(t *testing.T, dir string) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var keys []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "failed:") {
			t.Fatal("the child " + line)
		}
		if len(line) != len("key-")+16 {
			break // cut off by the kill
		}
		if keys = append(keys, line); len(keys) == 1 {
			time.AfterFunc(rand.N(100*time.Millisecond), func() { cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	return keys
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}
