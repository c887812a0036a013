package index

import (
	"slices"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// abandon records that a query was given up after it had been asked.
func (l *ledger) abandon(id string) {
	for _, q := range l.queries {
		if q.ID == id {
			q.Status = record.QueryAbandoned
			l.tx(put(state.QueryKey(id), q))
		}
	}
}

// TestAttackWithheldSeeds: a device that gives one holder no seeds, or wrong ones,
// would make every cohort that it is in impossible to open. It is in none until all
// holders have acknowledged, however many rows it has and whoever vouches for these.
func TestAttackWithheldSeeds(t *testing.T) {
	l := newLedger()
	l.ready(2)
	l.patient()
	p := l.patients[len(l.patients)-1]
	d := l.device(p, day0, metric)
	l.consent(l.permit(p, members[0], hour0, hour0+100))
	l.rows(d.ID, hour0, hour0+48)
	var queries []string
	for _, m := range members {
		queries = append(queries, l.ask(members[0], hour0, hour0+24, 100))
		l.ack(d.ID, m)
	}
	after := l.ask(members[0], hour0, hour0+24, 100)
	l.cut()
	ix := apply(t, l.blocks)
	for acks, query := range queries {
		if got := size(t, ix, query); got != 2 {
			t.Errorf("with %d acknowledgements of %d the cohort has %d patients, want the other 2", acks, len(members), got)
		}
	}
	if got := size(t, ix, after); got != 3 {
		t.Errorf("with all acknowledgements the cohort has %d patients, want 3", got)
	}
}

// TestAttackAbandonAndAskAgain: a query that is given up after a share may have left
// stays charged to every patient in it, so that abandoning and asking again collects
// no noise beyond what the cap pays for.
func TestAttackAbandonAndAskAgain(t *testing.T) {
	l := newLedger()
	l.ready(2)
	var queries []string
	for range 5 {
		id := l.ask(members[0], hour0, hour0+24, 300)
		l.abandon(id)
		queries = append(queries, id)
	}
	l.cut()
	ix := apply(t, l.blocks)
	for i, id := range queries {
		want := 2
		if i >= 3 { // 3 x 300 of the 1,000 that the consents allow
			want = 0
		}
		if got := size(t, ix, id); got != want {
			t.Errorf("query %d after %d abandoned ones has %d patients, want %d", i, i, got, want)
		}
	}
}

// TestAttackExactAbandonAndAskAgain: the same without noise: hours that an abandoned
// exact query covered are not opened again, neither with nor without one patient.
func TestAttackExactAbandonAndAskAgain(t *testing.T) {
	l := newLedger()
	l.ready(3)
	first := l.ask(members[0], hour0, hour0+24, 0)
	l.abandon(first)
	second := l.ask(members[0], hour0, hour0+24, 0)
	other := l.ask(members[1], hour0, hour0+48, 0)
	l.cut()
	ix := apply(t, l.blocks)
	for id, want := range map[string]int{first: 3, second: 0, other: 0} {
		if got := size(t, ix, id); got != want {
			t.Errorf("query %s has %d patients, want %d", id[:8], got, want)
		}
	}
}

// TestAttackExactPastTheCap: a patient who permits no privacy loss, or noisy answers
// only, is in no exact query either.
func TestAttackExactPastTheCap(t *testing.T) {
	l := newLedger()
	l.ready(4)
	for i, change := range []func(*consent.Document){
		func(d *consent.Document) { d.CapMicro = 0 },
		func(d *consent.Document) { d.Exact = false },
	} {
		d := l.consents[2*i] // for the first institution
		d.Version++
		change(&d)
		l.consent(d)
	}
	exact := l.ask(members[0], hour0, hour0+24, 0)
	noisy := l.ask(members[0], hour0, hour0+24, 100)
	l.cut()
	ix := apply(t, l.blocks)
	for id, want := range map[string]int{exact: 2, noisy: 3} {
		if got := size(t, ix, id); got != want {
			t.Errorf("a query has %d patients, want %d", got, want)
		}
	}
	for i, patient := range l.patients {
		seen := map[bool]int{}
		entries, err := ix.History(patient)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Query != nil {
				seen[e.Query.Unprotected]++
			}
		}
		if seen[true] != i/2 || seen[false] != min(i, 1) {
			t.Errorf("the history of patient %d has %d unprotected queries and %d others", i, seen[true], seen[false])
		}
	}
}

