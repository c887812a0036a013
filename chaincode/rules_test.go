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
	"github.com/vitalveil/vitalveil/network/contracts"
)

// A client that lost the answer sends the same document again: it gets the same
// answer, and nothing on the ledger changes.
func TestARepeatedCallReturnsWhatIsRecorded(t *testing.T) {
	w := newWorld(t)
	p := w.newPerson()
	d := p.NewDevice(startHour, "heart_rate")
	w.repeats(gatewayMSP, contracts.RegistryEnrolPatient, p.Enrolment)
	w.repeats(gatewayMSP, contracts.RegistryEnrolDevice, d.Enrolment)
	doc := p.document(hospitalA)
	w.repeats(gatewayMSP, contracts.ConsentPut, p.Sign(doc))
	w.repeats(gatewayMSP, contracts.ConsentPut, p.Sign(p.Next(doc, func(n *consent.Document) { n.Status = consent.StatusRevoked })))
	w.Tick(start + 86400)
	w.study()
	w.repeats(hospitalB, contracts.StudyCreate, record.Study{
		ID: "resting", Title: "Of another owner", Purpose: "TREAT", Metrics: []string{"spo2", "heart_rate"},
		From: startHour, Until: startHour + 1, MinCohort: 20, Budget: 100,
	})
	q := w.query()
	w.repeats(hospitalA, contracts.QueryPostCohort, record.PostCohort{Query: q.ID, Root: record.SumID(nil), Size: 11})
	w.Must(hospitalB, contracts.QueryPostCohort, record.PostCohort{Query: q.ID, Root: record.SumID(nil), Size: 11}, &q)
	w.repeats(hospitalA, contracts.QueryPostRelease, w.release(q, hospitalA, hospitalB))
}

func (w *world) repeats(msp string, function contracts.Method, arg any) {
	w.Helper()
	first := w.Must(msp, function, arg)
	w.Tick(w.now() + 1) // the answer does not depend on when it is asked again
	second := w.Must(msp, function, arg)
	if string(first.Payload) != string(second.Payload) {
		w.Errorf("%s answers %s and then %s", function.Name(), first.Payload, second.Payload)
	}
	for b, err := range w.Clients[msp].Blocks(context.Background(), second.Block) {
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
	w.Read(gatewayMSP, contracts.ClockNow, "{}", &t)
	return t.Time
}

func TestMembersAcknowledgeSeedsOnce(t *testing.T) {
	w := newWorld(t)
	p, q := w.enrolled(), w.enrolled()
	a, b := p.Devices[0].ID, q.Devices[0].ID
	var done state.Recorded
	w.Must(hospitalA, contracts.RegistryAcknowledgeSeeds, record.AcknowledgeSeeds{Devices: []record.ID{a, a}}, &done)
	if done.Recorded != 1 {
		t.Errorf("one device, named twice, recorded %d", done.Recorded)
	}
	w.Must(hospitalA, contracts.RegistryAcknowledgeSeeds, record.AcknowledgeSeeds{Devices: []record.ID{a, b}}, &done)
	if done.Recorded != 1 {
		t.Errorf("one known and one new device recorded %d", done.Recorded)
	}
}

func TestACohortIsDerivedAgainAfterARevocation(t *testing.T) {
	w := newWorld(t)
	w.Tick(start + 86400)
	w.study()
	q := w.query()
	agree := func(attempt, size int, root record.ID) record.QueryState {
		for _, msp := range []string{hospitalA, hospitalB} {
			post := record.PostCohort{Query: q.ID, Attempt: attempt, Root: root, Size: size, Position: uint64(attempt)}
			w.Must(msp, contracts.QueryPostCohort, post)
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
	w.Must(association, contracts.QueryPostCohort, record.PostCohort{Query: q.ID, Attempt: 1, Root: first, Size: 13})
	passed := record.PostCohort{Query: q.ID, Attempt: 0, Root: first, Size: 13}
	w.Refuses(fault.Conflict, "attempt 1", association, contracts.QueryPostCohort, passed)
	if got := agree(2, 10, record.RandomID()); got.Status != record.QueryRefused || got.Attempt != 2 {
		t.Fatalf("third: %+v", got)
	}
}

func TestExactQueriesCostNoBudget(t *testing.T) {
	w := newWorld(t)
	w.Tick(start + 86400)
	w.study(func(s *record.Study) { s.Exact, s.Budget = true, 0 })
	ask := record.Ask{Study: "resting", Metric: "heart_rate", From: startHour, Until: startHour + 24}
	var q record.QueryState
	w.Must(hospitalA, contracts.QueryAsk, ask, &q)
	if !q.Exact || q.Purpose != "HRESCH" || q.MinCohort != 11 {
		t.Errorf("asked: %+v", q)
	}
}

func TestABudgetIsSpentToTheLastUnit(t *testing.T) {
	w := newWorld(t)
	w.Tick(start + 86400)
	w.study(func(s *record.Study) { s.Budget = 1000 })
	ask := record.Ask{Study: "resting", Metric: "heart_rate", From: startHour, Until: startHour + 1, Rho: 700}
	w.Must(hospitalA, contracts.QueryAsk, ask)
	ask.Rho = 301
	w.Refuses(fault.Exhausted, "300 of 1000", hospitalA, contracts.QueryAsk, ask)
	ask.Rho = 300
	w.Must(hospitalA, contracts.QueryAsk, ask)
}

func TestAConsentThatHasExpiredIsNotRecorded(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	d := p.document(hospitalA)
	d.NotBefore, d.Expires = start-100, start
	w.Refuses(fault.Expired, "expires", gatewayMSP, contracts.ConsentPut, p.Sign(d))
	d.Expires++
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(d))
}

// Different parties write at the same time without retries: each has keys of its
// own.
func TestWhoWritesSomethingElseDoesNotConflict(t *testing.T) {
	w := newWorld(t)
	w.Tick(start + 86400)
	a, b := w.enrolledAt(startHour+24), w.enrolledAt(startHour+24)
	w.Tick(start + 2*86400)
	batch := w.anchor(a.Devices[0].Row(startHour+24, 0)).Batch
	var calls []network.Call
	var by []string
	add := func(msp string, function contracts.Method, arg any) {
		by, calls = append(by, msp), append(calls, w.Call(function, arg))
	}
	for i := range int64(4) {
		for _, p := range []*person{a, b} {
			add(gatewayMSP, contracts.PointerAnchor, record.Anchor{Pointers: []record.SignedPointer{p.Devices[0].Row(startHour+25+i, 0)}})
		}
	}
	for _, msp := range []string{hospitalA, hospitalB, association} {
		add(msp, contracts.RegistryAcknowledgeSeeds, record.AcknowledgeSeeds{Devices: []record.ID{a.Devices[0].ID, b.Devices[0].ID}})
		add(msp, contracts.PointerAvailable, record.Available{Posts: []record.SignedAvailable{w.availability(msp, batch, 1)}})
		add(gatewayMSP, contracts.ConsentPut, w.enrolledAt(startHour+48).signs(hospitalA))
	}
	var group sync.WaitGroup
	for i, call := range calls {
		group.Go(func() {
			if _, err := w.Clients[by[i]].Submit(context.Background(), call); err != nil {
				t.Errorf("%s: %v", call.Function, err)
			}
		})
	}
	group.Wait()
}

func (w *world) enrolledAt(hour int64) *person {
	w.Helper()
	p := w.newPerson()
	w.Must(gatewayMSP, contracts.RegistryEnrolPatient, p.Enrolment)
	p.addDevice(hour, "heart_rate")
	return p
}

func (p *person) signs(grantee string) consent.Signed { return p.Sign(p.document(grantee)) }

func TestTimeIsTheMedianOfTheMembersTicks(t *testing.T) {
	w := newWorld(t)
	for i, c := range []struct {
		msp        string
		tick, want int64
	}{
		{hospitalA, 10, 0}, {hospitalB, 5, 5}, {association, 7, 7}, {association, 30, 10}, {hospitalB, 20, 20},
	} {
		w.Must(c.msp, contracts.ClockTick, record.Tick{Time: start + c.tick})
		if now := w.now(); now != start+c.want {
			t.Errorf("step %d: it is %d, want %d", i, now-start, c.want)
		}
	}
}

func TestWallClockAcceptsTransactionsNearLedgerTime(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.Clock = record.ClockWall })
	for _, offset := range []int64{-250, 250} {
		w.Tick(time.Now().Unix() + offset)
		w.Must(gatewayMSP, contracts.RegistryEnrolPatient, w.newPerson().Enrolment)
	}
}

