package fabric

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/internal/details"
)

// Of the connections between a peer and its chaincode; both are Fabric's own.
const (
	servicePing    = time.Minute
	servicePong    = 20 * time.Second
	serviceMessage = 100 << 20 // bytes of one message
	serviceGreet   = 5 * time.Second
)

// maxPEM bounds a file with certificates or a key, in bytes.
const maxPEM = 64 << 10

// ServiceCommand is "vitalveil chaincode": it runs the contracts as a service
// that a peer connects to. It ends with the context, without an error.
type ServiceCommand struct {
	Address  string `required:"" help:"Where to listen, as HOST:PORT."`
	ID       string `required:"" help:"Package id of the installed chaincode, as the peer calculates it."`
	TLSCert  string `name:"tls-cert" type:"path" help:"Certificate of the service, PEM."`
	TLSKey   string `name:"tls-key" type:"path" help:"Its key, PEM; readable by its owner only."`
	ClientCA string `name:"client-ca" type:"path" help:"Certificates of the authorities that issue the peers' client certificates, PEM."`
	Insecure bool   `name:"insecure-loopback" help:"Without TLS; a loopback address only."`
	Keys     string `type:"path" help:"Socket of this member's institution, which has the keys of consent details. Without it no consents are taken or read."`
}

// Run serves until ctx ends.
func (c ServiceCommand) Run(ctx context.Context) error {
	cc, err := c.Contracts()
	if err != nil {
		return err
	}
	return c.Serve(ctx, cc)
}

// Contracts makes the contracts with the keys of this member.
func (c ServiceCommand) Contracts() (shim.Chaincode, error) {
	if c.Keys == "" {
		return chaincode.New(nil)
	}
	return chaincode.New(details.NewClient(c.Keys))
}

// Serve runs another chaincode the same way.
func (c ServiceCommand) Serve(ctx context.Context, cc shim.Chaincode) error {
	creds, err := c.credentials()
	if err != nil {
		return err
	}
	if c.ID == "" {
		return errors.New("the package id is missing: without it the peer refuses the chaincode")
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", c.Address)
	if err != nil {
		return err
	}
	s := grpc.NewServer(append(creds,
		grpc.MaxRecvMsgSize(serviceMessage), grpc.MaxSendMsgSize(serviceMessage),
		grpc.ConnectionTimeout(serviceGreet), grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: servicePing, Timeout: servicePong}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: servicePing, PermitWithoutStream: true}),
	)...)
	// Of the shim's server only the conversation with the peer is used: the rest
	// of it cannot be ended.
	peer.RegisterChaincodeServer(s, &shim.ChaincodeServer{CCID: c.ID, CC: cc})
	stop := context.AfterFunc(ctx, s.Stop)
	defer stop()
	slog.Info("chaincode service is up", "address", l.Addr().String(), "tls", !c.Insecure)
	err = s.Serve(l)
	if ctx.Err() != nil {
		s.Stop() // returns when the conversations have ended
		return nil
	}
	return err
}

// credentials are mutual TLS, or nothing where that is explicitly allowed.
func (c ServiceCommand) credentials() ([]grpc.ServerOption, error) {
	if c.Insecure {
		host, _, err := net.SplitHostPort(c.Address)
		if err != nil {
			return nil, err
		}
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			return nil, fmt.Errorf("--insecure-loopback is for a loopback address such as 127.0.0.1, not %q", host)
		}
		if c.TLSCert != "" || c.TLSKey != "" || c.ClientCA != "" {
			return nil, errors.New("--insecure-loopback and TLS files exclude each other")
		}
		return nil, nil
	}
	if c.TLSCert == "" || c.TLSKey == "" || c.ClientCA == "" {
		return nil, errors.New("--tls-cert, --tls-key and --client-ca are required: anyone who reached the service otherwise could run the contracts over a state of their own making")
	}
	config, err := c.tls()
	if err != nil {
		return nil, err
	}
	return []grpc.ServerOption{grpc.Creds(credentials.NewTLS(config))}, nil
}

func (c ServiceCommand) tls() (*tls.Config, error) {
	cert, err := readPEM(c.TLSCert, false)
	if err != nil {
		return nil, err
	}
	key, err := readPEM(c.TLSKey, true)
	if err != nil {
		return nil, err
	}
	roots, err := readPEM(c.ClientCA, false)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", c.TLSCert, c.TLSKey, err)
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

// readPEM reads a small file; a secret one must be its owner's alone.
func readPEM(path string, secret bool) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxPEM {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxPEM)
	}
	if secret && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by other users (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	return os.ReadFile(path)
}
