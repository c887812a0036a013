package institution

import (
	"testing"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// revokeAll ends everything that a patient has permitted, without naming any of it.
func (w *world) revokeAll(p *person) {
	w.t.Helper()
	c := record.PatientKeys{
		Patient: p.id, Version: 1, ConsentKeys: p.in.ConsentKeys, RecoveryHash: p.in.RecoveryHash, RevokeAll: true,
	}
	w.submit(hospitalB, contracts.RegistryChangeKeys, consent.SignedKeys{
		Change: c, Key: record.PublicKeyBytes(&p.key.PublicKey), Signature: must(record.Sign(p.key, c.Digest(networkName))),
	})
}

func TestAttackEverythingRevokedBetweenQueryAndShare(t *testing.T) {
	w := settledWorld(t, 12)
	id := w.agreedQuery("exact")
	gone := w.patients[3]
	w.revokeAll(gone)
	w.fetchWithout(id, gone)
	_, err := w.getShare(hospitalA, hospitalB, id, 0)
	wantFault(t, err, fault.TooEarly)
}
