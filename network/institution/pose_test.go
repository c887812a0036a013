package institution

import (
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// opened waits for the answer to a query that nobody waits for otherwise.
func (w *world) opened(in *Institution, id string) *Answer {
	w.Helper()
	var a *Answer
	w.wait("the answer to "+id, func() bool {
		var err error
		a, err = in.Opened(id)
		return err == nil
	})
	return a
}

func TestAQuestionIsPosedOnceForAKeyAndAnsweredWithoutAnybodyWaiting(t *testing.T) {
	w := settledWorld(t, 11)
	w.study("noisy", false)
	in := w.members[hospitalA].Institution
	key := record.RandomID()
	q, err := in.Pose(t.Context(), key, ask("exact", 0))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := in.Pose(t.Context(), key, ask("exact", 0)); err != nil || again.ID != q.ID {
		t.Errorf("the same key again: query %s, %v", again.ID, err)
	}
	_, err = in.Pose(t.Context(), key, ask("noisy", 100_000))
	wantFault(t, fault.Conflict, err)
	first := w.opened(in, q.ID)
	w.want(first, w.truth)
	w.wait("the end is among its progress", func() bool { // once this member has read its own release
		p, _, err := in.Progress(q.ID)
		return err == nil && p.Opened && len(p.Cohorts) > 1
	})

	w.down(hospitalA)
	in = w.up(hospitalA)
	w.wait("the ledger is read", func() bool { _, err := in.Index().Query(q.ID); return err == nil })
	if a, err := in.Opened(q.ID); err != nil || a.Hash != first.Hash {
		t.Errorf("after a restart the answer is %v, %v", a, err)
	}
	if again, err := in.Pose(t.Context(), key, ask("exact", 0)); err != nil || again.ID != q.ID {
		t.Errorf("the same key after a restart: query %s, %v", again.ID, err)
	}
	if got, err := in.Index().AskedSince(msps[hospitalA], 0), error(nil); err != nil || len(got) != 1 {
		t.Errorf("%d queries were made", len(got))
	}
}

func TestAKeyWhoseProcessDiedFindsItsQueryOnTheLedgerOrAsksOnceItIsCertain(t *testing.T) {
	w := settledWorld(t, 11)
	w.study("noisy", false)
	in := w.members[hospitalA].Institution
	left := func(at time.Time, height uint64, rho uint64) record.ID {
		key := record.RandomID()
		p := posed{Ask: ask("noisy", rho), Height: height, At: at.Unix()}
		w.OK(in.poser.write(store.Posed(key), p))
		return key
	}
	height := in.Index().Height()
	made := w.submit(hospitalA, contracts.QueryAsk, ask("noisy", 100_000))
	lost := left(time.Now(), height, 100_000) // the process died before it heard of the transaction
	w.wait("the query is read", func() bool { _, err := in.Index().Query(made.TxID); return err == nil })
	q, err := in.Pose(t.Context(), lost, ask("noisy", 100_000))
	if err != nil || q.ID != made.TxID {
		t.Errorf("found query %s, want %s: %v", q.ID, made.TxID, err)
	}
	w.opened(in, made.TxID)

	// The same question is under another key already: that is not this one's query.
	_, err = in.Pose(t.Context(), left(time.Now(), height, 100_000), ask("noisy", 100_000))
	wantFault(t, fault.Unavailable, err)
	q, err = in.Pose(t.Context(), left(time.Now().Add(-2*settleTime), height, 100_000), ask("noisy", 100_000))
	if err != nil || q.ID == made.TxID {
		t.Errorf("a question that never left was answered by query %s: %v", q.ID, err)
	}

	// One that nobody poses again is found when the process starts.
	height = in.Index().Height()
	made = w.submit(hospitalA, contracts.QueryAsk, ask("noisy", 200_000))
	left(time.Now(), height, 200_000)
	w.down(hospitalA)
	w.opened(w.up(hospitalA), made.TxID)
}

func TestWhoIsEligibleIsAsOfMidnight(t *testing.T) {
	w := newWorld(t)
	w.enrol(12)
	w.measure() // the clock stands at the next midnight
	w.Tick((firstHour + dayHours + 1) * 3600)
	w.study("noisy", false)
	in := w.members[hospitalA].Institution
	eligible := func() int {
		t.Helper()
		n, at, err := in.Index().EligibleAtMidnight(msps[hospitalA], "HRESCH", false, ask("noisy", 1))
		if err != nil || at != (firstHour+dayHours)*3600 && at != (firstHour+2*dayHours)*3600 {
			t.Fatalf("as of %d: %v", at, err)
		}
		return n
	}
	read := func(block uint64) {
		w.wait("block read", func() bool { return in.Index().Height() > block })
	}
	if n := eligible(); n != 12 {
		t.Errorf("%d eligible, want 12", n)
	}
	read(w.revoke(w.patients[0]).Block)
	if n := eligible(); n != 12 {
		t.Errorf("%d eligible: whoever looks twice in a day sees somebody stop", n)
	}
	w.Tick((firstHour + 2*dayHours) * 3600)
	w.wait("the next day", func() bool { return in.Index().Time() == (firstHour+2*dayHours)*3600 })
	if n := eligible(); n != 11 {
		t.Errorf("%d eligible on the day after, want 11", n)
	}
}
