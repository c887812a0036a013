package forgery

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/details/detailstest"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// The portal on which patients sign with authenticators.
const (
	party  = "example.org"
	portal = "https://portal.example.org"
)

const (
	// timeout bounds one call, generously.
	timeout = time.Minute
	// tickEvery keeps ledger time within what the contracts allow.
	tickEvery = time.Minute
)

// world is the network with what its members hold.
type world struct {
	*testing.T
	network              network.Client // of the association
	ledger               Network
	details              *detailstest.Keys // what the contracts get keys from
	genesis              record.Genesis
	hospitalA, hospitalB string
	association          string
	keys                 map[string]*ecdsa.PrivateKey // members' signing keys
	clients              map[string]network.Client
	ticked               *time.Time
}

// begin makes the network's genesis and posts its first ticks.
func begin(t *testing.T, n Network, channel string, members [3]string, keys *detailstest.Keys) *world {
	t.Helper()
	w := &world{
		T: t, ledger: n, details: keys, hospitalA: members[0], hospitalB: members[1], association: members[2],
		keys: map[string]*ecdsa.PrivateKey{}, clients: map[string]network.Client{}, ticked: new(time.Time),
	}
	w.genesis = record.Genesis{
		Network: channel, Clock: record.ClockWall, Threshold: 2, Registrar: w.association, Gateways: []string{w.association},
		MinCohort: 11, Profile: "n8192-q212-t128", Schema: privacy.V1().Digest(), CapMicro: 5_000_000,
		PredicateSlot: 300, PredicateLife: 3600,
		RelyingParties: []record.RelyingParty{{ID: party, Origins: []string{portal}}},
	}
	for _, msp := range members {
		w.keys[msp], w.clients[msp] = w.key(), n.Client(t, msp)
		boxes, err := he.NewMemberKeys()
		if err != nil {
			t.Fatal(err)
		}
		w.genesis.Members = append(w.genesis.Members, boxes.Enter(record.Member{
			MSP: msp, Name: msp, SignKey: public(w.keys[msp]),
		}))
	}
	w.network = w.clients[w.association]
	w.must(w.hospitalA, "Registry:Init", w.genesis)
	w.tick()
	return w
}

// in is the world for one item of the list.
func (w *world) in(t *testing.T) *world {
	t.Helper()
	sub := *w
	sub.T = t
	if time.Since(*w.ticked) > tickEvery {
		sub.tick()
	}
	return &sub
}

func (w *world) tick() {
	w.Helper()
	*w.ticked = time.Now()
	for _, m := range w.genesis.Members {
		w.must(m.MSP, "Clock:Tick", record.Tick{Time: w.ticked.Unix()})
	}
}

func (w *world) key() *ecdsa.PrivateKey {
	w.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.Fatal(err)
	}
	return k
}

func public(k *ecdsa.PrivateKey) []byte { return record.PublicKeyBytes(&k.PublicKey) }

func (w *world) sign(k *ecdsa.PrivateKey, digest record.ID) []byte {
	w.Helper()
	sig, err := record.Sign(k, digest)
	if err != nil {
		w.Fatal(err)
	}
	return sig
}

// call makes a call; a consent's document goes beside the chain.
func (w *world) call(function string, document any) network.Call {
	w.Helper()
	if signed, ok := document.(consent.Signed); ok {
		arg, transient, err := chaincode.PutArguments(w.genesis.Network, consent.Details{Salt: record.RandomID(), Signed: signed})
		if err != nil {
			w.Fatal(err)
		}
		return network.Call{Function: function, Args: []string{arg}, Transient: transient}
	}
	arg, err := json.Marshal(document)
	if err != nil {
		w.Fatal(err)
	}
	return network.Call{Function: function, Args: []string{string(arg)}}
}

func (w *world) submit(c network.Client, function string, document any) (network.Result, error) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), timeout)
	defer cancel()
	return network.SubmitRetry(ctx, c, w.call(function, document))
}

func (w *world) must(msp, function string, document any) network.Result {
	w.Helper()
	res, err := w.submit(w.clients[msp], function, document)
	if err != nil {
		w.Fatalf("%s calls %s: %v", msp, function, err)
	}
	return res
}

// state is all that the ledger says about patients, errors among it.
func (w *world) state(patients ...record.ID) string {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), timeout)
	defer cancel()
	var all string
	for _, id := range patients {
		for _, function := range []string{"Registry:GetPatient", "Consent:OfPatient"} {
			raw, err := w.network.Evaluate(ctx, w.call(function, id))
			all += string(raw) + string(fault.Of(err)) + "\n"
		}
	}
	return all
}

// forgery is something that must come back with this code.
type forgery struct {
	name     string
	code     fault.Code
	function string
	document any
}

// refused tries forgeries through the association's client, by which a gateway
// submits. Afterwards the patients are as they were.
func (w *world) refused(patients []record.ID, list ...forgery) {
	w.Helper()
	before := w.state(patients...)
	for _, f := range list {
		_, err := w.submit(w.network, f.function, f.document)
		w.wants(f.name, f.code, err)
	}
	if after := w.state(patients...); after != before {
		w.Errorf("what was refused changed the state from\n%s to\n%s", before, after)
	}
}

func (w *world) wants(what string, code fault.Code, err error) {
	w.Helper()
	switch {
	case err == nil:
		w.Errorf("%s: accepted, want %s", what, code)
	case fault.Of(err) != code:
		w.Errorf("%s: %v, want %s", what, err, code)
	}
}
