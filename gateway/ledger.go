package gateway

import (
	"context"
	"encoding/json"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// evaluateTimeout bounds one question to the ledger.
const evaluateTimeout = 10 * time.Second

// evaluate asks a chaincode getter; arg is marshalled to its one argument.
func (g *Gateway) evaluate(ctx context.Context, function string, arg, result any) error {
	ctx, cancel := context.WithTimeout(ctx, evaluateTimeout)
	defer cancel()
	b, err := json.Marshal(arg)
	if err != nil {
		return err
	}
	out, err := g.client.Evaluate(ctx, network.Call{Function: function, Args: []string{string(b)}})
	if err != nil {
		return err
	}
	// Not strict: a newer chaincode may answer with more.
	if err := json.Unmarshal(out, result); err != nil {
		return fault.New(fault.Internal, "%s answered with something else: %w", function, err)
	}
	return nil
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
	var d record.DeviceState
	err := g.evaluate(ctx, "Registry:GetDevice", id, &d)
	return d, err
}

func (g *Gateway) patient(ctx context.Context, id record.ID) (record.Patient, error) {
	var p record.Patient
	err := g.evaluate(ctx, "Registry:GetPatient", id, &p)
	return p, err
}

// patientNamed is patient for an identifier as requests carry it.
func (g *Gateway) patientNamed(ctx context.Context, name string) (record.Patient, error) {
	id, err := record.ParseID(name)
	if err != nil {
		return record.Patient{}, fault.New(fault.Invalid, "%w", err)
	}
	return g.patient(ctx, id)
}
