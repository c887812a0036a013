package embedded

import (
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/internal/details/detailstest"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance/forgery"
)

// forgeries is an embedded ledger with the real contracts.
type forgeries struct {
	ledger  *Ledger
	ids     map[string]network.Identity
	foreign network.Identity
}

func (f forgeries) Client(_ *testing.T, msp string) network.Client {
	return f.ledger.Client(f.ids[msp])
}

func (f forgeries) Foreign(*testing.T) network.Client { return f.ledger.Client(f.foreign) }

func (f forgeries) SubmitAt(t *testing.T, msp string, call network.Call, at time.Time) error {
	t.Helper()
	s, err := signCall(f.ids[msp], f.ledger.Channel(), call, at)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.ledger.submit(t.Context(), s)
	return err
}

func TestAttackForgeries(t *testing.T) {
	members := [3]string{"HospitalA", "HospitalB", "PatientsAssociation"}
	f := forgeries{ids: map[string]network.Identity{}}
	roots := map[string][]byte{}
	issue := func(msp string) (network.Identity, []byte) {
		ca, err := network.NewCA(msp)
		if err != nil {
			t.Fatal(err)
		}
		id, err := ca.Issue("client", "client")
		if err != nil {
			t.Fatal(err)
		}
		return id, ca.RootPEM()
	}
	for _, msp := range members {
		f.ids[msp], roots[msp] = issue(msp)
	}
	f.foreign, _ = issue("Foreign")
	keys := new(detailstest.Keys)
	cc, err := chaincode.New(keys)
	if err != nil {
		t.Fatal(err)
	}
	const channel = "vitalveil-test"
	f.ledger, err = Open(Config{Dir: t.TempDir(), Channel: channel, Roots: roots, Chaincode: cc})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		verifies(t, f.ledger)
		if err := f.ledger.Close(); err != nil {
			t.Error(err)
		}
	})
	forgery.Run(t, f, channel, members, keys)
}
