package chaincode_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// agreed asks a query in the study "resting", on whose cohort the members agree.
func (w *world) agreed() record.QueryState {
	w.Helper()
	q := w.query()
	post := record.PostCohort{Query: q.ID, Root: record.RandomID(), Size: 12}
	w.Must(hospitalA, contracts.QueryPostCohort, post)
	w.Must(hospitalB, contracts.QueryPostCohort, post, &q)
	return q
}

// asking is a network in which the study "resting" may ask about the first day.
func asking(t testing.TB, change ...func(*record.Genesis)) *world {
	t.Helper()
	w := newWorld(t, change...)
	w.Tick(start + 86400)
	w.study(func(s *record.Study) { s.Budget = 5_000_000 })
	return w
}

// held are the pieces of each member, of 2 of 3.
var held = map[string][]int{hospitalA: {1, 2}, hospitalB: {0, 2}, association: {0, 1}}

// shareHash stands for the hash of a piece's share.
func shareHash(piece int) record.ID { return record.SumID([]byte{byte(piece)}) }

// states is a member's signed statement about its shares; change may alter it before
// it is signed.
func (w *world) states(msp string, q record.QueryState, change ...func(*record.ShareStatement)) record.SignedShares {
	w.Helper()
	s := record.SignedShares{Statement: record.ShareStatement{Member: msp, Query: q.ID, Attempt: q.Attempt, Root: q.Root, Block: 7}}
	for _, piece := range held[msp] {
		s.Statement.Pieces = append(s.Statement.Pieces, record.StatedPiece{Piece: piece, Hash: shareHash(piece)})
	}
	for _, f := range change {
		f(&s.Statement)
	}
	var err error
	if s.Signature, err = record.Sign(w.Keys[msp], s.Statement.Digest(w.Genesis.Network)); err != nil {
		w.Fatal(err)
	}
	return s
}

// release is a release that the named members' shares opened.
func (w *world) release(q record.QueryState, members ...string) record.PostRelease {
	p := record.PostRelease{Query: q.ID, Hash: record.SumID([]byte("answer"))}
	for _, m := range members {
		p.Shares = append(p.Shares, w.states(m, q))
	}
	return p
}

// TestAReleaseIsFinalOnceEveryShareHasASecondHolder: until then it is preliminary, and
// the holder who was away makes it final.
func TestAReleaseIsFinalOnceEveryShareHasASecondHolder(t *testing.T) {
	w := asking(t)
	q := w.agreed()
	w.Must(hospitalA, contracts.QueryPostRelease, w.release(q, hospitalA, hospitalB), &q)
	if q.Standing != record.StandingPreliminary || !slices.Equal(q.Shares[0].By, []string{hospitalB}) || q.Stated(association) {
		t.Fatalf("piece 0 is of one member alone: %+v", q)
	}
	w.Must(association, contracts.QueryConfirmShares, w.states(association, q), &q)
	if q.Standing != record.StandingFinal || !slices.Equal(q.Shares[0].By, []string{hospitalB, association}) {
		t.Fatalf("both holders stand behind piece 0: %+v", q)
	}
	w.repeats(association, contracts.QueryConfirmShares, w.states(association, q))

	q = w.agreed()
	w.Must(hospitalA, contracts.QueryPostRelease, w.release(q, hospitalB, association, hospitalA), &q)
	if q.Standing != record.StandingFinal {
		t.Errorf("all members gave shares: %+v", q)
	}
	// The asker needs nobody's word for what it computed itself, and anybody may pass a
	// statement on.
	q = w.agreed()
	w.Must(hospitalA, contracts.QueryPostRelease, w.release(q, hospitalA, association), &q)
	if q.Standing != record.StandingPreliminary {
		t.Errorf("piece 0 is of the association alone: %+v", q)
	}
	w.Must(hospitalA, contracts.QueryConfirmShares, w.states(hospitalB, q), &q)
	if q.Standing != record.StandingFinal {
		t.Errorf("hospital B has confirmed: %+v", q)
	}
}

func TestAHolderDisputesARelease(t *testing.T) {
	w := asking(t)
	q := w.agreed()
	w.Must(hospitalA, contracts.QueryPostRelease, w.release(q, hospitalA, hospitalB))
	other := w.states(association, q, func(s *record.ShareStatement) { s.Pieces[0].Hash = record.RandomID() })
	w.Must(association, contracts.QueryConfirmShares, other, &q)
	if q.Standing != record.StandingDisputed || !slices.Equal(q.Shares[0].Against, []string{association}) || len(q.Shares[1].Against) > 0 {
		t.Fatalf("the association has another share of piece 0: %+v", q)
	}
	w.Must(association, contracts.QueryConfirmShares, w.states(association, q), &q)
	if q.Standing != record.StandingDisputed {
		t.Error("a member took back what it had signed")
	}
}

