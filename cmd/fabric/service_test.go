package fabric

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
)

func TestTheServiceRefusesToStartUnprotected(t *testing.T) {
	for why, c := range map[string]ServiceCommand{
		"are required":        {Address: "127.0.0.1:0", ID: "id"},
		"--tls-key":           {Address: "127.0.0.1:0", ID: "id", TLSCert: "cert.pem"},
		"loopback address":    {Address: "0.0.0.0:0", ID: "id", Insecure: true},
		"not \"example.org\"": {Address: "example.org:1", ID: "id", Insecure: true},
		"exclude each other":  {Address: "127.0.0.1:0", ID: "id", Insecure: true, TLSKey: "key.pem"},
		"package id":          {Address: "127.0.0.1:0", Insecure: true},
	} {
		err := c.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%+v: got %v, want a refusal with %q", c, err, why)
		}
	}
}

// service is a running chaincode service and the authority of those it talks to.
type service struct {
	ca      *network.CA
	address string
	end     func() error
}

func startService(t *testing.T) service {
	t.Helper()
	ca, err := network.NewCA("OrgA-TLS")
	if err != nil {
		t.Fatal(err)
	}
	id, err := ca.Issue("chaincode", "")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "root.pem")
	if err := os.WriteFile(root, ca.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- ServiceCommand{
			Address: address, ID: "label:hash", TLSCert: filepath.Join(dir, "cert.pem"),
			TLSKey: filepath.Join(dir, "key.pem"), ClientCA: root,
		}.Serve(ctx, conformance.Chaincode{})
	}()
	return service{ca, address, func() error { cancel(); return <-done }}
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

// greet connects as a peer would, patient or not with a service that does not
// let it, and returns what the service says first.
func (s service) greet(t *testing.T, patient bool, certs ...tls.Certificate) (*peer.ChaincodeMessage, error) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.ca.RootPEM())
	conn, err := grpc.NewClient("passthrough:///"+s.address, grpc.WithTransportCredentials(credentials.NewTLS(
		&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: "localhost", Certificates: certs})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	stream, err := peer.NewChaincodeClient(conn).Connect(ctx, grpc.WaitForReady(patient))
	if err != nil {
		return nil, err
	}
	return stream.Recv()
}

func TestTheServiceRegistersWithItsPeerAndEndsWithItsContext(t *testing.T) {
	s := startService(t)
	got, err := s.greet(t, true, pair(t, s.ca))
	if err != nil {
		t.Fatal(err)
	}
	id := &peer.ChaincodeID{}
	if err := proto.Unmarshal(got.GetPayload(), id); err != nil || got.GetType() != peer.ChaincodeMessage_REGISTER || id.GetName() != "label:hash" {
		t.Errorf("got %v (%v)", got, err)
	}
	if err := s.end(); err != nil {
		t.Errorf("ended with %v", err)
	}
	if _, err := net.Dial("tcp", s.address); err == nil {
		t.Error("it still listens")
	}
}

func TestAttackAStrangerRunsTheContracts(t *testing.T) {
	s := startService(t)
	defer s.end()
	if _, err := s.greet(t, true, pair(t, s.ca)); err != nil {
		t.Fatal(err)
	}
	stranger, err := network.NewCA("OrgA-TLS")
	if err != nil {
		t.Fatal(err)
	}
	for name, certs := range map[string][]tls.Certificate{"without a certificate": nil, "with one of another root": {pair(t, stranger)}} {
		if got, err := s.greet(t, false, certs...); err == nil {
			t.Errorf("%s: the service said %v", name, got)
		}
	}
}

func pair(t *testing.T, ca *network.CA) tls.Certificate {
	t.Helper()
	id, err := ca.Issue("dialer", "")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := id.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: id.Key, Leaf: leaf}
}
