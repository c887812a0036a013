package embedded_test

import (
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance/forgery"
	"github.com/vitalveil/vitalveil/network/embedded"
)

// forgeries is an embedded ledger with the real contracts.
type forgeries struct{ *embedded.Ledger }

func (f forgeries) Foreign(testing.TB) network.Client {
	return f.Client(consortium.Identity("Foreign"))
}

func (f forgeries) SubmitAt(t testing.TB, msp string, call network.Call, at time.Time) error {
	return f.Ledger.SubmitAt(t.Context(), consortium.Identity(msp), call, at)
}

func TestAttackForgeries(t *testing.T) {
	c := forgery.Consortium(t, "vitalveil-test")
	c.Open(t.TempDir())
	t.Cleanup(func() { embedded.Verifies(t, c.Ledger) })
	forgery.Run(t, forgeries{c.Ledger}, c)
}