// TestAttackReleaseWithSharesThatNobodySigned: what a release says of its shares is
// signed by those who hold them, for this query and cohort.
func TestAttackReleaseWithSharesThatNobodySigned(t *testing.T) {
	w := asking(t)
	q, other := w.agreed(), w.agreed()
	good := w.release(q, hospitalA, hospitalB)
	forged := w.states(hospitalB, q)
	forged.Statement.Pieces[0].Hash = record.RandomID()
	stolen := w.states(hospitalB, q, func(s *record.ShareStatement) { s.Member = association })
	stolen.Statement.Member = hospitalB
	for name, c := range map[string]struct {
		code   fault.Code
		words  string
		shares []record.SignedShares
	}{
		"none":               {fault.Invalid, "piece 0", nil},
		"the asker's alone":  {fault.Invalid, "piece 0", good.Shares[:1]},
		"altered":            {fault.BadSignature, hospitalB, []record.SignedShares{good.Shares[0], forged}},
		"under another name": {fault.BadSignature, hospitalB, []record.SignedShares{good.Shares[0], stolen}},
		"of another query":   {fault.Invalid, "another query", []record.SignedShares{good.Shares[0], w.states(hospitalB, other)}},
		"of another cohort":  {fault.Invalid, "cohort", []record.SignedShares{good.Shares[0], w.states(hospitalB, q, func(s *record.ShareStatement) { s.Root = record.RandomID() })}},
		"twice":              {fault.Invalid, "twice", append(slices.Clone(good.Shares), good.Shares[0])},
		"of pieces not held": {fault.Invalid, "holds pieces", []record.SignedShares{good.Shares[0], w.states(hospitalB, q, func(s *record.ShareStatement) { s.Pieces[0].Piece = 1 })}},
		"of too few pieces":  {fault.Invalid, "holds pieces", []record.SignedShares{good.Shares[0], w.states(hospitalB, q, func(s *record.ShareStatement) { s.Pieces = s.Pieces[:1] })}},
		"of members that differ": {fault.Conflict, "different", append(slices.Clone(good.Shares), w.states(association, q, func(s *record.ShareStatement) {
			s.Pieces[0].Hash = record.RandomID()
		}))},
		"of a stranger": {fault.Invalid, "not a member", []record.SignedShares{{Statement: record.ShareStatement{Member: outsider, Query: q.ID, Root: q.Root}}}},
		"many":          {fault.Invalid, "at most 3", slices.Repeat(good.Shares, 2)},
	} {
		t.Log(name)
		w.Refuses(c.code, c.words, hospitalA, contracts.QueryPostRelease, record.PostRelease{Query: q.ID, Hash: good.Hash, Shares: c.shares})
	}
	w.Refuses(fault.Conflict, "agreed", association, contracts.QueryConfirmShares, w.states(association, q))
	w.Must(hospitalA, contracts.QueryPostRelease, good)
	w.Refuses(fault.BadSignature, hospitalB, hospitalA, contracts.QueryConfirmShares, forged)
}

// TestAttackOneMemberAbandonsTheOthersQueries: it can vote and no more. The asker ends
// its own query, and as many members as the threshold end anybody's.
func TestAttackOneMemberAbandonsTheOthersQueries(t *testing.T) {
	w := asking(t)
	for range 3 {
		q := w.agreed()
		stop := record.Abandon{Query: q.ID, Reason: "no"}
		w.Must(hospitalB, contracts.QueryAbandon, stop, &q)
		w.Must(hospitalB, contracts.QueryAbandon, stop, &q)
		if got := w.getQuery(q.ID); got.Status != record.QueryAgreed {
			t.Fatalf("one member made a query of another %s", got.Status)
		}
		w.Must(hospitalA, contracts.QueryPostRelease, w.release(q, hospitalA, hospitalB))
		w.Refuses(fault.Conflict, "released", hospitalB, contracts.QueryAbandon, stop)
	}
	q := w.agreed()
	stop := record.Abandon{Query: q.ID, Reason: "a patient revoked"}
	w.Must(association, contracts.QueryAbandon, stop)
	w.Must(hospitalB, contracts.QueryAbandon, stop, &q)
	if q.Status != record.QueryAbandoned || q.Reason != stop.Reason {
		t.Errorf("two of three want it abandoned: %+v", q)
	}
	w.Must(association, contracts.QueryAbandon, stop)
	q = w.query()
	w.Must(hospitalA, contracts.QueryAbandon, record.Abandon{Query: q.ID, Reason: "a mistake"}, &q)
	if q.Status != record.QueryAbandoned {
		t.Errorf("its asker wants it abandoned: %+v", q)
	}
}

