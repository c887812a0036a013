package institution

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

func TestExactQueryGivesTheSumsOfTheReadings(t *testing.T) {
	w := newWorld(t)
	w.enrol(12)
	w.measure()
	w.study("exact", true)
	a, err := w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	if err != nil {
		t.Fatal(err)
	}
	if a.Cohort != 12 || a.Rows != 12*rowHours-1 || len(a.Missing) > 0 {
		t.Errorf("cohort of %d with %d rows, missing %v", a.Cohort, a.Rows, a.Missing)
	}
	w.want(a, w.truth)
	q, err := w.members[hospitalB].Index().Query(a.QueryID)
	w.wait("release on the ledger", func() bool {
		q, err = w.members[hospitalB].Index().Query(a.QueryID)
		return err == nil && q.Status == record.QueryReleased
	})
	if q.Release != a.Document().Digest(networkName) {
		t.Error("the release on the ledger is not the answer's")
	}
	t.Logf("%+v", a.Timing)
}

func TestAnswerCanBeFetchedAgain(t *testing.T) { bothUnits(t, 11, answerCanBeFetchedAgain) }

func answerCanBeFetchedAgain(t *testing.T, w *world) {
	a, err := w.members[hospitalA].Ask(t.Context(), w.ask("exact", 0))
	if err != nil {
		t.Fatal(err)
	}
	w.down(hospitalA)
	in := w.up(hospitalA)
	again, err := in.Fetch(t.Context(), a.QueryID)
	if err != nil {
		t.Fatal(err)
	}
	if again.Hash != a.Hash {
		t.Error("the same query has another release")
	}
}

func TestCohortBelowTheMinimumIsRefused(t *testing.T) {
	w := newWorld(t)
	w.enrol(10)
	w.measure()
	w.study("exact", true)
	_, err := w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	wantFault(t, fault.TooFew, err)
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Size != 10 || refusal.Minimum != 11 {
		t.Errorf("refusal %+v", refusal)
	}
}

func TestNoisyQueryIsNearTheReadingsAndCostsTheCap(t *testing.T) {
	w := newWorld(t)
	w.enrol(12)
	w.measure()
	w.study("noisy", false)
	for i := range 3 {
		a, err := w.members[hospitalA].Ask(t.Context(), ask("noisy", 900_000))
		if err != nil {
			t.Fatal(err)
		}
		r := a.Release
		if r.Exact || r.NSD <= 0 || math.Abs(float64(r.N-w.truth.N)) > 6*r.NSD {
			t.Errorf("query %d: n = %d with a deviation of %g, the readings have %d", i, r.N, r.NSD, w.truth.N)
		}
	}
	// Each patient has lost 2.7 of 3.
	_, err := w.members[hospitalA].Ask(t.Context(), ask("noisy", 900_000))
	wantFault(t, fault.TooFew, err)
	a, err := w.members[hospitalA].Ask(t.Context(), ask("noisy", 300_000))
	if err != nil || a.Cohort != 12 {
		t.Errorf("what is left of the cap cannot be used: %v", err)
	}
}

func TestRevokedPatientIsNotInTheNextQuery(t *testing.T) {
	w := newWorld(t)
	w.enrol(12)
	w.measure()
	w.study("exact", true)
	w.revoke(w.patients[1])
	a, err := w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	if err != nil {
		t.Fatal(err)
	}
	if a.Cohort != 11 || a.Attempt != 0 {
		t.Errorf("cohort of %d at attempt %d", a.Cohort, a.Attempt)
	}
	w.want(a, consortium.Add(w.truth, w.patients[1].device.Stats, -1))
}

func TestQueriesGoOnWithOneMemberDown(t *testing.T) {
	w := newWorld(t)
	w.enrol(11)
	w.measure()
	w.study("exact", true)
	w.down(hospitalB)
	a, err := w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	if err != nil {
		t.Fatal(err)
	}
	w.want(a, w.truth)
	if !slices.Equal(a.Missing, []string{msps[hospitalB]}) {
		t.Errorf("missing %v", a.Missing)
	}
	w.up(hospitalB) // catches up and does its duties
	w.wait("cohort of hospital B", func() bool { return w.members[hospitalB].Index().Height() == w.Ledger.Height() })
}

func TestTwoMembersDownAreNamed(t *testing.T) {
	w := newWorld(t)
	w.enrol(11)
	w.measure()
	w.study("exact", true)
	id := w.agreedQuery("exact")
	w.down(hospitalB)
	w.down(association)
	_, err := w.members[hospitalA].Fetch(t.Context(), id)
	wantFault(t, fault.Unavailable, err)
	if !strings.Contains(err.Error(), "piece 0, which HospitalB and PatientsAssociation hold") {
		t.Errorf("the error does not say who is missing: %v", err)
	}
	w.members[hospitalA].cfg.Patience = 300 * time.Millisecond
	_, err = w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	wantFault(t, fault.Unavailable, err)
	if !strings.Contains(err.Error(), "no post by HospitalB and PatientsAssociation") {
		t.Errorf("the error does not say who is missing: %v", err)
	}
}

func TestExpiredQueryGetsNoShare(t *testing.T) {
	w := newWorld(t)
	w.enrol(11)
	w.measure()
	w.study("exact", true)
	id := w.agreedQuery("exact")
	w.Tick((firstHour+dayHours)*3600 + 901)
	_, err := w.members[hospitalA].Fetch(t.Context(), id)
	if err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("got %v, want an expiry", err)
	}
	_, err = w.getShare(hospitalA, hospitalB, id, 0)
	wantFault(t, fault.Expired, err)
}

func TestEveryBlobIsReadOnceByTheAskerAndNoneWithColumns(t *testing.T) {
	w := newWorld(t)
	w.enrol(11)
	w.measure()
	w.study("exact", true)
	w.everywhere("all have vouched", func(in *Institution) bool {
		_, all := in.Index().Attested(in.Index().Batches(0)[0].ID, in.MSP())
		return all
	})
	w.study("noisy", false)
	for _, c := range []struct {
		what  string
		first func()
		blobs int
	}{
		{"with columns", func() {}, 0},
		{"without columns", func() { w.check(w.members[hospitalA].clearColumns()) }, 11},
		{"with the columns that the last query left", func() {}, 0},
	} {
		c.first()
		w.blobs.Mu.Lock()
		clear(w.blobs.Reads)
		w.blobs.Mu.Unlock()
		if _, err := w.members[hospitalA].Ask(t.Context(), ask("noisy", 500_000)); err != nil {
			t.Fatal(err)
		}
		if len(w.blobs.Reads) != c.blobs {
			t.Errorf("%s: %d blobs were read, want %d", c.what, len(w.blobs.Reads), c.blobs)
		}
		for id, n := range w.blobs.Reads {
			if n != 1 {
				t.Errorf("%s: blob %s was read %d times", c.what, id.Short(), n)
			}
		}
	}
}
