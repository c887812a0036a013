package launch

import (
	"log/slog"
	"os"
	"testing"

	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
	"github.com/vitalveil/vitalveil/network/fabric"
)

// The words by which this test program serves chaincode instead of running tests, as
// launchtest has them, and keeps a network.
const (
	serveContracts   = "serve-contracts"
	serveConformance = "serve-conformance"
	keepNetwork      = "keep" // then the directory
)

const (
	ownOrg   = "HospitalA"
	otherOrg = "HospitalB"
)

// issue makes a client identity that the network in dir accepts.
func issue(t testing.TB, dir, msp, name string) network.Identity {
	t.Helper()
	ca, err := network.LoadCA(newMaterial(dir).authority(msp, membersCA))
	if err != nil {
		t.Fatal(err)
	}
	id, err := ca.Issue(name, "client")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// connect makes a client that is closed with the test.
func connect(t testing.TB, p fabric.Profile, id network.Identity, opts ...fabric.Option) *fabric.Client {
	t.Helper()
	c, err := fabric.Connect(p, id, opts...)
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

var (
	secrets = []Collection{{Name: conformance.Collection, MaxPeers: 1}}
	quiet   = fabric.WithLog(slog.New(slog.DiscardHandler))
)

// serves is the command by which this test program serves chaincode.
func serves(t testing.TB, which string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{self, which}
}
