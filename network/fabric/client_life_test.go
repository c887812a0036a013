package fabric_test

import (
	"context"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/fabric/launch"
	"github.com/vitalveil/vitalveil/network/fabric/launch/launchtest"
	"github.com/vitalveil/vitalveil/network/index"
)

const association = consortium.Association

// life is the real contracts on a real network, with a client of each member.
type life struct {
	*consortium.Consortium
	last uint64
}

func newLife(t *testing.T) *life {
	n := launchtest.Up(t, launch.Options{Chaincode: launchtest.Serves(t, launchtest.Contracts)})
	l := &life{Consortium: consortium.New(t, func(g *record.Genesis) {
		g.Network, g.Gateways = channel, []string{otherOrg}
	})}
	launchtest.Join(n, l.Consortium)
	return l
}

func (l *life) must(msp string, m contracts.Method, document any) {
	l.Helper()
	l.last = max(l.last, l.Must(msp, m, document).Block)
}

// The real contracts on a real network: it begins, time passes, a patient is
// enrolled and consents, a forged consent is refused with its code, and an
// index that follows one member's peer sees what happened.
func TestAShortLifeOnFabric(t *testing.T) {
	l := newLife(t)
	l.Begin()
	p := l.Patient()
	d := p.Document(ownOrg)
	forged := p.Sign(d)
	forged.Signature = consortium.Sign(consortium.NewKey(), d.Digest(channel))
	if _, err := l.Submit(otherOrg, contracts.ConsentPut, forged); fault.Of(err) != fault.BadSignature {
		t.Fatalf("a consent that the patient did not sign: %v", err)
	}
	l.must(otherOrg, contracts.ConsentPut, p.Sign(d))
	for msp, c := range l.Clients {
		l.sees(msp, c, p.ID, d.ID)
	}
	l.erases(p, d.ID)
}

// erases has the patient erased: no peer gives the details any more, and nobody
// waits for them.
func (l *life) erases(p *consortium.Patient, id record.ID) {
	l.Helper()
	l.must(otherOrg, contracts.RegistryErase, p.Erasure(p.Key))
	for msp, c := range l.Clients {
		l.read(msp, c) // until this peer has the erasure: what it gave before counts for nothing
		ix, available := l.read(msp, c)
		if available != 0 || !ix.Erased(p.ID) || len(ix.Missing()) != 0 {
			l.Errorf("%s has %d details after the erasure, and %v missing", msp, available, ix.Missing())
		}
		_, err := contracts.ConsentGet.Evaluate(l.Context(), c, id)
		if fault.Of(err) != fault.NotFound {
			l.Errorf("%s reads the erased consent: %v", msp, err)
		}
	}
}

// sees follows the chain into an index and reads the state: both have the consent.
func (l *life) sees(msp string, c network.Client, patient, id record.ID) {
	l.Helper()
	ix, available := l.read(msp, c)
	if available != 1 {
		l.Errorf("%s got the details of %d consents", msp, available)
	}
	got, err := ix.Consents(patient)
	if err != nil || len(got) != 1 || got[0].Document.ID != id {
		l.Errorf("%s's index has %v, %v", msp, got, err)
	}
	if s, err := contracts.ConsentGet.Evaluate(l.Context(), c, id); err != nil || s.Signed.Document.ID != id {
		l.Errorf("%s reads %+v (%v)", msp, s, err)
	}
}

// read follows the chain to its end and counts the private values.
func (l *life) read(msp string, c network.Client) (*index.Index, int) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	defer cancel()
	ix, available := index.New(), 0
	ix.OpenWith(l.Details)
	for b, err := range c.Blocks(ctx, 0) {
		if err == nil {
			err = ix.Apply(b)
		}
		if err != nil {
			l.Fatalf("%s follows: %v", msp, err)
		}
		for _, tx := range b.Txs {
			for _, p := range tx.Private {
				if p.Available && !p.Delete {
					available++
				}
			}
		}
		if b.Number == l.last {
			break
		}
	}
	return ix, available
}
