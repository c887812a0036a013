package fabric_test

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/vitalveil/vitalveil/cmd/institution"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
	"github.com/vitalveil/vitalveil/network/fabric"
	"github.com/vitalveil/vitalveil/network/fabric/launch"
	"github.com/vitalveil/vitalveil/network/fabric/launch/launchtest"
)

// institutionWord makes the test program an institution's.
const institutionWord = "institution"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == institutionWord {
		launchtest.Exit(runInstitution(os.Args[2:]))
	}
	launchtest.Main(m)
}

// runInstitution is "vitalveil institution".
func runInstitution(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var c institution.Command
	p, err := kong.New(&c, kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		return err
	}
	k, err := p.Parse(args)
	if err != nil {
		return err
	}
	return k.Run()
}

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
