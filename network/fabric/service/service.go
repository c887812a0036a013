// Package service runs a chaincode as a service that a Fabric peer connects to.
//
// Entry points: Load reads the file that says where and with which certificates, Serve
// serves a chaincode accordingly.
//
// Trust: whoever shows a certificate of the peers' authority is a peer, and may have the
// contracts run over a state of its own making; nobody else gets as far.
package service

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/network/site"
)

// Of the connections between a peer and its chaincode; both are Fabric's own.
const (
	pingEvery  = time.Minute
	pongTime   = 20 * time.Second
	maxMessage = 100 << 20 // bytes of one message
	greetTime  = 5 * time.Second
)

// maxPEM bounds a file with certificates or a key, in bytes.
const maxPEM = 64 << 10

// Config is the file of a chaincode service.
type Config struct {
	site.Service
	// Listen is where the peer connects, as host:port.
	Listen string `json:"listen"`
	// ID is the package id of the installed chaincode, as the peer calculates it: with
	// another one the peer refuses the service.
	ID string `json:"id"`
	// Certificate and Key are what the service shows, ClientCA the certificates of the
	// authorities that issue the peers' client certificates, all PEM. Without them anyone
	// who reached the service could run the contracts over a state of their own making.
	Certificate site.Path   `json:"certificate"`
	Key         site.Secret `json:"key"`
	ClientCA    site.Path   `json:"client_ca"`
	// Details is the socket of this member's institution, which has the keys of consent
	// details. Without it no consents are taken or read.
	Details site.Path `json:"details,omitempty"`
}

// Load reads a service's file.
func Load(path string) (Config, error) {
	var c Config
	return c, site.Load(path, &c)
}

// Check refuses a configuration that nothing could be served with.
func (c Config) Check() error {
	if c.ID == "" || c.Certificate == "" || c.Key == "" || c.ClientCA == "" {
		return errors.New("id, certificate, key and client_ca are needed")
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return c.Service.Check()
}

// Serve runs a chaincode until ctx ends, which is no error.
func (c Config) Serve(ctx context.Context, cc shim.Chaincode) error {
	config, err := c.TLS()
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return err
	}
	counted, metrics := count(cc)
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.ConnectionTimeout(greetTime), grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingEvery, Timeout: pongTime}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingEvery, PermitWithoutStream: true}),
	)
	// Of the shim's server only the conversation with the peer is used: the rest
	// of it cannot be ended.
	peer.RegisterChaincodeServer(s, &shim.ChaincodeServer{CCID: c.ID, CC: counted})
	c.Logger(false).Info("chaincode service is up", "address", l.Addr().String(), "id", c.ID)
	g, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, s.Stop)
	defer stop()
	g.Go(func() error {
		err := s.Serve(l)
		if ctx.Err() == nil {
			return err
		}
		s.Stop() // returns when the conversations have ended
		return nil
	})
	g.Go(func() error { return c.Observe(ctx, metrics, func(context.Context) error { return nil }) })
	return g.Wait()
}

// TLS is what the service shows, and asks for.
func (c Config) TLS() (*tls.Config, error) {
	cert, err := state.ReadFile(string(c.Certificate), maxPEM)
	if err != nil {
		return nil, err
	}
	key, err := c.Key.Read(maxPEM)
	if err != nil {
		return nil, err
	}
	roots, err := state.ReadFile(string(c.ClientCA), maxPEM)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", c.Certificate, c.Key, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots) {
		return nil, fmt.Errorf("%s has no certificate", c.ClientCA)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{pair},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
	}, nil
}