// Everything that is written can be read back by its key alone.
func TestEveryWriteHasAKeyAndADocument(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	w.Must(hospitalA, contracts.RegistryAcknowledgeSeeds, record.AcknowledgeSeeds{Devices: []record.ID{p.Devices[0].ID}})
	w.Must(hospitalB, contracts.RegistryPostPieceKey, w.pieceKey(w.Genesis.FirstEpoch(), hospitalB, 0, 0))
	batch := w.anchor(p.Devices[0].Row(startHour, 0)).Batch
	w.Must(hospitalA, contracts.PointerAvailable, record.Available{Posts: []record.SignedAvailable{w.availability(hospitalA, batch, 1)}})
	w.study()
	q := w.query()
	w.Must(hospitalA, contracts.QueryPostCohort, record.PostCohort{Query: q.ID, Root: record.RandomID(), Size: 11})
	w.Must(hospitalB, contracts.QueryAbandon, record.Abandon{Query: q.ID, Reason: "x"})
	w.Must(hospitalA, contracts.PredicateRequest, p.Question())
	w.Must(gatewayMSP, changeKeys, p.recovery(record.NewRecoveryCode(), true, p.Key))
	w.Must(hospitalA, contracts.RegistryVoteQuarantine, vote(p.Devices[0], false))
	w.Must(hospitalA, contracts.RegistryFlagDevice, record.FlagDevice{Device: p.Devices[0].ID, Kind: record.FlagProof, Note: "x"})
	w.Must(gatewayMSP, contracts.RegistryErase, p.Erasure(p.Key))
	w.Must(hospitalA, contracts.RegistryReportErasure, w.report(hospitalA, p, 2))
	first := w.Genesis.FirstEpoch()
	w.begins(first, w.epoch(first, 2, hospitalA, association), hospitalA, association)
	w.Must(hospitalA, contracts.RegistryRetireEpoch, record.RetireEpoch{Epoch: 0})
	for _, m := range []string{hospitalA, association} {
		w.Must(m, contracts.ClockReset, record.ResetClock{Time: start - 1})
	}

	seen := map[state.Kind]bool{}
	last := w.Ledger.Height()
	for b, err := range w.Clients[hospitalA].Blocks(context.Background(), 0) {
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
		w.Refuses(fault.Invalid, "title", hospitalA, contracts.StudyCreate, study)
	}
	study.Title = "Schlafqualität – 睡眠 🙂"
	w.Must(hospitalA, contracts.StudyCreate, study)
}
