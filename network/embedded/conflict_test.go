package embedded

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
)

// script is chaincode made of a function per name.
type script map[string]func(shim.ChaincodeStubInterface) error

func (script) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (s script) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	name, _ := stub.GetFunctionAndParameters()
	if err := s[name](stub); err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(nil)
}

func putting(key, value string) func(shim.ChaincodeStubInterface) error {
	return func(s shim.ChaincodeStubInterface) error { return s.PutState(key, []byte(value)) }
}

func walk(start, end string, most int) func(shim.ChaincodeStubInterface) error {
	return func(s shim.ChaincodeStubInterface) error {
		it, err := s.GetStateByRange(start, end)
		if err != nil {
			return err
		}
		for n := 0; n != most && it.HasNext(); n++ {
			if _, err := it.Next(); err != nil {
				return err
			}
		}
		return it.Close()
	}
}

// TestConflictRules: a transaction reads, another one commits, the first one is
// ordered. The state holds b, d and f.
func TestConflictRules(t *testing.T) {
	get := func(key string) func(shim.ChaincodeStubInterface) error {
		return func(s shim.ChaincodeStubInterface) error { _, err := s.GetState(key); return err }
	}
	for _, c := range []struct {
		name  string
		read  func(shim.ChaincodeStubInterface) error
		write func(shim.ChaincodeStubInterface) error
		want  code
	}{
		{"another key", get("b"), putting("d", "2"), codeValid},
		{"the key", get("b"), putting("b", "2"), codeMVCC},
		{"the key, same value again", get("b"), putting("b", "1"), codeMVCC},
		{"the key is deleted", get("b"), putting("b", ""), codeMVCC},
		{"an absent key appears", get("a"), putting("a", "1"), codeMVCC},
		{"an absent key is deleted", get("a"), putting("a", ""), codeValid},
		{"range: a key appears", walk("a", "e", -1), putting("c", "1"), codePhantom},
		{"range: a key disappears", walk("a", "e", -1), putting("d", ""), codePhantom},
		{"range: a key changes", walk("a", "e", -1), putting("d", "2"), codePhantom},
		{"range: behind its end", walk("a", "e", -1), putting("e", "1"), codeValid},
		{"range: before its start", walk("c", "e", -1), putting("b", "2"), codeValid},
		{"open range: a key appears", walk("", "", -1), putting("zzz", "1"), codePhantom},
		{"empty range: a key appears", walk("x", "y", -1), putting("xx", "1"), codePhantom},
		{"start of a range: before what was seen", walk("a", "z", 1), putting("a", "1"), codePhantom},
		{"start of a range: what was seen", walk("a", "z", 1), putting("b", "2"), codePhantom},
		{"start of a short range: behind what was looked at", walk("a", "z", 1), putting("c", "1"), codePhantom},
		{"a range nobody looked at", walk("a", "z", 0), putting("b", "2"), codePhantom},
	} {
		t.Run(c.name, func(t *testing.T) { conflictRule(t, c.read, c.write, c.want) })
	}
}

func conflictRule(t *testing.T, read, write func(shim.ChaincodeStubInterface) error, want code) {
	reading, goOn := make(chan bool), make(chan bool)
	cc := script{
		"setup": func(s shim.ChaincodeStubInterface) error {
			for _, k := range []string{"b", "d", "f"} {
				if err := s.PutState(k, []byte("1")); err != nil {
					return err
				}
			}
			return nil
		},
		"write": write,
		"read": func(s shim.ChaincodeStubInterface) error {
			err := read(s)
			reading <- true
			<-goOn
			if err != nil {
				return err
			}
			return s.PutState("result", []byte("1"))
		},
	}
	h := scripted(t, cc)
	defer h.close(t)
	err := h.overtaken(t, "read", "write", reading, goOn)
	switch {
	case want == codeValid && err != nil:
		t.Fatalf("got %v, want it to be valid", err)
	case want != codeValid && (fault.Of(err) != fault.Contention || !strings.Contains(err.Error(), want.String())):
		t.Fatalf("got %v, want %s", err, want)
	}
	verifies(t, h.ledger)
}

// scripted opens a ledger with these functions as its chaincode.
func scripted(t *testing.T, cc script) *harness {
	h := &harness{consortium: newConsortium(t)}
	h.cfg = Config{Dir: t.TempDir(), Channel: "test", Roots: h.roots, Chaincode: cc}
	h.open(t)
	return h
}

// overtaken submits slow, which tells by reached that it has read, and quick before it
// goes on. It returns what becomes of slow.
func (h *harness) overtaken(t *testing.T, slow, quick string, reached, goOn chan bool) error {
	t.Helper()
	c := h.Client(t, conformance.OrgA)
	mustSubmit(t, c, network.Call{Function: "setup"})
	result := make(chan error)
	go func() {
		_, err := c.Submit(context.Background(), network.Call{Function: slow})
		result <- err
	}()
	<-reached
	mustSubmit(t, c, network.Call{Function: quick})
	goOn <- true
	return <-result
}

