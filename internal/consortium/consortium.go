// Package consortium is the one kit that tests build networks with: three members
// with keys, certificates and a genesis; patients who enrol and consent; devices that
// seal and sign; and what is submitted to a ledger about them.
//
// Entry points: New makes a consortium on paper. Open puts it on an embedded ledger
// with the real contracts; on any other ledger a test fills Clients itself. Begin
// records the genesis and starts the clock. NewPatient and Patient.NewDevice make
// documents and submit nothing, so that a test can spoil them, bring them by another
// way, or write the blocks itself; Enrol, Put and their like submit them.
//
// Everything is real: keys, signatures, sealed seeds and rows, contracts. Where a
// document cannot be made the kit panics; where a ledger refuses, the test fails.
package consortium

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/embedded"
)

// The members. The association vouches for patients, and through its client their
// documents come, where a genesis does not say otherwise.
const (
	HospitalA   = "HospitalA"
	HospitalB   = "HospitalB"
	Association = "PatientsAssociation"
)

// Where simulated clocks start: 2025-01-01 00:00 UTC, in days, hours and seconds.
const (
	StartDay  = 20089
	StartHour = StartDay * 24
	Start     = StartDay * 86400
)

// The portal on which patients sign with authenticators, where a genesis has Portals.
const (
	PortalID = "example.org"
	Portal   = "https://portal.example.org"
)

// MSPs are the members in the order of the genesis.
var MSPs = []string{HospitalA, HospitalB, Association}

// Portals are the relying parties of a genesis: the portal, and other origins of it.
func Portals(more ...string) []record.RelyingParty {
	return []record.RelyingParty{{ID: PortalID, Origins: append([]string{Portal}, more...)}}
}

// Consortium is a network of members with all that they hold. A copy of it serves
// the same network, for example with the TB of a subtest.
type Consortium struct {
	testing.TB
	Genesis record.Genesis
	Epoch   record.Epoch // that devices enrol in
	Keys    map[string]*ecdsa.PrivateKey
	Boxes   map[string]*he.MemberKeys
	Clients map[string]network.Client // by organisation
	Ledger  *embedded.Ledger          // nil on another one
	Details *Details                  // what contracts get details keys from
	Params  *he.Params                // with them devices have real seeds; see Seal
	// Blobs gets what is sealed; nil where nobody reads it.
	Blobs interface {
		Put(ctx context.Context, data []byte) (record.ID, error)
	}
	Now int64 // of ledger time, as it was posted last
}

// New makes members and their genesis, which change may alter. Its clock is simulated.
func New(t testing.TB, change ...func(*record.Genesis)) *Consortium {
	c := &Consortium{
		TB: t, Keys: map[string]*ecdsa.PrivateKey{}, Boxes: map[string]*he.MemberKeys{},
		Clients: map[string]network.Client{}, Details: new(Details), Now: Start,
	}
	c.Genesis = record.Genesis{
		Network: "vitalveil-test", Clock: record.ClockSimulated, Threshold: 2, Registrar: Association,
		Gateways: []string{Association}, MinCohort: state.MinCohort, Exact: true, Profile: he.DefaultProfile().Name,
		Schema: privacy.V1().Digest(), CapMicro: 5_000_000, Circuits: []record.Circuit{}, PredicateSlot: 300, PredicateLife: 3600,
	}
	for _, msp := range MSPs {
		c.Genesis.Members = append(c.Genesis.Members, c.NewMember(msp))
	}
	for _, f := range change {
		f(&c.Genesis)
	}
	if c.Genesis.Clock == record.ClockWall {
		c.Now = time.Now().Unix()
	}
	c.Epoch = c.Genesis.FirstEpoch()
	return c
}

// NewMember makes the keys of an organisation, in the place of those that it had, and
// returns what a genesis or an epoch says of it.
func (c *Consortium) NewMember(msp string) record.Member {
	c.Keys[msp], c.Boxes[msp] = NewKey(), Must(he.NewMemberKeys())
	return c.Boxes[msp].Enter(record.Member{MSP: msp, Name: msp, SignKey: Public(c.Keys[msp])})
}

// Seal has devices seal with real seeds from now on, as the genesis says.
func (c *Consortium) Seal() { c.Params = c.ParamsOf(c.Epoch) }

// Params are an epoch's.
func (c *Consortium) ParamsOf(e record.Epoch) *he.Params {
	g := c.Genesis
	g.Members, g.Threshold, g.Profile = e.Members, e.Threshold, e.Profile
	return Must(he.ForNetwork(g))
}

