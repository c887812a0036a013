package embedded

import (
	"bytes"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
)

// FuzzProposal: whatever bytes a client sends, parsing neither panics nor lets
// anything but a well-formed proposal of this channel through.
func FuzzProposal(f *testing.F) {
	ca, err := network.NewCA(conformance.OrgA)
	if err != nil {
		f.Fatal(err)
	}
	id, err := ca.Issue("client", "client")
	if err != nil {
		f.Fatal(err)
	}
	s := mustSign(f, id, network.Call{
		Function: "put", Args: []string{"k", "v"},
		Transient: map[string][]byte{"t": []byte("secret")},
	})
	f.Add(s.Full)
	f.Add(s.Recorded)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parseProposal("test", data)
		if err != nil {
			return
		}
		if p.id != txID(p.nonce, p.creator) || len(p.args) == 0 || p.timestamp == nil {
			t.Fatalf("it let %+v through", p)
		}
	})
}

// FuzzTransaction: a stored transaction that decodes is in the one encoding
// that it has.
func FuzzTransaction(f *testing.F) {
	full := transaction{
		Proposal: []byte("p"), Signature: []byte("s"), Response: response{Status: 200, Payload: []byte("x")},
		Event: &event{Name: "e"},
		Set: rwset{
			Reads:  []read{{Key: "k", Version: &version{Block: 1, Tx: 2}}, {Key: "l"}},
			Ranges: []rangeRead{{Start: "a", End: "b", Exhausted: true, Count: 3}},
			Writes: []write{{Key: "k", Value: []byte("v")}, {Key: "l", Delete: true}},
			Collections: []collectionSet{{
				Name: "c", Reads: []hashRead{{Version: &version{}}},
				Writes: []hashWrite{{Delete: true, Purge: true}},
			}},
		},
	}
	for _, tx := range []transaction{{}, full} {
		data, err := marshal(tx)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var tx transaction
		if unmarshal(data, &tx) != nil {
			return
		}
		again, err := marshal(tx)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x is encoded again as %x (%v)", data, again, err)
		}
		_ = checkForm(&tx)
	})
}

// FuzzRemoteCall feeds whatever bytes as a call to a served ledger.
func FuzzRemoteCall(f *testing.F) {
	c := newConsortium(f)
	trust, err := network.NewTrust(c.roots)
	if err != nil {
		f.Fatal(err)
	}
	s, err := signCall(c.ids[conformance.OrgA], "test", network.Call{Function: "Put", Args: []string{"k", "v"}}, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	whole, err := remoteCodec{}.Marshal(&remoteCall{Call: *s})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &remoteCall{}
		if (remoteCodec{}).Unmarshal(data, m) != nil {
			return
		}
		p, err := checkSignedCall(trust, "test", &m.Call, time.Now())
		if err == nil && (p.member.MSP != conformance.OrgA || string(m.Call.Full) != string(s.Full)) {
			t.Error("a call that nobody signed is accepted")
		}
	})
}