func mustSubmit(t testing.TB, c network.Client, call network.Call) network.Result {
	t.Helper()
	res, err := c.Submit(context.Background(), call)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestViewIsTheStateSoFar: walking a range over the store with a block's
// changes on top gives what a map of all of them gives.
func TestViewIsTheStateSoFar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		db, err := pebble.Open("", &pebble.Options{FS: vfs.NewMem(), Logger: storeLog{}})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		key := rapid.StringMatching(`[a-c]{1,3}`)
		model, view := map[string]version{}, newBlockView(db)
		for i, k := range rapid.SliceOfN(key, 0, 12).Draw(t, "stored") {
			v := version{Block: 1, Tx: uint32(i)}
			model[k] = v
			if err := db.Set(stateKey(k), append(v.append(nil), 'x'), nil); err != nil {
				t.Fatal(err)
			}
		}
		for i, k := range rapid.SliceOfN(key, 0, 12).Draw(t, "changed") {
			v := version{Block: 2, Tx: uint32(i)}
			if rapid.Bool().Draw(t, "delete") {
				view.public[k] = nil
				delete(model, k)
				continue
			}
			view.public[k], model[k] = &v, v
		}
		start := rapid.StringMatching(`[a-c]{0,2}`).Draw(t, "start")
		end := rapid.StringMatching(`[a-d]{0,2}`).Draw(t, "end")
		var got, want []string
		err = view.eachInRange(start, end, func(k string, v version) bool {
			got = append(got, fmt.Sprint(k, v.Block, v.Tx))
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range model {
			if k >= start && (end == "" || k < end) {
				want = append(want, fmt.Sprint(k, v.Block, v.Tx))
			}
		}
		slices.Sort(want)
		slices.Sort(got) // versions do not disturb the order: checked next
		if !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		last := ""
		_ = view.eachInRange(start, end, func(k string, _ version) bool {
			if k <= last {
				t.Fatalf("%q comes after %q", k, last)
			}
			last = k
			return true
		})
	})
}

// TestBadChaincode: whatever chaincode does, the ledger answers and goes on.
func TestBadChaincode(t *testing.T) {
	var kept shim.ChaincodeStubInterface
	var keptIterator shim.StateQueryIteratorInterface
	cc := script{
		"panic": func(shim.ChaincodeStubInterface) error { panic("on purpose") },
		"much": func(s shim.ChaincodeStubInterface) error {
			value := make([]byte, 1<<20)
			value[0] = 1
			for i := range MaxWrites>>20 + 1 {
				if err := s.PutState(fmt.Sprint(i), value); err != nil {
					return err
				}
			}
			return nil
		},
		"keep": func(s shim.ChaincodeStubInterface) error {
			kept = s
			var err error
			keptIterator, err = s.GetStateByRange("", "")
			return err
		},
		"utf8":       func(s shim.ChaincodeStubInterface) error { return s.PutState("\xff", []byte("v")) },
		"event":      func(s shim.ChaincodeStubInterface) error { return s.SetEvent("", nil) },
		"collection": func(s shim.ChaincodeStubInterface) error { return s.PutPrivateData("", "k", []byte("v")) },
		"rich":       func(s shim.ChaincodeStubInterface) error { _, err := s.GetQueryResult("{}"); return err },
		"policy":     func(s shim.ChaincodeStubInterface) error { return s.SetStateValidationParameter("k", nil) },
		"other": func(s shim.ChaincodeStubInterface) error {
			return fmt.Errorf("%s", s.InvokeChaincode("other", nil, "").Message)
		},
		"split": func(s shim.ChaincodeStubInterface) error { _, _, err := s.SplitCompositeKey(""); return err },
		"fine":  putting("k", "v"),
	}
	h := scripted(t, cc)
	defer h.close(t)
	c := h.Client(t, conformance.OrgA)
	for name, want := range map[string]fault.Code{
		"panic": fault.Internal, "much": fault.TooLarge, "utf8": fault.Internal, "event": fault.Internal,
		"collection": fault.Internal, "rich": fault.Internal, "policy": fault.Internal, "other": fault.Internal, "split": fault.Internal,
	} {
		if _, err := c.Submit(t.Context(), network.Call{Function: name}); fault.Of(err) != want {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	mustSubmit(t, c, network.Call{Function: "keep"})
	if _, err := kept.GetState("k"); err != errOver {
		t.Fatalf("a stub that was kept answers %v", err)
	}
	if err := kept.PutState("k", []byte("v")); err != errOver {
		t.Fatalf("a stub that was kept answers %v", err)
	}
	if _, err := keptIterator.Next(); keptIterator.HasNext() || err == nil {
		t.Fatal("an iterator that was kept goes on")
	}
	mustSubmit(t, c, network.Call{Function: "fine"})
	verifies(t, h.ledger)
}

func TestCancelledSubmitNamesItsTransaction(t *testing.T) {
	entered, goOn := make(chan bool), make(chan bool)
	h := scripted(t, script{
		"wait": func(shim.ChaincodeStubInterface) error { entered <- true; <-goOn; return nil },
	})
	defer h.close(t)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := h.Client(t, conformance.OrgA).Submit(ctx, network.Call{Function: "wait"})
		result <- err
	}()
	<-entered
	cancel()
	goOn <- true
	if err := <-result; err != nil && fault.Of(err) != fault.Unavailable {
		t.Fatal(err)
	}
}

func TestCloseEndsFollowersAndRefusesCalls(t *testing.T) {
	h := newHarness(t)
	c := h.Client(t, conformance.OrgA)
	mustSubmit(t, c, putCall("k"))
	ended := make(chan error, 1)
	first := make(chan bool, 8)
	go func() {
		for _, err := range c.Blocks(context.Background(), 0) {
			if err != nil {
				ended <- err
				return
			}
			first <- true
		}
		ended <- nil
	}()
	<-first
	h.close(t)
	select {
	case err := <-ended:
		if fault.Of(err) != fault.Unavailable {
			t.Fatalf("got %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("a follower did not notice")
	}
	if _, err := c.Submit(t.Context(), putCall("k")); fault.Of(err) != fault.Unavailable {
		t.Fatalf("got %v", err)
	}
	if _, err := c.Evaluate(t.Context(), putCall("k")); fault.Of(err) != fault.Unavailable {
		t.Fatalf("got %v", err)
	}
}
