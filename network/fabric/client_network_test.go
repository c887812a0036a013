package fabric

import (
	"os"
	"testing"

	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
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

var secrets = []Collection{{Name: conformance.Collection, MaxPeers: 1}}

// serves is the command by which this test program serves chaincode.
func serves(t testing.TB, which string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{self, which}
}
