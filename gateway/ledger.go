package gateway

import (
	"context"
	"log/slog"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// evaluateTimeout bounds one question to the ledger.
const evaluateTimeout = 10 * time.Second

// ledger answers questions, from the index where that has the answer and from contracts
// otherwise. It changes nothing, and each question is bounded.
type ledger struct {
	genesis record.Genesis
	client  network.Client
	index   Index
	log     *slog.Logger
	quit    <-chan struct{} // closed: the gateway ends
}

// evaluate asks a contract, for evaluateTimeout at most.
func evaluate[A, R any](ctx context.Context, l *ledger, m contracts.Read[A, R], arg A) (R, error) {
	ctx, cancel := context.WithTimeout(ctx, evaluateTimeout)
	defer cancel()
	return m.Evaluate(ctx, l.client, arg)
}

// evaluateNamed is evaluate for an identifier as requests carry it.
func evaluateNamed[R any](ctx context.Context, l *ledger, m contracts.Read[record.ID, R], name string) (R, error) {
	id, err := record.ParseID(name)
	if err != nil {
		var none R
		return none, fault.New(fault.Invalid, "%w", err)
	}
	return evaluate(ctx, l, m, id)
}

// partyKeys is the key cache's lookup.
func (l *ledger) partyKeys(ctx context.Context, kind string, id record.ID) (signer, error) {
	if kind == api.PartyDevice {
		d, err := l.device(ctx, id)
		return signer{[][]byte{d.Device.Key}, api.PatientParty(d.Device.Patient)}, err
	}
	p, err := l.patient(ctx, id)
	return signer{p.ConsentKeys(), api.PatientParty(id)}, err
}

func (l *ledger) device(ctx context.Context, id record.ID) (record.DeviceState, error) {
	return evaluate(ctx, l, contracts.RegistryGetDevice, id)
}

func (l *ledger) patient(ctx context.Context, id record.ID) (record.Patient, error) {
	return evaluate(ctx, l, contracts.RegistryGetPatient, id)
}

// patientNamed is patient for an identifier as requests carry it.
func (l *ledger) patientNamed(ctx context.Context, name string) (record.Patient, error) {
	return evaluateNamed(ctx, l, contracts.RegistryGetPatient, name)
}