// TestAttackQueriesWithoutEnd: a member asks so many a day and no more, at once or one
// after the other, whatever studies it makes; exact ones, which have no budget, too.
// The next day it may go on, and others may all the time.
func TestAttackQueriesWithoutEnd(t *testing.T) {
	const most = 5
	w := asking(t, func(g *record.Genesis) { g.DailyAsks = most })
	w.study(func(s *record.Study) { s.ID, s.Exact, s.Budget = "exact", true, 0 })
	exact := record.Ask{Study: "exact", Metric: "heart_rate", From: startHour, Until: startHour + 24}
	w.query()
	var group sync.WaitGroup
	var mu sync.Mutex
	var asked, exhausted int
	for range 2 * most {
		group.Go(func() {
			_, err := w.Submit(hospitalA, contracts.QueryAsk, exact, nil)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				asked++
			case errors.Is(err, &fault.Error{Code: fault.Exhausted}):
				exhausted++
			default:
				t.Error(err)
			}
		})
	}
	group.Wait()
	if asked != most-1 || exhausted != most+1 {
		t.Errorf("%d of %d more queries were taken", asked, 2*most)
	}
	w.Refuses(fault.Exhausted, "5 queries", hospitalA, contracts.QueryAsk, record.Ask{Study: "resting", Metric: "heart_rate", From: startHour, Until: startHour + 24, Rho: 500_000})
	w.Must(hospitalB, contracts.StudyCreate, record.Study{
		ID: "other", Title: "Another's", Purpose: "HRESCH", Metrics: []string{"heart_rate"}, From: startHour, Until: startHour + 24, MinCohort: 11, Exact: true,
	}, nil)
	exact.Study = "other"
	w.Must(hospitalB, contracts.QueryAsk, exact)
	w.Tick(start + 2*86400)
	exact.Study = "exact"
	w.Must(hospitalA, contracts.QueryAsk, exact)

	w = newWorld(t)
	if n := w.Genesis.AsksPerDay(); n != record.DefaultDailyAsks {
		t.Errorf("a network that says nothing allows %d", n)
	}
	g := w.Genesis
	for _, n := range []int{-1, 10_001} {
		g.DailyAsks = n
		emptyWorld(t).Refuses(fault.Invalid, "daily_asks", hospitalA, contracts.RegistryInit, g)
	}
}

// TestAttackExactQueryOfOneHour: an exact query is about whole days (UTC), so that the
// one hour in which one patient has readings cannot be asked.
func TestAttackExactQueryOfOneHour(t *testing.T) {
	w := asking(t)
	w.study(func(s *record.Study) { s.ID, s.Exact, s.Budget = "exact", true, 0; s.From -= 48 })
	ask := record.Ask{Study: "exact", Metric: "heart_rate"}
	for _, span := range [][2]int64{{0, 1}, {0, 23}, {1, 24}, {-1, 23}, {-24, -1}, {12, 13}} {
		ask.From, ask.Until = startHour+span[0], startHour+span[1]
		w.Refuses(fault.Invalid, "whole days", hospitalA, contracts.QueryAsk, ask)
	}
	ask.From, ask.Until = startHour-24, startHour+24
	w.Must(hospitalA, contracts.QueryAsk, ask)
}

// TestAFailedQueryIsOver: its asker alone says so, of one that was agreed, while it
// lives; nothing comes after it, and what was debited stays.
func TestAFailedQueryIsOver(t *testing.T) {
	w := asking(t)
	q := w.query()
	w.Refuses(fault.Conflict, "asked", hospitalA, contracts.QueryFail, record.FailQuery{Query: q.ID})
	q = w.agreed()
	fail := record.FailQuery{Query: q.ID}
	w.Refuses(fault.Forbidden, hospitalA, hospitalB, contracts.QueryFail, fail)
	w.Must(hospitalA, contracts.QueryFail, fail, &q)
	if q.Status != record.QueryFailed || q.Reason == "" {
		t.Fatalf("failed: %+v", q)
	}
	w.repeats(hospitalA, contracts.QueryFail, fail)
	w.Refuses(fault.Conflict, "failed", hospitalA, contracts.QueryPostRelease, w.release(q, hospitalA, hospitalB))
	w.Refuses(fault.Conflict, "failed", hospitalB, contracts.QueryPostCohort, record.PostCohort{Query: q.ID, Attempt: 1, Root: record.RandomID(), Size: 11})
	w.Refuses(fault.Conflict, "failed", hospitalA, contracts.QueryAbandon, record.Abandon{Query: q.ID, Reason: "no"})
	var s record.StudyState
	w.Read(hospitalB, contracts.StudyGet, state.StudyRef{Owner: hospitalA, ID: "resting"}, &s)
	if s.Spent != 1_000_000 {
		t.Errorf("the study has spent %d", s.Spent)
	}
	late := w.agreed()
	w.Tick(late.Expires)
	w.Refuses(fault.Expired, "expired", hospitalA, contracts.QueryFail, record.FailQuery{Query: late.ID})
}
