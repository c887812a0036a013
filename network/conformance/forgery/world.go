package forgery

import (
	"context"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

const (
	// timeout bounds one call, generously.
	timeout = time.Minute
	// tickEvery keeps ledger time within what the contracts allow.
	tickEvery = time.Minute

	hospitalA   = consortium.HospitalA
	hospitalB   = consortium.HospitalB
	association = consortium.Association
)

// world is the network with what its members hold.
type world struct {
	consortium.Consortium
	ledger Network
}

// in is the world for one item of the list.
func (w *world) in(t testing.TB) *world {
	t.Helper()
	sub := *w
	sub.TB = t
	if now := time.Now(); now.Sub(time.Unix(w.Now, 0)) > tickEvery {
		sub.Tick(now.Unix())
		w.Now = sub.Now
	}
	return &sub
}

// newPatient is a patient for whom these members vouch, not enrolled yet.
func (w *world) newPatient(vouch ...string) *consortium.Patient {
	p := w.NewPatient()
	p.Vouch(record.RandomID(), vouch...)
	return p
}

// device is a bridge of a patient whose first hour is still to come.
func (w *world) device(p *consortium.Patient) *consortium.Device {
	return p.NewDevice(w.Now/3600+1, "heart_rate")
}

// state is all that the ledger says about patients, errors among it.
func (w *world) state(patients ...record.ID) string {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), timeout)
	defer cancel()
	var all string
	for _, id := range patients {
		for _, method := range []contracts.Method{contracts.RegistryGetPatient, contracts.ConsentOfPatient} {
			raw, err := w.Clients[association].Evaluate(ctx, w.Call(method, id))
			all += string(raw) + string(fault.Of(err)) + "\n"
		}
	}
	return all
}

// forgery is something that must come back with this code.
type forgery struct {
	name     string
	code     fault.Code
	method   contracts.Method
	document any
}

// refused tries forgeries through the association's client, by which a gateway
// submits. Afterwards the patients are as they were.
func (w *world) refused(patients []record.ID, list ...forgery) {
	w.Helper()
	before := w.state(patients...)
	for _, f := range list {
		_, err := w.Submit(association, f.method, f.document)
		w.wants(f.name, f.code, err)
	}
	if after := w.state(patients...); after != before {
		w.Errorf("what was refused changed the state from\n%s to\n%s", before, after)
	}
}

func (w *world) wants(what string, code fault.Code, err error) {
	w.Helper()
	if err == nil || fault.Of(err) != code {
		w.Errorf("%s: %v, want %s", what, err, code)
	}
}
