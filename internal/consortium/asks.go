package consortium

import (
	"encoding/json"
	"os"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Fixture is the proof and the verifying key that package zk keeps for tests.
type Fixture struct {
	Class        string `json:"class"`
	VerifyingKey []byte `json:"verifying_key"`
	Proof        []byte `json:"proof"`
}

// DayFixture reads the one of days for a package that is so many folders deep.
func DayFixture(up string) Fixture { return fixture(up, "day") }

// WeekFixture reads the one of weeks.
func WeekFixture(up string) Fixture { return fixture(up, "week") }

func fixture(up, class string) Fixture {
	var f Fixture
	if err := json.Unmarshal(Must(os.ReadFile(up+"/zk/verifier/testdata/"+class+".json")), &f); err != nil {
		panic(err)
	}
	return f
}

// Circuit is what a genesis says of the fixture's circuit.
func (f Fixture) Circuit() record.Circuit {
	return record.Circuit{Class: f.Class, VerifyingKey: f.VerifyingKey, Hash: record.SumID(f.VerifyingKey), Setup: "development"}
}

// Claims has a consent permit two claims on a day's heart rate besides statistics.
func Claims(d *consent.Document) {
	d.Operations = []string{consent.OpAggregate, consent.OpPredicate}
	d.Predicates, d.Claims = []consent.Terms{{Metric: "heart_rate", Days: 1, Limits: consent.Readings(31, 71)}}, 2
}

// Question asks for a claim, within Claims, on the patient's first day.
func (p *Patient) Question() record.AskPredicate {
	b := verifier.Unbounded()
	b.Lo, b.Hi, b.K, b.MinCount = 31, 71, 60, 60
	return record.AskPredicate{
		Patient: p.ID, Purpose: "HRESCH", Class: "day", Metric: "heart_rate", FirstDay: StartDay, Bounds: b, Nonce: record.RandomID(),
	}
}

// SignAsk signs a question as a member.
func (c *Consortium) SignAsk(msp string, a record.AskPredicate) record.AskPredicate {
	a.Signature = Sign(c.Keys[msp], a.Digest(c.Genesis.Network, msp))
	return a
}

// signed signs a question that is not signed yet, as its asker's program does.
func (c *Consortium) signed(msp string, document any) any {
	if a, ok := document.(record.AskPredicate); ok && a.Signature == nil && c.Keys[msp] != nil {
		return c.SignAsk(msp, a)
	}
	return document
}

// Ask makes a request for a claim as a member and returns what that sees of it.
func (c *Consortium) Ask(msp string, a record.AskPredicate) record.PredicateState {
	c.Helper()
	var e record.PredicateEntry
	c.Must(msp, contracts.PredicateRequest, a, &e)
	return c.Predicate(msp, e.ID)
}

// Predicate is a request for a claim as an organisation sees it.
func (c *Consortium) Predicate(msp, id string) record.PredicateState {
	c.Helper()
	var s record.PredicateState
	c.Read(msp, contracts.PredicateGet, id, &s)
	return s
}

// Report is a member's, that it has deleted so many seeds of devices of the patient.
func (p *Patient) Report(msp string, seeds int, devices ...record.ID) record.SignedErasureReport {
	return p.c.SignReport(record.ErasureReport{
		Patient: p.ID, Erasure: record.Erasure{Patient: p.ID}.Digest(p.c.Genesis.Network), Member: msp, Devices: devices, Seeds: seeds,
	})
}

// SignReport signs a report with the key of the member that it names.
func (c *Consortium) SignReport(r record.ErasureReport) record.SignedErasureReport {
	return record.SignedErasureReport{Report: r, Signature: Sign(c.Keys[r.Member], r.Digest(c.Genesis.Network))}
}

// Available is a member's signed post about the rows of a batch.
func (c *Consortium) Available(msp string, batch record.ID, count int, bitmap ...byte) record.SignedAvailable {
	post := record.AvailablePost{Batch: batch, Count: count, Bitmap: bitmap}
	return record.SignedAvailable{Post: post, Member: msp, Signature: Sign(c.Keys[msp], post.Digest(c.Genesis.Network))}
}
