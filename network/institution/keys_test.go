package institution

import (
	"testing"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// revokeAll ends everything that a patient has permitted, without naming any of it.
func (w *world) revokeAll(p *person) {
	w.Helper()
	state := record.Patient{ID: p.ID, Inception: p.Enrolment.Inception}
	w.submit(hospitalB, contracts.RegistryChangeKeys, w.SignKeys(p.KeysAfter(state, true, p.Key), p.Key))
}

func TestAttackEverythingRevokedBetweenQueryAndShare(t *testing.T) {
	w := settledWorld(t, 12)
	id := w.agreedQuery("exact")
	gone := w.patients[3]
	w.revokeAll(gone)
	w.fetchWithout(id, gone)
	_, err := w.getShare(hospitalA, hospitalB, id, 0)
	wantFault(t, fault.TooEarly, err)
}