// TestAttackOneInstitutionUsesUpTheOthersCap: what one institution's questions cost
// a patient leaves the other its part, whatever the consent for the first allows,
// unless that says otherwise.
func TestAttackOneInstitutionUsesUpTheOthersCap(t *testing.T) {
	for _, beyond := range []bool{false, true} {
		l := newLedger()
		l.ready(3)
		for _, d := range slices.Clone(l.consents) {
			d.Version, d.BeyondShare = d.Version+1, beyond && d.Grantee == members[0]
			l.consent(d)
		}
		var queries []string
		for range 3 { // the network's cap is 1,000, and three institutions share it
			queries = append(queries, l.ask(members[0], hour0, hour0+24, 250))
		}
		other := l.ask(members[1], hour0, hour0+24, 300)
		l.cut()
		ix := apply(t, l.blocks)
		want := map[bool][]int{false: {3, 0, 0, 3}, true: {3, 3, 3, 0}}[beyond]
		for i, id := range append(queries, other) {
			if got := size(t, ix, id); got != want[i] {
				t.Errorf("beyond its share %v: query %d has %d patients, want %d", beyond, i, got, want[i])
			}
		}
	}
}

// TestAttackExactCohortOfThoseWhoHaveHardlyBegun: in an exact query nobody counts with a
// few hours of rows, whether there are no more, or the consent allows no more. With
// privacy noise everybody does.
func TestAttackExactCohortOfThoseWhoHaveHardlyBegun(t *testing.T) {
	l := newLedger()
	l.ready(1) // with 48 hours
	for _, c := range []struct{ rows, allowed int64 }{{1, 100}, {privacy.ExactHours - 1, 100}, {privacy.ExactHours, 100}, {48, 2}} {
		l.patient()
		p := l.patients[len(l.patients)-1]
		d := l.device(p, day0, metric)
		for _, m := range members {
			l.ack(d.ID, m)
		}
		l.rows(d.ID, hour0, hour0+c.rows)
		l.consent(l.permit(p, members[0], hour0, hour0+c.allowed))
	}
	noisy := l.ask(members[0], hour0, hour0+24, 100)
	exact := l.ask(members[0], hour0, hour0+24, 0)
	l.cut()
	ix := apply(t, l.blocks)
	for id, want := range map[string]int{noisy: 5, exact: 2} {
		if got := size(t, ix, id); got != want {
			t.Errorf("query %s has %d patients, want %d", id[:8], got, want)
		}
	}
}

// TestAttackReleaseThatRestsOnNobodysWord: that a query was released, on which shares, and
// that other holders confirm them, is taken from what the asker submitted and members have
// signed. A ledger that writes it without these is not believed; nor is a failure that the
// asker has not called.
func TestAttackReleaseThatRestsOnNobodysWord(t *testing.T) {
	l := newLedger()
	l.ready(3)
	l.ask(members[0], hour0, hour0+24, 100)
	q := l.agree(members[1], members[2])
	made := q
	made.Status, made.Release, made.Standing = record.QueryReleased, record.RandomID(), record.StandingFinal
	for range 3 {
		made.Shares = append(made.Shares, record.ReleasedShare{Hash: record.RandomID(), By: members[:2]})
	}
	failed := q
	failed.Status = record.QueryFailed
	unsigned := record.PostRelease{Query: q.ID, Hash: made.Release}
	for _, m := range members {
		unsigned.Shares = append(unsigned.Shares, record.SignedShares{Statement: record.ShareStatement{Member: m, Query: q.ID}})
	}
	l.tx(put(state.QueryKey(q.ID), made))
	l.call(members[0], contracts.QueryPostRelease, unsigned, put(state.QueryKey(q.ID), made))
	l.call(members[1], contracts.QueryFail, record.FailQuery{Query: q.ID}, put(state.QueryKey(q.ID), failed))
	l.tx(put(state.AbandonKey(q.ID, members[1]), record.AbandonVote{Vote: record.Abandon{Query: q.ID}, Member: members[1]}))
	l.cut()
	ix := apply(t, l.blocks)
	got, err := ix.Query(q.ID)
	if n, _ := ix.Refused(0); err != nil || got.Status != record.QueryAgreed || !got.Release.IsZero() || len(got.Shares) > 0 || n != 4 {
		t.Errorf("the query is %+v (%v), %d writes were refused", got, err, n)
	}
	if len(ix.Stops(q.ID)) > 0 {
		t.Error("a vote counts that its member has not cast")
	}
	l.call(members[0], contracts.QueryFail, record.FailQuery{Query: q.ID}, put(state.QueryKey(q.ID), failed))
	l.cut()
	if got, _ := apply(t, l.blocks).Query(q.ID); got.Status != record.QueryFailed {
		t.Errorf("the asker has called it failed, and it is %s", got.Status)
	}
}
