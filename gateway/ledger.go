package gateway

import (
	"context"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// evaluateTimeout bounds one question to the ledger.
const evaluateTimeout = 10 * time.Second

// evaluate asks a contract, for evaluateTimeout at most.
func evaluate[A, R any](ctx context.Context, g *Gateway, m contracts.Read[A, R], arg A) (R, error) {
	ctx, cancel := context.WithTimeout(ctx, evaluateTimeout)
	defer cancel()
	return m.Evaluate(ctx, g.client, arg)
}

// evaluateNamed is evaluate for an identifier as requests carry it.
func evaluateNamed[R any](ctx context.Context, g *Gateway, m contracts.Read[record.ID, R], name string) (R, error) {
	id, err := record.ParseID(name)
	if err != nil {
		var none R
		return none, fault.New(fault.Invalid, "%w", err)
	}
	return evaluate(ctx, g, m, id)
}

// partyKeys is the key cache's lookup.
func (g *Gateway) partyKeys(ctx context.Context, kind string, id record.ID) (signer, error) {
	if kind == api.PartyDevice {
		d, err := g.device(ctx, id)
		return signer{[][]byte{d.Device.Key}, api.PatientParty(d.Device.Patient)}, err
	}
	p, err := g.patient(ctx, id)
	return signer{p.ConsentKeys(), api.PatientParty(id)}, err
}

func (g *Gateway) device(ctx context.Context, id record.ID) (record.DeviceState, error) {
	return evaluate(ctx, g, contracts.RegistryGetDevice, id)
}

func (g *Gateway) patient(ctx context.Context, id record.ID) (record.Patient, error) {
	return evaluate(ctx, g, contracts.RegistryGetPatient, id)
}

// patientNamed is patient for an identifier as requests carry it.
func (g *Gateway) patientNamed(ctx context.Context, name string) (record.Patient, error) {
	return evaluateNamed(ctx, g, contracts.RegistryGetPatient, name)
}
