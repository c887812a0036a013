package fabric

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// nowhere is the profile of a network whose peers are down, and a member.
func nowhere(t *testing.T) (Profile, network.Identity) {
	t.Helper()
	ca, err := network.NewCA(ownOrg)
	if err != nil {
		t.Fatal(err)
	}
	id, err := ca.Issue("client", "client")
	if err != nil {
		t.Fatal(err)
	}
	return Profile{Channel: testChannel, Chaincode: testChaincode, Orgs: []OrgProfile{{
		MSP: ownOrg, PeerEndpoint: freeAddress(t),
		PeerHostname: "localhost", PeerTLSRoot: ca.RootPEM(), Root: ca.RootPEM(), IdentityDir: t.TempDir(),
	}}}, id
}

const ownOrg = "HospitalA"

// connect makes a client that is closed with the test.
func connect(t testing.TB, p Profile, id network.Identity, opts ...Option) *Client {
	t.Helper()
	c, err := Connect(p, id, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

var quiet = WithLog(slog.New(slog.DiscardHandler))

func TestConnectRefusesWhoIsNotAMember(t *testing.T) {
	p, id := nowhere(t)
	foe, err := network.NewCA(ownOrg)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := foe.Issue("client", "client")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Connect(p, forged); !errors.Is(err, network.ErrMember) {
		t.Errorf("an identity of another root: %v", err)
	}
	id.MSP = "Outsider"
	if _, err := Connect(p, id); err == nil {
		t.Error("an organisation that the profile does not have")
	}
	if _, err := Connect(Profile{}, id); err == nil {
		t.Error("an empty profile")
	}
	if _, err := Connect(p, id, WithPeers("Outsider")); err == nil {
		t.Error("a peer that the profile does not have")
	}
}

func TestWithoutPeersCallsEndWithTheirContext(t *testing.T) {
	p, id := nowhere(t)
	c := connect(t, p, id, quiet)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	call := network.Call{Function: "get", Args: []string{"k"}}
	if _, err := c.Evaluate(ctx, call); fault.Of(err) != fault.Unavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("evaluate: %v", err)
	}
	if res, err := c.Submit(ctx, call); fault.Of(err) != fault.Unavailable || res.TxID != "" {
		t.Errorf("submit: %+v, %v: nothing was handed to an orderer", res, err)
	}
	for b, err := range c.Blocks(ctx, 0) {
		t.Errorf("blocks: %v, %v after the context has ended", b, err)
	}
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	p, id := nowhere(t)
	c := connect(t, p, id, quiet)
	ended := make(chan error, 2)
	go func() {
		_, err := c.Evaluate(context.Background(), network.Call{Function: "get"})
		ended <- err
	}()
	go func() {
		var last error
		for _, err := range c.Blocks(context.Background(), 0) {
			last = err
		}
		ended <- last
	}()
	time.Sleep(50 * time.Millisecond)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-ended; fault.Of(err) != fault.Unavailable || !errors.Is(err, errClosed) {
			t.Errorf("ended with %v", err)
		}
	}
	if _, err := c.Evaluate(context.Background(), network.Call{Function: "get"}); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestCallsAreBounded(t *testing.T) {
	p, id := nowhere(t)
	c := connect(t, p, id, quiet)
	for name, call := range map[string]network.Call{
		"bytes":     {Function: "f", Args: []string{strings.Repeat("x", network.MaxArguments)}},
		"arguments": {Function: "f", Args: make([]string, network.MaxArgCount+1)},
		"transient": {Function: "f", Transient: map[string][]byte{"k": make([]byte, network.MaxArguments)}},
	} {
		if _, err := c.Submit(t.Context(), call); fault.Of(err) != fault.TooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Evaluate(t.Context(), network.Call{}); fault.Of(err) != fault.Invalid {
		t.Errorf("no function: %v", err)
	}
}

// A peer gets a proposal and gives back the transaction for the client to sign.
func TestAttackAPeerHasAnotherTransactionSigned(t *testing.T) {
	p, id := nowhere(t)
	c := connect(t, p, id, quiet)
	w := newWire(t)
	proposal := func(args ...string) []byte {
		pr, err := c.peers[0].contract.NewProposal(contracts.ConsentPut.Name(), proposalOptions(network.Call{Args: args})...)
		w.ok(err)
		b, err := pr.Bytes()
		w.ok(err)
		return b
	}
	asked, other := proposal("permit"), proposal("deny")
	if private, err := c.checkPrepared(asked, w.prepare(asked, nil)); err != nil || private {
		t.Fatalf("an honest peer's: %v", err)
	}
	for name, forged := range map[string][]byte{
		"another proposal of the same client": w.prepare(other, nil),
		"other arguments":                     w.prepare(asked, proposal("deny all")),
		"nothing":                             nil,
		"garbage":                             []byte("garbage"),
	} {
		if _, err := c.checkPrepared(asked, forged); err == nil {
			t.Errorf("%s would have been signed", name)
		}
	}
}

// prepare does what a peer's gateway does with a proposal, endorsements apart;
// with swap, the call of another proposal takes the place of this one's.
func (w *wire) prepare(proposal, swap []byte) []byte {
	open := func(b []byte) (string, *peer.Proposal, []byte) {
		outer, inner, payload := &gateway.ProposedTransaction{}, &peer.Proposal{}, &peer.ChaincodeProposalPayload{}
		w.ok(proto.Unmarshal(b, outer))
		w.ok(proto.Unmarshal(outer.GetProposal().GetProposalBytes(), inner))
		w.ok(proto.Unmarshal(inner.GetPayload(), payload))
		return outer.GetTransactionId(), inner, w.bytes(&peer.ChaincodeProposalPayload{Input: payload.GetInput()})
	}
	id, inner, input := open(proposal)
	if swap != nil {
		_, _, input = open(swap)
	}
	header := &common.Header{}
	w.ok(proto.Unmarshal(inner.GetHeader(), header))
	hash := hashOf(header.GetChannelHeader(), header.GetSignatureHeader(), input)
	response := w.bytes(&peer.ProposalResponsePayload{ProposalHash: hash, Extension: w.bytes(&peer.ChaincodeAction{})})
	return w.bytes(&gateway.PreparedTransaction{TransactionId: id, Envelope: &common.Envelope{Payload: w.bytes(&common.Payload{
		Header: header, Data: w.bytes(&peer.Transaction{Actions: []*peer.TransactionAction{{Payload: w.bytes(&peer.ChaincodeActionPayload{
			ChaincodeProposalPayload: input, Action: &peer.ChaincodeEndorsedAction{ProposalResponsePayload: response},
		})}}}),
	})}})
}

func hashOf(parts ...[]byte) []byte { return sum256(bytes.Join(parts, nil)) }
