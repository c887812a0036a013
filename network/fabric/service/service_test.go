package service

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

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
	"github.com/vitalveil/vitalveil/network/site"
)

func TestTheServiceRefusesToStartUnprotected(t *testing.T) {
	whole := startService(t)
	defer whole.end()
	open := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(open, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for why, change := range map[string]func(*Config){
		"are needed":     func(c *Config) { c.ClientCA = "" },
		"id,":            func(c *Config) { c.ID = "" },
		"listen":         func(c *Config) { c.Listen = "7052" },
		"loopback":       func(c *Config) { c.Metrics = "0.0.0.0:9100" },
		"other users":    func(c *Config) { c.Key = site.Secret(open) },
		"no certificate": func(c *Config) { c.ClientCA = site.Path(open) },
	} {
		c := whole.config
		c.Listen = "127.0.0.1:0"
		change(&c)
		file := filepath.Join(t.TempDir(), "chaincode.json")
		if err := site.Save(file, c); err != nil {
			t.Fatal(err)
		}
		c, err := Load(file)
		if err == nil {
			err = c.Serve(t.Context(), conformance.Chaincode{})
		}
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%+v: got %v, want a refusal with %q", c, err, why)
		}
	}
}

// service is a running chaincode service and the authority of those it talks to.
type service struct {
	ca     *network.CA
	config Config
	end    func() error
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
	config := Config{
		Listen: freeAddress(t), ID: "label:hash", ClientCA: site.Path(root),
		Certificate: site.Path(filepath.Join(dir, "cert.pem")), Key: site.Secret(filepath.Join(dir, "key.pem")),
	}
	config.Metrics = freeAddress(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- config.Serve(ctx, conformance.Chaincode{}) }()
	return service{ca, config, func() error { cancel(); return <-done }}
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
	conn, err := grpc.NewClient("passthrough:///"+s.config.Listen, grpc.WithTransportCredentials(credentials.NewTLS(
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
	if _, err := net.Dial("tcp", s.config.Listen); err == nil {
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

// answer is a chaincode that always answers the same.
type answer struct{ shim.Chaincode }

func (answer) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	if stub == nil {
		return shim.Error("nobody asks")
	}
	return shim.Success(nil)
}

func TestCallsAreCountedByOutcomeAlone(t *testing.T) {
	cc, metrics := count(answer{})
	for range 3 {
		cc.Invoke(nil)
	}
	cc.Invoke(&shim.ChaincodeStub{TxID: "secret"})
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for _, f := range families {
		if f.GetName() == "vitalveil_chaincode_call_seconds" {
			for _, m := range f.GetMetric() {
				counts[m.GetLabel()[0].GetValue()] = m.GetHistogram().GetSampleCount()
				if len(m.GetLabel()) != 1 {
					t.Errorf("labels: %v", m.GetLabel())
				}
			}
		}
	}
	if counts["ok"] != 1 || counts["refused"] != 3 {
		t.Errorf("counted %v", counts)
	}
}
