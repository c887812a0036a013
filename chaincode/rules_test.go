package chaincode_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// A client that lost the answer sends the same document again: it gets the same
// answer, and nothing on the ledger changes.
func TestARepeatedCallReturnsWhatIsRecorded(t *testing.T) {
	w := newWorld(t)
	p := w.newPerson()
	d := p.newDevice(startHour, "heart_rate")
	w.repeats(gatewayMSP, "Registry:EnrolPatient", p.enrol)
	w.repeats(gatewayMSP, "Registry:EnrolDevice", d.enrol)
	doc := p.document(hospitalA)
	w.repeats(gatewayMSP, "Consent:Put", p.sign(doc))
	w.repeats(gatewayMSP, "Consent:Put", p.sign(p.next(doc, func(n *consent.Document) { n.Status = consent.StatusRevoked })))
	w.tick(start + 86400)
	w.study()
	w.repeats(hospitalB, "Study:Create", record.Study{
		ID: "resting", Title: "Of another owner", Purpose: "TREAT", Metrics: []string{"spo2", "heart_rate"},
		From: startHour, Until: startHour + 1, MinCohort: 20, Budget: 100,
	})
	q := w.query()
	w.repeats(hospitalA, "Query:PostCohort", record.PostCohort{Query: q.ID, Root: record.SumID(nil), Size: 11})
	w.must(hospitalB, "Query:PostCohort", record.PostCohort{Query: q.ID, Root: record.SumID(nil), Size: 11}, &q)
	w.repeats(hospitalA, "Query:PostRelease", w.release(q, hospitalA, hospitalB))
}

func (w *world) repeats(msp, function string, arg any) {
	w.Helper()
	first := w.must(msp, function, arg, nil)
	w.tick(w.now() + 1) // the answer does not depend on when it is asked again
	second := w.must(msp, function, arg, nil)
	if string(first.Payload) != string(second.Payload) {
		w.Errorf("%s answers %s and then %s", function, first.Payload, second.Payload)
	}
	for b, err := range w.clients[msp].Blocks(context.Background(), second.Block) {
		if err != nil {
			w.Fatal(err)
		}
		if writes := b.Txs[second.Index].Writes; len(writes) != 0 {
			w.Errorf("%s, repeated, wrote %q", function, writes[0].Key)
		}
		break
	}
}

func (w *world) now() int64 {
	w.Helper()
	var t record.Tick
	w.read(gatewayMSP, "Clock:Now", "{}", &t)
	return t.Time
}

func TestMembersAcknowledgeSeedsOnce(t *testing.T) {
	w := newWorld(t)
	p, q := w.enrolled(), w.enrolled()
	a, b := p.devices[0].id, q.devices[0].id
	var done state.Recorded
	w.must(hospitalA, "Registry:AcknowledgeSeeds", record.AcknowledgeSeeds{Devices: []record.ID{a, a}}, &done)
	if done.Recorded != 1 {
		t.Errorf("one device, named twice, recorded %d", done.Recorded)
	}
	w.must(hospitalA, "Registry:AcknowledgeSeeds", record.AcknowledgeSeeds{Devices: []record.ID{a, b}}, &done)
	if done.Recorded != 1 {
		t.Errorf("one known and one new device recorded %d", done.Recorded)
	}
}

func TestACohortIsDerivedAgainAfterARevocation(t *testing.T) {
	w := newWorld(t)
	w.tick(start + 86400)
	w.study()
	q := w.query()
	agree := func(attempt, size int, root record.ID) record.QueryState {
		for _, msp := range []string{hospitalA, hospitalB} {
			post := record.PostCohort{Query: q.ID, Attempt: attempt, Root: root, Size: size, Position: uint64(attempt)}
			w.must(msp, "Query:PostCohort", post, nil)
		}
		return w.getQuery(q.ID)
	}
	first, second := record.RandomID(), record.RandomID()
	if got := agree(0, 13, first); got.Attempt != 0 || got.Root != first || got.Status != record.QueryAgreed {
		t.Fatalf("first: %+v", got)
	}
	if got := agree(1, 12, second); got.Attempt != 1 || got.Root != second || got.Size != 12 {
		t.Fatalf("second: %+v", got)
	}
	// The third member is late with its post for the attempt that counts, which
	// changes nothing.
	w.must(association, "Query:PostCohort", record.PostCohort{Query: q.ID, Attempt: 1, Root: first, Size: 13}, nil)
	passed := record.PostCohort{Query: q.ID, Attempt: 0, Root: first, Size: 13}
	w.refuses(fault.Conflict, "attempt 1", association, "Query:PostCohort", passed)
	if got := agree(2, 10, record.RandomID()); got.Status != record.QueryRefused || got.Attempt != 2 {
		t.Fatalf("third: %+v", got)
	}
}

