package embedded

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
)

func putCall(key string) network.Call {
	return network.Call{Function: "put", Args: []string{key, "v"}}
}

func mustSign(t testing.TB, id network.Identity, c network.Call) *signedCall {
	t.Helper()
	s, err := signCall(id, "test", c, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantCode fails unless the ledger refuses s, as a transaction and as a query,
// with the code, and the chain has not grown.
func wantCode(t *testing.T, l *Ledger, s *signedCall, want fault.Code) {
	t.Helper()
	before := l.Height()
	_, err := l.submit(t.Context(), s)
	var coded *fault.Error
	if !errors.As(err, &coded) || coded.Code != want {
		t.Fatalf("submit: got %v, want %s", err, want)
	}
	if _, err := l.evaluate(t.Context(), s); want != fault.Conflict && fault.Of(err) != want {
		t.Fatalf("evaluate: got %v, want %s", err, want)
	}
	if l.Height() != before {
		t.Fatal("it left a block")
	}
}

func TestAttackForgedCreatorSignature(t *testing.T) {
	h := newHarness(t)
	victim, mallory := h.ids[conformance.OrgA], h.ids[conformance.OrgB]

	// Mallory signs a proposal that names the victim as its creator.
	forged := victim
	forged.Key = mallory.Key
	wantCode(t, h.ledger, mustSign(t, forged, putCall("k")), fault.BadSignature)

	// The victim's proposal with other arguments.
	s := mustSign(t, victim, putCall("mine"))
	altered := []byte(strings.Replace(string(s.Full), "mine", "your", 1))
	wantCode(t, h.ledger, &signedCall{altered, s.RecordedSignature, altered, s.FullSignature}, fault.BadSignature)

	// The other valid form of a signature would be a second transaction.
	high := highS(t, s.FullSignature)
	wantCode(t, h.ledger, &signedCall{s.Full, high, s.Full, high}, fault.BadSignature)

	if _, err := h.ledger.submit(t.Context(), s); err != nil {
		t.Fatalf("the genuine one: %v", err)
	}
}

// highS turns a signature into its counterpart with the higher s.
func highS(t *testing.T, sig []byte) []byte {
	t.Helper()
	var v struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(sig, &v); err != nil {
		t.Fatal(err)
	}
	v.S.Sub(elliptic.P256().Params().N, v.S)
	out, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAttackForeignAuthority(t *testing.T) {
	h := newHarness(t)
	foreign, err := network.NewCA("OrgC")
	if err != nil {
		t.Fatal(err)
	}
	namesake, err := network.NewCA(conformance.OrgA) // same name, other key
	if err != nil {
		t.Fatal(err)
	}
	for _, ca := range []*network.CA{foreign, namesake} {
		id, err := ca.Issue("client", "client")
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, h.ledger, mustSign(t, id, putCall("k")), fault.Forbidden)
	}
	// A member of B that calls itself a member of A.
	id := h.ids[conformance.OrgB]
	id.MSP = conformance.OrgA
	wantCode(t, h.ledger, mustSign(t, id, putCall("k")), fault.Forbidden)
	// An identity without a certificate.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, h.ledger, mustSign(t, network.Identity{MSP: conformance.OrgA, Key: key}, putCall("k")), fault.Forbidden)
}

func TestAttackExpiredCertificate(t *testing.T) {
	h := newHarness(t)
	s := mustSign(t, h.ids[conformance.OrgA], putCall("k"))
	for name, at := range map[string]time.Time{
		"before it": time.Now().Add(-48 * time.Hour), "after it": time.Now().Add(50 * 365 * 24 * time.Hour),
	} {
		for range 2 { // the second time the creator may be known already
			if _, err := checkSignedCall(h.ledger.trust, "test", s, at); fault.Of(err) != fault.Forbidden {
				t.Fatalf("%s: got %v", name, err)
			}
			if _, err := checkSignedCall(h.ledger.trust, "test", s, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAttackReplayedTransaction(t *testing.T) {
	h := newHarness(t)
	s := mustSign(t, h.ids[conformance.OrgA], network.Call{Function: "add", Args: []string{"n", "1"}})
	if _, err := h.ledger.submit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	wantCode(t, h.ledger, s, fault.Conflict)
	h.Restart(t)
	wantCode(t, h.ledger, s, fault.Conflict)
	got, err := h.Client(t, conformance.OrgA).Evaluate(t.Context(), network.Call{Function: "get", Args: []string{"n"}})
	if err != nil || string(got) != "1" {
		t.Fatalf("the counter is %s (%v)", got, err)
	}
}

// TestAttackReplayAtOnce: copies that are all simulated before any is committed.
func TestAttackReplayAtOnce(t *testing.T) {
	const copies = 6 // no more than are simulated at once
	h := &harness{consortium: newConsortium(t)}
	var together sync.WaitGroup
	together.Add(copies)
	h.cfg = Config{Dir: t.TempDir(), Channel: "test", Roots: h.roots, Chaincode: script{
		"put": func(shim.ChaincodeStubInterface) error { together.Done(); together.Wait(); return nil },
	}}
	h.open(t)
	defer h.close(t)
	s := mustSign(t, h.ids[conformance.OrgA], putCall("k"))
	errs := make(chan error)
	for range copies {
		go func() {
			_, err := h.ledger.submit(context.Background(), s)
			errs <- err
		}()
	}
	won := 0
	for range copies {
		switch err := <-errs; {
		case err == nil:
			won++
		case fault.Of(err) != fault.Conflict:
			t.Error(err)
		}
	}
	if won != 1 {
		t.Fatalf("%d copies of one transaction were committed", won)
	}
	verifies(t, h.ledger)
}

// TestAttackChosenTransactionID: an id that is not the hash of nonce and
// creator could be chosen to block someone else's.
func TestAttackChosenTransactionID(t *testing.T) {
	h := newHarness(t)
	id := h.ids[conformance.OrgA]
	forge := func(change func(*common.ChannelHeader, *common.SignatureHeader)) *signedCall {
		s := mustSign(t, id, putCall("k"))
		return rebuild(t, id, s, change)
	}
	for name, s := range map[string]*signedCall{
		"chosen id":     forge(func(c *common.ChannelHeader, _ *common.SignatureHeader) { c.TxId = strings.Repeat("0", 64) }),
		"other nonce":   forge(func(_ *common.ChannelHeader, s *common.SignatureHeader) { s.Nonce[0] ^= 1 }),
		"short nonce":   forge(func(_ *common.ChannelHeader, s *common.SignatureHeader) { s.Nonce = s.Nonce[:4] }),
		"other channel": forge(func(c *common.ChannelHeader, _ *common.SignatureHeader) { c.ChannelId = "other" }),
		"config":        forge(func(c *common.ChannelHeader, _ *common.SignatureHeader) { c.Type = int32(common.HeaderType_CONFIG) }),
		"epoch":         forge(func(c *common.ChannelHeader, _ *common.SignatureHeader) { c.Epoch = 1 }),
		"no time":       forge(func(c *common.ChannelHeader, _ *common.SignatureHeader) { c.Timestamp = nil }),
		"chaincode":     forge(func(c *common.ChannelHeader, _ *common.SignatureHeader) { c.Extension = nil }),
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, h.ledger, s, fault.Invalid) })
	}
	unchanged := forge(func(*common.ChannelHeader, *common.SignatureHeader) {})
	if _, err := h.ledger.submit(t.Context(), unchanged); err != nil {
		t.Fatalf("the unchanged one: %v", err)
	}
}

// rebuild changes the headers of a signed call and signs it again.
func rebuild(t *testing.T, id network.Identity, s *signedCall, change func(*common.ChannelHeader, *common.SignatureHeader)) *signedCall {
	t.Helper()
	p, head := &peer.Proposal{}, &common.Header{}
	ch, sh := &common.ChannelHeader{}, &common.SignatureHeader{}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(proto.Unmarshal(s.Full, p))
	must(proto.Unmarshal(p.Header, head))
	must(proto.Unmarshal(head.ChannelHeader, ch))
	must(proto.Unmarshal(head.SignatureHeader, sh))
	change(ch, sh)
	var err error
	head.ChannelHeader, err = proto.Marshal(ch)
	must(err)
	head.SignatureHeader, err = proto.Marshal(sh)
	must(err)
	p.Header, err = proto.Marshal(head)
	must(err)
	data, err := proto.Marshal(p)
	must(err)
	sig, err := id.Sign(data)
	must(err)
	return &signedCall{data, sig, data, sig}
}

// TestAttackRecordedIsNotRun: a client that has one call run and another one
// recorded would put a lie on the chain.
func TestAttackRecordedIsNotRun(t *testing.T) {
	h := newHarness(t)
	id := h.ids[conformance.OrgA]
	secret := map[string][]byte{"value": []byte("v")}
	a := mustSign(t, id, network.Call{Function: "putPrivate", Args: []string{"secrets", "a"}, Transient: secret})
	b := mustSign(t, id, network.Call{Function: "putPrivate", Args: []string{"secrets", "b"}, Transient: secret})
	wantCode(t, h.ledger, &signedCall{b.Recorded, b.RecordedSignature, a.Full, a.FullSignature}, fault.Invalid)
	wantCode(t, h.ledger, &signedCall{a.Full, a.FullSignature, a.Full, a.FullSignature}, fault.Invalid)
	wantCode(t, h.ledger, &signedCall{a.Recorded, b.RecordedSignature, a.Full, a.FullSignature}, fault.BadSignature)
	if _, err := h.ledger.submit(t.Context(), a); err != nil {
		t.Fatal(err)
	}
}

func TestAttackOversize(t *testing.T) {
	h := newHarness(t)
	id := h.ids[conformance.OrgA]
	big := strings.Repeat("x", MaxArguments+1)
	c := h.Client(t, conformance.OrgA)
	for name, call := range map[string]network.Call{
		"arguments": {Function: "put", Args: []string{"k", big}},
		"function":  {Function: big},
		"transient": {Function: "put", Args: []string{"k", "v"}, Transient: map[string][]byte{"t": []byte(big)}},
		"many":      {Function: "bulk", Args: make([]string, network.MaxArgCount+1)},
		"key":       {Function: "put", Args: []string{strings.Repeat("k", MaxKey+1), "v"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := c.Submit(t.Context(), call); fault.Of(err) != fault.TooLarge {
				t.Fatalf("got %.100v", err)
			}
		})
	}
	// A client that does not check: the ledger does.
	s := mustSign(t, id, network.Call{Function: "put", Args: []string{"k", strings.Repeat("x", maxProposal)}})
	wantCode(t, h.ledger, s, fault.Invalid)
	if _, err := c.Submit(t.Context(), network.Call{}); fault.Of(err) != fault.Invalid {
		t.Fatalf("a call of nothing: %v", err)
	}
}

// TestLargestCall: what is just within the bound goes through.
func TestLargestCall(t *testing.T) {
	h := newHarness(t)
	c := h.Client(t, conformance.OrgA)
	value := strings.Repeat("x", MaxArguments-len("put")-len("k"))
	if _, err := c.Submit(t.Context(), network.Call{Function: "put", Args: []string{"k", value}}); err != nil {
		t.Fatal(err)
	}
	got, err := c.Evaluate(t.Context(), network.Call{Function: "get", Args: []string{"k"}})
	if err != nil || len(got) != len(value) {
		t.Fatalf("got %d bytes (%v)", len(got), err)
	}
}
