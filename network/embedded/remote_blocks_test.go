package embedded

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
)

// TestAttackServedBlocksAltered: a member believes the server of a ledger nothing that
// the operator and the creators of transactions have not signed, and the operator
// nothing that the creators have not.
func TestAttackServedBlocksAltered(t *testing.T) {
	s := newServed(t)
	if _, err := s.Client(t, conformance.OrgA).Submit(t.Context(), network.Call{Function: "put", Args: []string{"k", "v"}}); err != nil {
		t.Fatal(err)
	}
	trust, err := network.NewTrust(s.roots)
	if err != nil {
		t.Fatal(err)
	}
	cfg := RemoteConfig{Channel: "test", Roots: s.roots}
	fetch := func(number uint64) *remoteBlock {
		b, err := s.ledger.remoteBlock(number)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	r := &reader{cfg: cfg, trust: trust}
	if err := r.found(fetch(0)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.block(fetch(1), 1); err != nil {
		t.Fatal(err)
	}
	reseal := func(b *remoteBlock) { // as the operator itself can
		digests := make([]record.ID, len(b.Txs))
		for i, data := range b.Txs {
			digests[i] = record.SumID(data)
		}
		b.Sealed.Header.Data = record.Root(digests)
		b.Sealed.Signature, err = record.Sign(s.ledger.operator.Key, b.Sealed.Header.hash("test"))
		if err != nil {
			t.Fatal(err)
		}
	}
	rewrite := func(b *remoteBlock, change func(*transaction)) {
		var tx transaction
		if err := unmarshal(b.Txs[0], &tx); err != nil {
			t.Fatal(err)
		}
		change(&tx)
		data, err := marshal(tx)
		if err != nil {
			t.Fatal(err)
		}
		b.Txs = [][]byte{data}
	}
	for name, c := range map[string]struct {
		alter func(*remoteBlock)
		words string
	}{
		"another number":       {func(b *remoteBlock) { b.Sealed.Header.Number = 2; reseal(b) }, "of block 2"},
		"another hash before":  {func(b *remoteBlock) { b.Sealed.Header.Previous[0]++ }, "operator's signature"},
		"another validation":   {func(b *remoteBlock) { b.Sealed.Header.Codes[0] = byte(codeMVCC) }, "operator's signature"},
		"a transaction less":   {func(b *remoteBlock) { b.Txs = nil }, "header commits to"},
		"another write":        {func(b *remoteBlock) { rewrite(b, func(tx *transaction) { tx.Set.Writes[0].Value = []byte("w") }) }, "header commits to"},
		"no creator signature": {func(b *remoteBlock) { rewrite(b, func(tx *transaction) { tx.Signature = nil }); reseal(b) }, "creator's signature"},
		"in another's name": {func(b *remoteBlock) {
			signed, err := signCall(network.Identity{
				MSP: conformance.OrgB, Certificate: s.ids[conformance.OrgB].Certificate, Key: s.ids[conformance.OrgA].Key,
			}, "test", network.Call{Function: "put", Args: []string{"k", "v"}}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			rewrite(b, func(tx *transaction) { tx.Proposal, tx.Signature = signed.Recorded, signed.RecordedSignature })
			reseal(b)
		}, "creator's signature"},
		"by a member of another consortium": {func(b *remoteBlock) {
			signed, err := signCall(newConsortium(t).ids[conformance.OrgA], "test", network.Call{Function: "put", Args: []string{"k", "v"}}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			rewrite(b, func(tx *transaction) { tx.Proposal, tx.Signature = signed.Recorded, signed.RecordedSignature })
			reseal(b)
		}, "creator"},
		"other arguments": {func(b *remoteBlock) {
			rewrite(b, func(tx *transaction) { tx.Proposal = slices.Concat(tx.Proposal, tx.Proposal) })
			reseal(b)
		}, "proposal"},
	} {
		b := fetch(1)
		c.alter(b)
		if _, err := r.block(b, 1); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want %q", name, err, c.words)
		}
	}
	for name, cfg := range map[string]RemoteConfig{
		"another channel": {Channel: "other", Roots: s.roots},
		"other roots":     {Channel: "test", Roots: newConsortium(t).roots},
	} {
		if err := (&reader{cfg: cfg, trust: trust}).found(fetch(0)); err == nil {
			t.Errorf("%s: the genesis was taken", name)
		}
	}
}

// TestAttackServedPrivateValuesAltered: a private value that is not the one whose
// hash is in the transaction is as if it had not come.
func TestAttackServedPrivateValuesAltered(t *testing.T) {
	s := newServed(t)
	client := s.Client(t, conformance.OrgA)
	call := network.Call{Function: "putPrivate", Args: []string{"c", "k"}, Transient: map[string][]byte{"value": []byte("secret")}}
	res, err := client.Submit(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := network.NewTrust(s.roots)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{cfg: RemoteConfig{Channel: "test", Roots: s.roots}, trust: trust, operator: s.ledger.genesis.Operator}
	b, err := s.ledger.remoteBlock(res.Block)
	if err != nil {
		t.Fatal(err)
	}
	for _, altered := range []bool{false, true} {
		if altered {
			b.Private[0].Value = []byte("another")
		}
		got, err := r.block(b, res.Block)
		if err != nil {
			t.Fatal(err)
		}
		if p := got.Txs[0].Private; len(p) != 1 || p[0].Available == altered {
			t.Errorf("altered %t: %+v", altered, p)
		}
	}
}
