package fabric

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/vitalveil/vitalveil/network"
)

// losesItsOrderer is a peer that loses its orderer in the middle of each
// transaction that it passes on, and has all of them in block 7 all the same. A real
// one cannot be made to do so at will.
type losesItsOrderer struct {
	gateway.UnimplementedGatewayServer
	mu    sync.Mutex
	calls []string
}

func (p *losesItsOrderer) note(call string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, call)
	return len(p.calls)
}

func (p *losesItsOrderer) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.calls...)
}

func (p *losesItsOrderer) Submit(context.Context, *gateway.SubmitRequest) (*gateway.SubmitResponse, error) {
	if p.note("submit") < 3 {
		return nil, status.Error(codes.Unavailable, "error reading from server: EOF")
	}
	return &gateway.SubmitResponse{}, nil
}

func (p *losesItsOrderer) CommitStatus(context.Context, *gateway.SignedCommitStatusRequest) (*gateway.CommitStatusResponse, error) {
	p.note("status")
	return &gateway.CommitStatusResponse{Result: peer.TxValidationCode_VALID, BlockNumber: 7}, nil
}

// serveGateway makes a profile of one peer that is p.
func serveGateway(t *testing.T, p gateway.GatewayServer) (Profile, network.Identity) {
	t.Helper()
	ca, err := network.NewCA(ownOrg)
	if err != nil {
		t.Fatal(err)
	}
	shows, err := ca.Issue("peer", "peer")
	if err != nil {
		t.Fatal(err)
	}
	config, err := network.ServerTLS(shows, map[string][]byte{ownOrg: ca.RootPEM()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	gateway.RegisterGatewayServer(s, p)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	id, err := ca.Issue("client", "client")
	if err != nil {
		t.Fatal(err)
	}
	profile := Profile{Channel: testChannel, Chaincode: testChaincode, Orgs: []OrgProfile{{
		MSP: ownOrg, PeerEndpoint: l.Addr().String(), PeerHostname: "localhost",
		PeerTLSRoot: ca.RootPEM(), Root: ca.RootPEM(), IdentityDir: t.TempDir(),
	}}}
	return profile, id
}

// A transaction whose handing-in failed half-way may be with an orderer. With
// private data it is looked for before there is a second copy; without, a copy is
// cheap and time counts.
func TestASecondCopyWithPrivateDataIsMadeAfterALookOnly(t *testing.T) {
	for private, want := range map[bool]string{true: "status", false: "submit"} {
		p := &losesItsOrderer{}
		profile, id := serveGateway(t, p)
		c := connect(t, profile, id, quiet)
		w := newWire(t)
		proposal, err := c.peers[0].contract.NewProposal("put")
		w.ok(err)
		raw, err := proposal.Bytes()
		w.ok(err)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		// Where the block is cannot be read: this peer has none.
		_, _ = c.order(ctx, &prepared{id: proposal.TransactionID(), bytes: w.prepare(raw, nil), private: private})
		cancel()
		calls := p.seen()
		if len(calls) < 2 || calls[0] != "submit" || calls[1] != want {
			t.Errorf("with private data: %v: the peer was asked for %q", private, calls)
		}
	}
}
