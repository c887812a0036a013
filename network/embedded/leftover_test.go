package embedded

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
)

// keeps reports whether any stored value has these bytes.
func (l *Ledger) keeps(t *testing.T, what string) bool {
	t.Helper()
	it, err := l.db.NewIter(&pebble.IterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if bytes.Contains(it.Value(), []byte(what)) {
			return true
		}
	}
	return false
}

// A transaction that lost a race leaves its private values behind, as on Fabric: a
// purge of what was recorded does not reach them. What is private has to be sealed
// under a key that can be destroyed.
func TestPrivateValuesOfALostRaceStayAndAnswerNobody(t *testing.T) {
	putting, goOn := make(chan bool), make(chan bool)
	const late, early = "written too late", "written in time"
	cc := script{
		"setup": func(s shim.ChaincodeStubInterface) error {
			return s.PutPrivateData(conformance.Collection, "k1", []byte(early))
		},
		"put": func(s shim.ChaincodeStubInterface) error {
			if _, err := s.GetState("erased"); err != nil {
				return err
			}
			putting <- true
			<-goOn
			return s.PutPrivateData(conformance.Collection, "k2", []byte(late))
		},
		"erase": func(s shim.ChaincodeStubInterface) error {
			if err := s.PutState("erased", []byte("1")); err != nil {
				return err
			}
			return s.PurgePrivateData(conformance.Collection, "k1")
		},
		"purge": func(s shim.ChaincodeStubInterface) error { return s.PurgePrivateData(conformance.Collection, "k2") },
	}
	h := scripted(t, cc)
	defer h.close(t)
	c := h.Client(t, conformance.OrgA)
	if err := h.overtaken(t, "put", "erase", putting, goOn); fault.Of(err) != fault.Contention {
		t.Fatalf("the race was not lost: %v", err)
	}
	if h.ledger.keeps(t, early) {
		t.Error("a purged value is kept")
	}
	if !h.ledger.keeps(t, late) {
		t.Error("the value of the transaction that lost is not kept, as Fabric keeps it")
	}
	for b, err := range c.Blocks(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range b.Txs {
			if !tx.Valid && len(tx.Private) > 0 {
				t.Errorf("followers get the private values of an invalid transaction: %+v", tx.Private)
			}
		}
		if b.Number+1 == h.ledger.Height() {
			break
		}
	}
	verifies(t, h.ledger)
	mustSubmit(t, c, network.Call{Function: "purge"})
	if h.ledger.keeps(t, late) {
		t.Error("a purge of the very key does not remove it")
	}
	verifies(t, h.ledger)
}
