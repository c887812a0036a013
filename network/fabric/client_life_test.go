package fabric_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/details/detailstest"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/fabric"
	"github.com/vitalveil/vitalveil/network/fabric/launch"
	"github.com/vitalveil/vitalveil/network/fabric/launch/launchtest"
	"github.com/vitalveil/vitalveil/network/index"
)

const association = "PatientsAssociation"

// life is the real contracts on a real network, with a client of each member.
type life struct {
	*testing.T
	genesis record.Genesis
	keys    map[string]*ecdsa.PrivateKey
	clients map[string]*fabric.Client
	last    uint64
	details *detailstest.Keys
}

func newLife(t *testing.T) *life {
	n := launchtest.Up(t, launch.Options{Chaincode: launchtest.Serves(t, launchtest.Contracts)})
	p, err := n.Profile()
	if err != nil {
		t.Fatal(err)
	}
	l := &life{T: t, details: new(detailstest.Keys), keys: map[string]*ecdsa.PrivateKey{}, clients: map[string]*fabric.Client{}}
	serveKeys(t, n, l.details)
	l.genesis = record.Genesis{
		Network: p.Channel, Clock: record.ClockSimulated, Threshold: 2, Registrar: association,
		Gateways: []string{otherOrg}, MinCohort: 11, Profile: "n8192-q212-t128", Schema: privacy.V1().Digest(),
		CapMicro: 5_000_000, PredicateSlot: 300, PredicateLife: 3600,
	}
	for _, org := range p.Orgs {
		l.keys[org.MSP] = l.key()
		l.clients[org.MSP] = fabric.ConnectFor(t, p, member(t, p, org.MSP))
		boxes, err := he.NewMemberKeys()
		if err != nil {
			t.Fatal(err)
		}
		l.genesis.Members = append(l.genesis.Members, boxes.Enter(record.Member{
			MSP: org.MSP, Name: org.MSP, SignKey: record.PublicKeyBytes(&l.keys[org.MSP].PublicKey),
		}))
	}
	return l
}

func (l *life) key() *ecdsa.PrivateKey {
	l.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		l.Fatal(err)
	}
	return k
}

func (l *life) sign(k *ecdsa.PrivateKey, digest record.ID) []byte {
	l.Helper()
	sig, err := record.Sign(k, digest)
	if err != nil {
		l.Fatal(err)
	}
	return sig
}

func (l *life) submit(msp string, m contracts.Method, document any) error {
	l.Helper()
	arg, err := json.Marshal(document)
	if err != nil {
		l.Fatal(err)
	}
	return l.call(msp, network.Call{Function: m.Name(), Args: []string{string(arg)}})
}

func (l *life) call(msp string, call network.Call) error {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	defer cancel()
	res, err := network.SubmitRetry(ctx, l.clients[msp], call)
	l.last = max(l.last, res.Block)
	return err
}

func (l *life) must(msp string, m contracts.Method, document any) {
	l.Helper()
	if err := l.submit(msp, m, document); err != nil {
		l.Fatalf("%s calls %s: %v", msp, m, err)
	}
}

// patient enrols a patient.
func (l *life) patient() (record.ID, *ecdsa.PrivateKey) {
	l.Helper()
	key := l.key()
	e := record.EnrolPatient{Inception: record.Inception{
		ConsentKeys:  [][]byte{record.PublicKeyBytes(&key.PublicKey)},
		RecoveryHash: record.RandomID(), Salt: record.RandomID(),
	}}
	if _, err := l.details.Enrol(l.genesis.Network, &e, l.genesis.Members); err != nil {
		l.Fatal(err)
	}
	id := e.Inception.PatientID(l.genesis.Network)
	e.Signature = l.sign(key, e.Digest(l.genesis.Network))
	e.Voucher = record.Voucher{Patient: id, Person: record.RandomID()}
	e.Vouchers = []record.VoucherSignature{{
		By: association, Signature: l.sign(l.keys[association], record.Digest(record.DomainVoucher, l.genesis.Network, e.Voucher)),
	}}
	l.must(otherOrg, contracts.RegistryEnrolPatient, e)
	return id, key
}

