// Package conformance is the test suite that every ledger of Vitalveil passes:
// what Fabric promises to chaincode and clients, and no more.
//
// Entry point: Run, with a function that opens a new ledger on which Chaincode
// is deployed.
//
// Trust: none; it only reports. Promise: a behaviour that contracts or
// institutions rely on has a test here, so that no ledger differs in it.
package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
)

// The organisations whose identities a Harness provides.
const (
	OrgA = "OrgA"
	OrgB = "OrgB"
)

// Harness is a ledger of its own with Chaincode deployed and nothing else on it.
type Harness interface {
	// Client returns a client of OrgA or OrgB whose certificate's common name
	// is "client".
	Client(t *testing.T, msp string) network.Client
	// Restart stops the ledger and starts it again on what it has stored.
	// Clients made before are not used afterwards.
	Restart(t *testing.T)
	// Runs is how many peers run a transaction, one after the other, before it is
	// ordered.
	Runs() int
}

// Run runs the suite. open makes a new ledger for each test and cleans up
// through t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Harness)
	}{
		{"state is what was put and deleted", testState},
		{"a transaction does not read its own writes", testNoReadYourOwnWrites},
		{"an evaluation records nothing", testEvaluate},
		{"a chaincode error keeps its code and changes nothing", testErrors},
		{"of rivals for one key none is lost", testConflicts},
		{"SubmitRetry gets every rival through", testRetry},
		{"a range that changed invalidates", testPhantoms},
		{"a key that disappears from a range invalidates", testPartialRange},
		{"ranges are ordered and half open", testRanges},
		{"pages cover a range once", testPages},
		{"queries that cannot be validated are read-only", testReadOnlyQueries},
		{"composite keys live in their own namespace", testComposite},
		{"iterators may be left open", testLeak},
		{"history is newest first and has deletions", testHistory},
		{"private data is public by its hash only", testPrivate},
		{"private rivals conflict", testPrivateConflicts},
		{"a purge removes a private value and its past", testPurge},
		{"transient data is not on the chain", testTransient},
		{"events come with valid transactions only", testEvents},
		{"the chaincode sees who signed", testCreator},
		{"the chaincode sees its transaction", testContext},
		{"blocks are chained and follow live", testBlocks},
		{"everything survives a restart", testRestart},
		{"many clients at once", testMany},
		{"at the edge", testEdges},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// timeout bounds each call, generously: a Fabric network may be slow.
const timeout = time.Minute

func submit(t *testing.T, c network.Client, f string, args ...string) network.Result {
	t.Helper()
	return submitCall(t, c, network.Call{Function: f, Args: args})
}

func submitCall(t *testing.T, c network.Client, call network.Call) network.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	res, err := c.Submit(ctx, call)
	if err != nil {
		t.Fatalf("%s: %v", call.Function, err)
	}
	return res
}

// refused submits and returns the code of the error that must come.
func refused(t *testing.T, c network.Client, f string, args ...string) fault.Code {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, err := c.Submit(ctx, network.Call{Function: f, Args: args})
	var coded *fault.Error
	if !errors.As(err, &coded) {
		t.Fatalf("%s %q: got %v, want a coded error", f, args, err)
	}
	return coded.Code
}

func evaluate(t *testing.T, c network.Client, f string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	out, err := c.Evaluate(ctx, network.Call{Function: f, Args: args})
	if err != nil {
		t.Fatalf("%s: %v", f, err)
	}
	return string(out)
}

func evaluateJSON[T any](t *testing.T, c network.Client, f string, args ...string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(evaluate(t, c, f, args...)), &v); err != nil {
		t.Fatalf("%s: %v", f, err)
	}
	return v
}

// same fails the test unless got is want.
func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// find returns the transaction with an id, reading the chain from its start.
func find(t *testing.T, c network.Client, id string) network.Tx {
	t.Helper()
	var found *network.Tx
	read(t, c, func(b *network.Block) bool {
		for _, tx := range b.Txs {
			if tx.ID == id {
				found = &tx
			}
		}
		return found == nil
	})
	if found == nil {
		t.Fatalf("transaction %s is not on the chain", id)
	}
	return *found
}

// read passes blocks from the first one on to f until it returns false.
func read(t *testing.T, c network.Client, f func(*network.Block) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for b, err := range c.Blocks(ctx, 0) {
		if err != nil {
			t.Fatalf("blocks: %v", err)
		}
		if !f(b) {
			return
		}
	}
	t.Fatal("the chain ended before what was looked for")
}