func TestExactQueriesCostNoBudget(t *testing.T) {
	w := newWorld(t)
	w.tick(start + 86400)
	w.study(func(s *record.Study) { s.Exact, s.Budget = true, 0 })
	ask := record.Ask{Study: "resting", Metric: "heart_rate", From: startHour, Until: startHour + 24}
	var q record.QueryState
	w.must(hospitalA, "Query:Ask", ask, &q)
	if !q.Exact || q.Purpose != "HRESCH" || q.MinCohort != 11 {
		t.Errorf("asked: %+v", q)
	}
}

func TestABudgetIsSpentToTheLastUnit(t *testing.T) {
	w := newWorld(t)
	w.tick(start + 86400)
	w.study(func(s *record.Study) { s.Budget = 1000 })
	ask := record.Ask{Study: "resting", Metric: "heart_rate", From: startHour, Until: startHour + 1, Rho: 700}
	w.must(hospitalA, "Query:Ask", ask, nil)
	ask.Rho = 301
	w.refuses(fault.Exhausted, "300 of 1000", hospitalA, "Query:Ask", ask)
	ask.Rho = 300
	w.must(hospitalA, "Query:Ask", ask, nil)
}

func TestAConsentThatHasExpiredIsNotRecorded(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	d := p.document(hospitalA)
	d.NotBefore, d.Expires = start-100, start
	w.refuses(fault.Expired, "expires", gatewayMSP, "Consent:Put", p.sign(d))
	d.Expires++
	w.must(gatewayMSP, "Consent:Put", p.sign(d), nil)
}

// Different parties write at the same time without retries: each has keys of its
// own.
func TestWhoWritesSomethingElseDoesNotConflict(t *testing.T) {
	w := newWorld(t)
	w.tick(start + 86400)
	a, b := w.enrolledAt(startHour+24), w.enrolledAt(startHour+24)
	w.tick(start + 2*86400)
	batch := w.anchor(a.devices[0].row(w, startHour+24)).Batch
	var calls []network.Call
	var by []string
	add := func(msp, function string, arg any) {
		by, calls = append(by, msp), append(calls, w.call(function, arg))
	}
	for i := range int64(4) {
		for _, p := range []*person{a, b} {
			add(gatewayMSP, "Pointer:Anchor", record.Anchor{Pointers: []record.SignedPointer{p.devices[0].row(w, startHour+25+i)}})
		}
	}
	for _, msp := range []string{hospitalA, hospitalB, association} {
		add(msp, "Registry:AcknowledgeSeeds", record.AcknowledgeSeeds{Devices: []record.ID{a.devices[0].id, b.devices[0].id}})
		add(msp, "Pointer:Available", record.Available{Posts: []record.SignedAvailable{w.availability(msp, batch, 1)}})
		add(gatewayMSP, "Consent:Put", w.enrolledAt(startHour+48).signs(hospitalA))
	}
	var group sync.WaitGroup
	for i, call := range calls {
		group.Go(func() {
			if _, err := w.clients[by[i]].Submit(context.Background(), call); err != nil {
				t.Errorf("%s: %v", call.Function, err)
			}
		})
	}
	group.Wait()
}

func (w *world) enrolledAt(hour int64) *person {
	w.Helper()
	p := w.newPerson()
	w.must(gatewayMSP, "Registry:EnrolPatient", p.enrol, nil)
	p.addDevice(hour, "heart_rate")
	return p
}

func (p *person) signs(grantee string) consent.Signed { return p.sign(p.document(grantee)) }

