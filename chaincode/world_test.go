package chaincode_test

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/json"
	"testing"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/embedded"
)

const (
	hospitalA   = consortium.HospitalA
	hospitalB   = consortium.HospitalB
	association = consortium.Association
	gatewayMSP  = "Gateway"
	outsider    = "Outsider"

	startDay  = consortium.StartDay
	startHour = consortium.StartHour
	start     = consortium.Start
)

// world is a network with three members, a gateway and an outsider on the
// embedded ledger.
type world struct {
	consortium.Consortium
	counts map[record.ID]int // pointers in each batch
}

// newWorld starts a network on a simulated clock at start; change may alter the
// genesis before it is recorded.
func newWorld(t testing.TB, change ...func(*record.Genesis)) *world {
	t.Helper()
	w := emptyWorld(t, change...)
	if w.Genesis.Clock == record.ClockSimulated {
		w.Begin()
	} else {
		w.Must(hospitalA, contracts.RegistryInit, w.Genesis)
	}
	return w
}

func emptyWorld(t testing.TB, change ...func(*record.Genesis)) *world {
	t.Helper()
	defaults := func(g *record.Genesis) {
		g.Gateways = []string{gatewayMSP}
		g.Circuits = []record.Circuit{consortium.DayFixture("..").Circuit()}
	}
	c := consortium.New(t, append([]func(*record.Genesis){defaults}, change...)...)
	c.Open(t.TempDir(), func(cfg *embedded.Config) {
		for _, msp := range []string{gatewayMSP, outsider} {
			cfg.Roots[msp] = consortium.Authority(msp).RootPEM()
		}
		cfg.Chaincode = aging{cfg.Chaincode}
	})
	return &world{*c, map[record.ID]int{}}
}

// pieceKey is a piece's key as a member posts it; change may spoil it before it is
// signed.
func (w *world) pieceKey(e record.Epoch, msp string, piece, round int, change ...func(*record.PieceKey)) record.PostedKey {
	w.Helper()
	sharing, err := he.NewSharing(len(e.Members), e.Threshold)
	w.OK(err)
	var others []record.Member
	for _, m := range sharing.Holders(piece) {
		if e.Members[m].MSP != msp {
			others = append(others, e.Members[m])
		}
	}
	p := record.PostedKey{By: msp}
	p.Key, err = he.SealPieceKey(he.Context{Network: w.Genesis.Network, Epoch: e.Number}, piece, round, he.NewPieceKey(), msp, others)
	w.OK(err)
	for _, f := range change {
		f(&p.Key)
	}
	p.Signature = consortium.Sign(w.Keys[msp], p.Key.Digest(w.Genesis.Network))
	return p
}

// argument is a document's JSON; text goes as it is.
func argument(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return string(consortium.Must(json.Marshal(v)))
}

// quoted is text as a JSON string.
func quoted(s string) string { return string(consortium.Must(json.Marshal(s))) }

func equalJSON(a, b any) bool { return bytes.Equal([]byte(argument(a)), []byte(argument(b))) }

// person is a patient whose consents are for statistics and claims.
type person struct {
	consortium.Patient
	w *world
}

type device = consortium.Device

func (w *world) newPerson() *person { return &person{*w.NewPatient(), w} }

// recoverable is an enrolled patient without a device.
func (w *world) recoverable() *person { return &person{*w.Consortium.Patient(), w} }

// enrolled is a patient on the ledger with one device for heart rate and SpO2.
func (w *world) enrolled() *person {
	w.Helper()
	p := w.recoverable()
	p.addDevice(startHour, "heart_rate", "spo2")
	return p
}

func (p *person) addDevice(firstHour int64, metrics ...string) *device {
	p.w.Helper()
	return p.NewDevice(firstHour, metrics...).Enrol()
}

// document is a consent for statistics and claims, of all of a month.
func (p *person) document(grantee string) consent.Document {
	return p.Document(grantee, consortium.Claims, func(d *consent.Document) {
		d.DataFrom, d.DataUntil, d.NotBefore, d.Expires = startHour, startHour+24*30, start, start+86400*60
	})
}

func (p *person) consents(grantee string) consent.Document {
	p.w.Helper()
	return p.Put(p.document(grantee)).Document
}

func (p *person) revoke(d consent.Document) consent.Document {
	p.w.Helper()
	return p.Put(p.Revoked(d)).Document
}

// state is the ledger's record of the patient.
func (p *person) state() record.Patient {
	p.w.Helper()
	var s record.Patient
	p.w.Read(gatewayMSP, contracts.RegistryGetPatient, p.ID, &s)
	return s
}

// ref is what the ledger says about the patient's key.
func (p *person) ref() details.Ref { return details.RefOf(p.state()) }

// change is the next change of the patient's keys: the recovery key stays.
func (p *person) change(revokeAll bool, keys ...*ecdsa.PrivateKey) record.PatientKeys {
	p.w.Helper()
	return p.KeysAfter(p.state(), revokeAll, keys...)
}

func (w *world) anchor(ps ...record.SignedPointer) record.AnchorResult {
	w.Helper()
	r := w.Anchor(ps...)
	for _, item := range r.Items {
		if item.Outcome == record.Anchored {
			w.counts[r.Batch]++
		}
	}
	return r
}

// refusesPointer expects one pointer to be refused with this code.
func (w *world) refusesPointer(code fault.Code, p record.SignedPointer) {
	w.Helper()
	r := w.anchor(p)
	if r.Items[0].Outcome != record.Refused || r.Items[0].Code != string(code) || !r.Batch.IsZero() {
		w.Errorf("outcome is %+v, want refused with %s", r.Items[0], code)
	}
}

// availability is a member's signed post for a batch.
func (w *world) availability(msp string, batch record.ID, bitmap ...byte) record.SignedAvailable {
	return w.Available(msp, batch, w.counts[batch], bitmap...)
}

// study is registered by hospital A: heart rate of the first day.
func (w *world) study(change ...func(*record.Study)) record.Study {
	w.Helper()
	s := record.Study{
		ID: "resting", Title: "Resting heart rate", Purpose: "HRESCH", Metrics: []string{"heart_rate"},
		From: startHour, Until: startHour + 24*30, MinCohort: 11, Budget: 2_000_000,
	}
	for _, f := range change {
		f(&s)
	}
	w.Must(hospitalA, contracts.StudyCreate, s)
	return s
}

// query asks about the first day, within the study "resting".
func (w *world) query() record.QueryState {
	w.Helper()
	var q record.QueryState
	w.Must(hospitalA, contracts.QueryAsk, record.Ask{
		Study: "resting", Metric: "heart_rate", From: startHour, Until: startHour + 24, Rho: 500_000,
	}, &q)
	return q
}

func (w *world) getQuery(id string) record.QueryState {
	w.Helper()
	var q record.QueryState
	w.Read(hospitalB, contracts.QueryGet, id, &q)
	return q
}
