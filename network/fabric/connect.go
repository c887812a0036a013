package fabric

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/vitalveil/vitalveil/network"
)

// Bounds of a connection to a peer.
const (
	// maxMessage bounds what a peer may send at once, in bytes: a block with its
	// private data. Orderers of Up cut blocks at a tenth of it.
	maxMessage = 100 << 20
	dialTime   = 3 * time.Second
	dialMost   = 2 * time.Second // longest wait before dialling again
	// Peers close connections that are pinged more often than once a minute.
	pingEvery = 65 * time.Second
	pingTime  = 10 * time.Second
)

// Option changes what Connect makes.
type Option func(*options)

type options struct {
	log   *slog.Logger
	peers []string
}

// WithLog sends what is worth knowing about peers (unreachable, replaced, back)
// to log instead of to the default logger. Nothing of a call's content is logged.
func WithLog(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithPeers names the organisations whose peers may be used, in order of
// preference. The default is the identity's own and then all others in the
// order of the profile. An institution that follows blocks to decide by them
// should name itself alone: it then waits while its peer is down instead of
// believing what another organisation's peer says.
func WithPeers(msps ...string) Option {
	return func(o *options) { o.peers = slices.Clone(msps) }
}

// Connect makes a client of the network of p that acts as id. It connects when
// it is first used, so it succeeds while peers are down; Close it in the end.
func Connect(p Profile, id network.Identity, opts ...Option) (*Client, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	if _, err := p.Org(id.MSP); err != nil {
		return nil, err
	}
	o := options{log: slog.Default()}
	for _, opt := range opts {
		opt(&o)
	}
	creator, err := id.Creator()
	if err != nil {
		return nil, err
	}
	roots := map[string][]byte{}
	for _, org := range p.Orgs {
		roots[org.MSP] = org.Root
	}
	trust, err := network.NewTrust(roots)
	if err != nil {
		return nil, err
	}
	if _, err := trust.Creator(creator, time.Now()); err != nil {
		return nil, fmt.Errorf("the identity: %w", err)
	}
	c := &Client{
		id: id, log: o.log,
		reader: reader{channel: p.Channel, chaincode: p.Chaincode, trust: trust}, places: newPlaces(),
	}
	c.life, c.end = context.WithCancel(context.Background())
	for _, msp := range preference(p, id.MSP, o.peers) {
		if err := c.addPeer(p, msp); err != nil {
			c.Close()
			return nil, fmt.Errorf("peer of %q: %w", msp, err)
		}
	}
	return c, nil
}

// preference returns the organisations whose peers are used, best first.
func preference(p Profile, own string, named []string) []string {
	if len(named) > 0 {
		return named
	}
	msps := []string{own}
	for _, org := range p.Orgs {
		if org.MSP != own {
			msps = append(msps, org.MSP)
		}
	}
	return msps
}

// endpoint is one organisation's peer as a client sees it.
type endpoint struct {
	msp      string
	address  string
	conn     *grpc.ClientConn
	gateway  *client.Gateway
	contract *client.Contract
	deliver  peer.DeliverClient
	// height is how many blocks the peer is known to have; it may have more.
	height atomic.Uint64
	// rest is until when others are tried first, in Unix nanoseconds, and fails
	// how many rests there were since the peer last served.
	rest  atomic.Int64
	fails atomic.Int32
}

func (c *Client) addPeer(p Profile, msp string) error {
	org, err := p.Org(msp)
	if err != nil {
		return err
	}
	conn, err := dial(org, c.id)
	if err != nil {
		return err
	}
	e := &endpoint{msp: msp, address: org.PeerEndpoint, conn: conn, deliver: peer.NewDeliverClient(conn)}
	// NONE: Identity.Sign hashes what it signs.
	e.gateway, err = client.Connect(gatewayIdentity{c.id}, client.WithSign(func(m []byte) ([]byte, error) { return c.id.Current().Sign(m) }), client.WithHash(hash.NONE),
		client.WithClientConnection(conn))
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	e.contract = e.gateway.GetNetwork(p.Channel).GetContract(p.Chaincode)
	c.peers = append(c.peers, e)
	return nil
}

// gatewayIdentity is an identity as the gateway library wants it.
type gatewayIdentity struct{ id network.Identity }

func (g gatewayIdentity) MspID() string       { return g.id.MSP }
func (g gatewayIdentity) Credentials() []byte { return g.id.Current().Certificate }

func dial(org OrgProfile, id network.Identity) (*grpc.ClientConn, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(org.PeerTLSRoot) {
		return nil, errors.New("no certificate in its TLS root")
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS13,
		RootCAs:    pool,
		ServerName: org.PeerHostname,
		// Shown to peers that ask for it.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return id.Show() },
	}
	return grpc.NewClient("passthrough:///"+org.PeerEndpoint,
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: dialMost},
			MinConnectTimeout: dialTime,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTime}),
	)
}

// knows notes that the peer has the block.
func (e *endpoint) knows(block uint64) { raise(&e.height, block) }

// raise sets v to block+1 unless it is more already.
func raise(v *atomic.Uint64, block uint64) {
	if block == math.MaxUint64 {
		return
	}
	for {
		old := v.Load()
		if old > block || v.CompareAndSwap(old, block+1) {
			return
		}
	}
}

// calls counts running calls and refuses new ones once closed.
type calls struct {
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

func (c *calls) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.wg.Add(1)
	return true
}

// close refuses new calls and says whether it was the first to do so.
func (c *calls) close() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.closed
	c.closed = true
	return first
}