// The real contracts on a real network: it begins, time passes, a patient is
// enrolled and consents, a forged consent is refused with its code, and an
// index that follows one member's peer sees what happened.
func TestAShortLifeOnFabric(t *testing.T) {
	l := newLife(t)
	now := int64(20089) * 86400
	l.must(ownOrg, contracts.RegistryInit, l.genesis)
	for _, m := range l.genesis.Members {
		l.must(m.MSP, contracts.ClockTick, record.Tick{Time: now})
	}
	patient, key := l.patient()
	d := consent.Document{
		ID: record.RandomID(), Version: 1, Patient: patient, Grantee: ownOrg, Purpose: "HRESCH",
		Status: consent.StatusActive, Effect: consent.EffectPermit, Operations: []string{consent.OpAggregate},
		Metrics: []string{"heart_rate"}, DataFrom: now / 3600, DataUntil: now/3600 + 720, NotBefore: now, Expires: now + 86400*60,
		CapMicro: 1_000_000,
	}
	signed := consent.Signed{Document: d, Key: record.PublicKeyBytes(&key.PublicKey), Signature: l.sign(l.key(), d.Digest(l.genesis.Network))}
	if err := l.call(otherOrg, l.privately(signed)); fault.Of(err) != fault.BadSignature {
		t.Fatalf("a consent that the patient did not sign: %v", err)
	}
	signed.Signature = l.sign(key, d.Digest(l.genesis.Network))
	if err := l.call(otherOrg, l.privately(signed)); err != nil {
		l.Fatal(err)
	}
	for msp, c := range l.clients {
		l.sees(msp, c, patient, d.ID)
	}
	l.erases(patient, key, d.ID)
}

// privately puts what a consent says off-chain.
func (l *life) privately(s consent.Signed) network.Call {
	l.Helper()
	d := consent.Details{Signed: s, Salt: record.RandomID()}
	call, err := contracts.ConsentPut.Call(contracts.Consent{Network: l.genesis.Network, Details: d})
	if err != nil {
		l.Fatal(err)
	}
	return call
}

// erases has the patient erased: no peer gives the details any more, and nobody
// waits for them.
func (l *life) erases(patient record.ID, key *ecdsa.PrivateKey, id record.ID) {
	l.Helper()
	e := record.Erasure{Patient: patient}
	l.must(otherOrg, contracts.RegistryErase, record.SignedErasure{
		Erasure: e, Key: record.PublicKeyBytes(&key.PublicKey), Signature: l.sign(key, e.Digest(l.genesis.Network)),
	})
	for msp, c := range l.clients {
		l.read(msp, c) // until this peer has the erasure: what it gave before counts for nothing
		ix, available := l.read(msp, c)
		if available != 0 || !ix.Erased(patient) || len(ix.Missing()) != 0 {
			l.Errorf("%s has %d details after the erasure, and %v missing", msp, available, ix.Missing())
		}
		_, err := contracts.ConsentGet.Evaluate(l.Context(), c, id)
		if fault.Of(err) != fault.NotFound {
			l.Errorf("%s reads the erased consent: %v", msp, err)
		}
	}
}

// sees follows the chain into an index and reads the state: both have the consent.
func (l *life) sees(msp string, c *fabric.Client, patient, id record.ID) {
	l.Helper()
	ix, available := l.read(msp, c)
	if available != 1 {
		l.Errorf("%s got the details of %d consents", msp, available)
	}
	got, err := ix.Consents(patient)
	if err != nil || len(got) != 1 || got[0].Document.ID != id {
		l.Errorf("%s's index has %v, %v", msp, got, err)
	}
	state, err := contracts.ConsentGet.Evaluate(l.Context(), c, id)
	if err != nil || state.Signed.Document.ID != id {
		l.Errorf("%s reads %+v (%v)", msp, state, err)
	}
}

// read follows the chain to its end and counts the private values.
func (l *life) read(msp string, c *fabric.Client) (*index.Index, int) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	defer cancel()
	ix, available := index.New(), 0
	ix.OpenWith(l.details)
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
