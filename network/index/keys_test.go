package index

import (
	"slices"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
)

func TestAttackShareAfterRevokingEverything(t *testing.T) {
	l := newLedger()
	devices := l.ready(3)
	under := l.ask(members[0], hour0, hour0+24, 0)
	before := l.ask(members[1], hour0+24, hour0+48, 100)
	l.changeKeys(l.patients[0], true)
	after := l.ask(members[0], hour0+24, hour0+48, 100)
	l.cut()
	ix := apply(t, l.blocks)
	for query, want := range map[string]int{under: 3, before: 3, after: 2} {
		if got := size(t, ix, query); got != want {
			t.Errorf("a query has %d patients, want %d", got, want)
		}
	}
	for _, query := range []string{under, before} { // no share after that block
		block, gone, err := ix.Stale(query, 0)
		if err != nil || block != ix.Height()-1 || !slices.Equal(gone, []record.ID{devices[0].ID}) {
			t.Errorf("stale at %d for %v (%v)", block, gone, err)
		}
		if next, err := ix.Cohort(query, 1); err != nil || next.Size != 2 {
			t.Errorf("the next attempt has %d patients (%v), want 2", next.Size, err)
		}
	}
	now, err := ix.Eligible(members[1], purpose, false, record.Ask{Metric: metric, From: hour0, Until: hour0 + 48})
	if err != nil || now.Size != 2 {
		t.Errorf("%d patients are eligible (%v), want 2", now.Size, err)
	}
}

func TestWhatIsPermittedAfterRevokingEverythingCounts(t *testing.T) {
	l := newLedger()
	l.ready(1)
	denial := l.permit(l.patients[0], members[1], hour0, hour0+100)
	denial.Effect, denial.Exact, denial.BeyondShare = consent.EffectDeny, false, false
	l.consent(denial)
	l.changeKeys(l.patients[0], true)
	for _, m := range members {
		l.tick(m, l.now+state.CoolingOff)
	}
	l.consent(l.permit(l.patients[0], members[0], hour0, hour0+100))
	l.consent(l.permit(l.patients[0], members[1], hour0, hour0+100))
	l.changeKeys(l.patients[0], false)
	again := l.ask(members[0], hour0, hour0+24, 0)
	denied := l.ask(members[1], hour0, hour0+24, 0)
	l.cut()
	ix := apply(t, l.blocks)
	if a, b := size(t, ix, again), size(t, ix, denied); a != 1 || b != 0 {
		t.Errorf("%d patients where it was permitted again and %d where it was denied before, want 1 and 0", a, b)
	}
}

func TestHistoryShowsChangesOfKeys(t *testing.T) {
	l := newLedger()
	l.ready(1)
	l.changeKeys(l.patients[0], false)
	l.recover(l.patients[0], true)
	l.cut()
	history, err := apply(t, l.blocks).History(l.patients[0])
	if err != nil || len(history) != 4 {
		t.Fatalf("history has %d entries (%v), want two consents and two changes", len(history), err)
	}
	first, second := history[2], history[3]
	if first.Kind != EntryKeys || first.Keys.Recovered || first.Keys.Signed.Change.RevokeAll {
		t.Errorf("the first change: %+v", first.Keys)
	}
	if second.Kind != EntryKeys || !second.Keys.Recovered || !second.Keys.Signed.Change.RevokeAll {
		t.Errorf("the second change: %+v", second.Keys)
	}
}
