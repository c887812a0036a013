package gateway

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// workers run the operations that are one transaction each.
const workers = 16

// submitTimeout bounds one transaction.
const submitTimeout = 30 * time.Second

// Waits before a transaction is tried again while the ledger is away.
const (
	firstPause = 50 * time.Millisecond
	mostPause  = 5 * time.Second
)

// dispatch hands an accepted operation to whoever runs it. Channels have room
// for all that may be pending, so it does not block.
func (g *Gateway) dispatch(e entry) {
	if e.request.GetAnchor() != nil {
		g.anchors.uploads <- e
		return
	}
	if e.request.GetConsent() != nil || e.request.GetKeys() != nil || e.request.GetErasure() != nil || e.request.GetRetirement() != nil {
		g.ops.urgent <- e // a revocation does not wait behind enrolments
		return
	}
	g.ops.queue <- e
}

// worker runs operations until the gateway is closed.
func (g *Gateway) worker(ctx context.Context) {
	for {
		select {
		case <-g.quit:
			return
		case e := <-g.ops.urgent:
			g.run(ctx, e)
			continue
		default:
		}
		select {
		case <-g.quit:
			return
		case e := <-g.ops.urgent:
			g.run(ctx, e)
		case e := <-g.ops.queue:
			g.run(ctx, e)
		}
	}
}

// run brings one operation to its end, unless the gateway is closed before:
// then it stays in the journal. Submitting an identical document twice is
// harmless, chaincode answers with what is recorded.
func (g *Gateway) run(ctx context.Context, e entry) {
	call, err := callOf(g.genesis, e.request)
	if err != nil {
		g.ops.finish(e.id, failed(e.state, err))
		return
	}
	pause := firstPause
	for {
		res, err := g.submit(ctx, call)
		if err == nil {
			if keys := e.request.GetKeys(); keys != nil {
				g.keys.forget(api.PartyPatient + ":" + keys.Change.Patient)
			}
			out := proto.CloneOf(e.state)
			out.TxId, out.Block = res.TxID, res.Block
			g.ops.finish(e.id, out)
			return
		}
		if fault.Of(err) == fault.Forbidden { // before the journal forgets the request
			g.discardSeeds(ctx, e.request.GetDevice())
		}
		if !passing(err) {
			g.ops.finish(e.id, failed(e.state, err))
			return
		}
		g.log.Warn("the ledger did not take a transaction; trying again", "function", call.Function, "code", string(fault.Of(err)))
		if !g.pause(pause) {
			return
		}
		pause = min(2*pause, mostPause)
	}
}

func (g *Gateway) submit(ctx context.Context, call network.Call) (network.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, submitTimeout)
	defer cancel()
	return network.SubmitRetry(ctx, g.client, call)
}

// pause waits about d; it reports false when the gateway is closed meanwhile.
func (g *Gateway) pause(d time.Duration) bool { return pause(d, g.quit) }

func pause(d time.Duration, quit <-chan struct{}) bool {
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-quit:
		return false
	case <-t.C:
		return true
	}
}

// passing says that the ledger was away or busy: nothing is wrong with the
// transaction itself.
func passing(err error) bool {
	code := asFault(err).Code
	return code == fault.Unavailable || code == fault.Contention
}

// callOf makes the chaincode call of a journaled request.
func callOf(genesis record.Genesis, r *apiv1.StoredRequest) (network.Call, error) {
	switch d := r.Document.(type) {
	case *apiv1.StoredRequest_Patient:
		return callWith("Registry:EnrolPatient", d.Patient, &record.EnrolPatient{})
	case *apiv1.StoredRequest_Consent:
		return consentCall(genesis.Network, d.Consent)
	case *apiv1.StoredRequest_Keys:
		return callWith("Registry:ChangeKeys", d.Keys, &consent.SignedKeys{})
	case *apiv1.StoredRequest_Erasure:
		return callWith("Registry:Erase", d.Erasure, &record.SignedErasure{})
	case *apiv1.StoredRequest_Device:
		return callWith("Registry:EnrolDevice", d.Device, &record.EnrolDevice{})
	case *apiv1.StoredRequest_Attest:
		return callWith("Predicate:Attest", d.Attest, &record.Attest{})
	case *apiv1.StoredRequest_Retirement:
		return callWith("Registry:RetireDevice", d.Retirement, &record.SignedRetirement{})
	}
	return network.Call{}, fault.New(fault.Internal, "the journal holds a request of an unknown kind")
}

// consentCall puts a consent beside the chain and its salted hash on it. Every
// attempt to submit it has a salt of its own, of which the first that commits
// stays.
func consentCall(networkName string, m *apiv1.SignedConsent) (network.Call, error) {
	d := consent.Details{Salt: record.RandomID()}
	if err := api.FromMessage(m, &d.Signed); err != nil {
		return network.Call{}, fault.New(fault.Invalid, "%w", err)
	}
	arg, transient, err := chaincode.PutArguments(networkName, d)
	return network.Call{Function: "Consent:Put", Args: []string{arg}, Transient: transient}, err
}

func callWith(function string, m proto.Message, doc any) (network.Call, error) {
	if err := api.FromMessage(m, doc); err != nil {
		return network.Call{}, fault.New(fault.Invalid, "%w", err)
	}
	arg, err := json.Marshal(doc)
	return network.Call{Function: function, Args: []string{string(arg)}}, err
}
