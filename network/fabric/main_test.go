package fabric_test

import (
	"testing"

	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
	"github.com/vitalveil/vitalveil/network/fabric"
	"github.com/vitalveil/vitalveil/network/fabric/launch"
	"github.com/vitalveil/vitalveil/network/fabric/launch/launchtest"
)

func TestMain(m *testing.M) { launchtest.Main(m) }

const (
	ownOrg   = fabric.OwnOrg
	otherOrg = "HospitalB"
	channel  = "vitalveil"
)

var secrets = []launch.Collection{{Name: conformance.Collection, MaxPeers: 1}}

// member is the identity of an organisation's client.
func member(t testing.TB, p fabric.Profile, msp string) network.Identity {
	t.Helper()
	org, err := p.Org(msp)
	if err != nil {
		t.Fatal(err)
	}
	id, err := network.LoadIdentity(org.IdentityDir)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