// Open puts the consortium on an embedded ledger that is closed with the test, with a
// client for every organisation of the configuration.
func (c *Consortium) Open(dir string, change ...func(*embedded.Config)) {
	c.Helper()
	cfg := embedded.Config{
		Dir: dir, Channel: c.Genesis.Network, Roots: map[string][]byte{}, Chaincode: Must(chaincode.New(c.Details)),
	}
	for _, m := range c.Genesis.Members {
		cfg.Roots[m.MSP] = Authority(m.MSP).RootPEM()
	}
	for _, f := range change {
		f(&cfg)
	}
	l, err := embedded.Open(cfg)
	c.OK(err)
	c.Ledger = l
	c.Cleanup(func() { c.OK(l.Close()) })
	for msp := range cfg.Roots {
		c.Clients[msp] = l.Client(Identity(msp))
	}
}

// Begin records the genesis and starts the clock.
func (c *Consortium) Begin() {
	c.Helper()
	c.Must(c.Genesis.Members[0].MSP, contracts.RegistryInit, c.Genesis)
	c.Tick(c.Now)
}

// Tick moves ledger time: every member posts it.
func (c *Consortium) Tick(unix int64) {
	c.Helper()
	c.Now = unix
	for _, m := range c.Genesis.Members {
		c.Must(m.MSP, contracts.ClockTick, record.Tick{Time: unix})
	}
}

// OK ends the test where there is an error.
func (c *Consortium) OK(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// gateway is the organisation by which documents of patients and devices come.
func (c *Consortium) gateway() string {
	if len(c.Genesis.Gateways) > 0 {
		return c.Genesis.Gateways[0]
	}
	return c.Genesis.Members[len(c.Genesis.Members)-1].MSP
}

// Call puts a document into a call of a method, whether or not it is what that takes; as text
// where it is a string. What of it is private goes off-chain.
func (c *Consortium) Call(m contracts.Method, document any) network.Call {
	var call network.Call
	var err error
	switch d := document.(type) {
	case string:
		call.Args = []string{d}
	case consent.Signed:
		return c.Call(m, consent.Details{Signed: d, Salt: record.RandomID()})
	case consent.Details:
		call, err = contracts.ConsentPut.Call(contracts.Consent{Network: c.Genesis.Network, Details: d})
	case record.AskPredicate:
		call, err = contracts.PredicateRequest.Call(contracts.Question{
			Network: c.Genesis.Network, Question: record.Question{Ask: d, Salt: record.RandomID()},
		})
	case record.Attest:
		call, err = contracts.PredicateClose.Call(contracts.Outcome{Request: d.Request, Proof: append([]byte{}, d.Proof...)})
	default:
		call.Args = []string{string(Must(json.Marshal(document)))}
	}
	if err != nil {
		panic(err)
	}
	call.Function = m.Name()
	return call
}

// Submit makes a transaction as a client of an organisation, again where it lost a race, and
// reads its result into what is given.
func (c *Consortium) Submit(msp string, m contracts.Method, document any, out ...any) (network.Result, error) {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	res, err := network.SubmitRetry(ctx, c.Clients[msp], c.Call(m, c.signed(msp, document)))
	if err == nil {
		c.decode(res.Payload, out...)
	}
	return res, err
}

// Must makes a transaction that must succeed.
func (c *Consortium) Must(msp string, m contracts.Method, document any, out ...any) network.Result {
	c.Helper()
	res, err := c.Submit(msp, m, document, out...)
	if err != nil {
		c.Fatalf("%s calls %s: %v", msp, m.Name(), err)
	}
	return res
}

// Read evaluates a call and reads its result into out.
func (c *Consortium) Read(msp string, m contracts.Method, document, out any) {
	c.Helper()
	raw, err := c.Clients[msp].Evaluate(context.Background(), c.Call(m, document))
	if err != nil {
		c.Fatalf("%s reads %s: %v", msp, m.Name(), err)
	}
	c.decode(raw, out)
}

func (c *Consortium) decode(raw []byte, out ...any) {
	c.Helper()
	for _, o := range out {
		if o == nil {
			continue
		}
		if err := record.DecodeJSON(raw, 1<<20, o); err != nil {
			c.Fatalf("result %s: %v", raw, err)
		}
	}
}

// Refuses expects a fault with this code and these words, and that nothing is written.
func (c *Consortium) Refuses(code fault.Code, words, msp string, m contracts.Method, document any) {
	c.Helper()
	before := c.Ledger.Height()
	_, err := c.Submit(msp, m, document)
	if err == nil || fault.Of(err) != code || !strings.Contains(err.Error(), words) {
		c.Errorf("%s calls %s: %v, want %s with %q", msp, m.Name(), err, code, words)
	}
	if c.Ledger.Height() != before {
		c.Errorf("%s calls %s: refused and yet recorded", msp, m.Name())
	}
}

// Of is a consortium whose members were founded in another way, with the keys that they
// sign with; a test fills Clients.
func Of(t testing.TB, g record.Genesis, keys map[string]*ecdsa.PrivateKey) *Consortium {
	return &Consortium{
		TB: t, Genesis: g, Epoch: g.FirstEpoch(), Keys: keys, Clients: map[string]network.Client{}, Details: new(Details), Now: Start,
	}
}