func TestTimeIsTheMedianOfTheMembersTicks(t *testing.T) {
	w := newWorld(t)
	for i, c := range []struct {
		msp        string
		tick, want int64
	}{
		{hospitalA, 10, 0}, {hospitalB, 5, 5}, {association, 7, 7}, {association, 30, 10}, {hospitalB, 20, 20},
	} {
		w.must(c.msp, "Clock:Tick", record.Tick{Time: start + c.tick}, nil)
		if now := w.now(); now != start+c.want {
			t.Errorf("step %d: it is %d, want %d", i, now-start, c.want)
		}
	}
}

func TestWallClockAcceptsTransactionsNearLedgerTime(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.Clock = record.ClockWall })
	for _, offset := range []int64{-250, 250} {
		w.tick(time.Now().Unix() + offset)
		w.must(gatewayMSP, "Registry:EnrolPatient", w.newPerson().enrol, nil)
	}
}

// Everything that is written can be read back by its key alone.
func TestEveryWriteHasAKeyAndADocument(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	w.must(hospitalA, "Registry:AcknowledgeSeeds", record.AcknowledgeSeeds{Devices: []record.ID{p.devices[0].id}}, nil)
	w.must(hospitalB, "Registry:PostPieceKey", w.pieceKey(w.genesis.FirstEpoch(), hospitalB, 0, 0), nil)
	batch := w.anchor(p.devices[0].row(w, startHour)).Batch
	w.must(hospitalA, "Pointer:Available", record.Available{Posts: []record.SignedAvailable{w.availability(hospitalA, batch, 1)}}, nil)
	w.study()
	q := w.query()
	w.must(hospitalA, "Query:PostCohort", record.PostCohort{Query: q.ID, Root: record.RandomID(), Size: 11}, nil)
	w.must(hospitalB, "Query:Abandon", record.Abandon{Query: q.ID, Reason: "x"}, nil)
	w.must(hospitalA, "Predicate:Request", p.question(), nil)
	w.must(gatewayMSP, changeKeys, p.recovery(record.NewRecoveryCode(), true, p.key), nil)
	w.must(hospitalA, "Registry:VoteQuarantine", vote(p.devices[0], false), nil)
	w.must(hospitalA, "Registry:FlagDevice", record.FlagDevice{Device: p.devices[0].id, Kind: record.FlagProof, Note: "x"}, nil)
	w.must(gatewayMSP, "Registry:Erase", p.erasure(), nil)
	w.must(hospitalA, "Registry:ReportErasure", w.report(hospitalA, p, 2), nil)
	first := w.genesis.FirstEpoch()
	w.begins(first, w.epoch(first, 2, hospitalA, association), hospitalA, association)
	w.must(hospitalA, "Registry:RetireEpoch", record.RetireEpoch{Epoch: 0}, nil)
	for _, m := range []string{hospitalA, association} {
		w.must(m, "Clock:Reset", record.ResetClock{Time: start - 1}, nil)
	}

	seen := map[state.Kind]bool{}
	last := w.ledger.Height()
	for b, err := range w.clients[hospitalA].Blocks(context.Background(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range b.Txs {
			for _, private := range tx.Private {
				if private.Collection != state.Collection || private.Available {
					t.Errorf("%s: a private value in %q outlived its patient", private.Key, private.Collection)
				}
			}
			for _, write := range tx.Writes {
				kind, _, err := state.ParseKey(write.Key)
				if err != nil {
					t.Error(err)
				}
				if !json.Valid(write.Value) {
					t.Errorf("%s holds %q", kind, write.Value)
				}
				seen[kind] = true
			}
		}
		if b.Number+1 >= last {
			break
		}
	}
	for _, kind := range state.Kinds() {
		if private := kind == state.KindConsentDetails || kind == state.KindQuestion; seen[kind] == private {
			t.Errorf("no write of kind %s was seen", kind)
		}
	}
}

func TestTextForPeopleIsPlain(t *testing.T) {
	w := newWorld(t)
	study := record.Study{
		ID: "s", Purpose: "HRESCH", Metrics: []string{"spo2"}, From: startHour, Until: startHour + 1, MinCohort: 11, Budget: 1,
	}
	for _, title := range []string{"", "a\nb", "a\u202eb", "a\u200bb", "a\x00", strings.Repeat("x", 101)} {
		study.Title = title
		w.refuses(fault.Invalid, "title", hospitalA, "Study:Create", study)
	}
	study.Title = "Schlafqualität – 睡眠 🙂"
	w.must(hospitalA, "Study:Create", study, nil)
}
