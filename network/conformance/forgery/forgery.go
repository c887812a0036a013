// Package forgery is the list of forgeries that every ledger refuses through the
// real contracts, each by name: what a gateway, a stranger, a thief or a colluding
// institution can submit, and with which code it comes back.
//
// Entry point: Run, with a network on which nothing has happened yet. The list is
// tried by clients of the ledger and knows nothing of how the ledger works.
//
// Trust: none; it only reports. Promise: every item of the list first shows the
// honest form accepted or names why that cannot be, asserts the exact code of each
// refusal, and that the patients concerned are as they were.
package forgery

import (
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// Network is what forgers can do on a ledger.
type Network interface {
	// Foreign returns a client whose organisation the channel does not know.
	Foreign(t testing.TB) network.Client
	// SubmitAt submits a member's call in a transaction that the client dates.
	SubmitAt(t testing.TB, msp string, call network.Call, at time.Time) error
}

// Consortium is the one whose network Run is tried on: its clock is the wall's, its rows
// are of hours and of days, its channel has this name, and patients' documents come through the client of the association.
func Consortium(t testing.TB, channel string) *consortium.Consortium {
	return consortium.New(t, func(g *record.Genesis) {
		g.Network, g.Clock, g.RelyingParties, g.Schema = channel, record.ClockWall, consortium.Portals(), privacy.V3().Digest()
	})
}

// Run tries the list on a network of its own, on which package chaincode is deployed, gets
// details keys from the consortium and has no genesis yet. What one client of the
// consortium has committed, the others see.
func Run(t *testing.T, n Network, c *consortium.Consortium) {
	c.Begin()
	w := &world{Consortium: *c, ledger: n}
	for _, c := range []struct {
		name string
		try  func(*world)
	}{
		{"a gateway alters a consent", alteredConsent},
		{"a gateway changes the grantee", changedGrantee},
		{"an old version is replayed", replayedVersion},
		{"somebody submits for another patient", foreignPatient},
		{"a WebAuthn assertion is reused", reusedAssertion},
		{"a device has an unknown key", unknownDevice},
		{"a device is in quarantine, or retired", endedDevice},
		{"an institution is outside the consortium", foreignInstitution},
		{"a transaction is dated by its client", datedTransaction},
		{"a patient has no voucher", unvouchedPatient},
		{"a colluding institution makes up eleven patients", elevenSybils},
		{"a thief of the phone takes the recovery code away", stolenPhone},
		{"an erased patient comes back", erasedPatient},
		{"a second recovery undoes a revocation of everything", secondRecovery},
	} {
		t.Run(c.name, func(t *testing.T) { c.try(w.in(t)) })
	}
}
