package institution

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution/share"
)

// hashes of the clear shares, by piece.
func hashes(r *share.GetShareResponse) map[uint32]string {
	out := map[uint32]string{}
	for _, s := range r.Shares {
		out[s.Piece] = s.Hash
	}
	return out
}

// restore starts a member from a copy of its state.
func (w *world) restore(member int, state string) *Institution {
	w.down(member)
	return w.up(member, func(c *Config) { c.Dir = state })
}

// TestAttackAnswerLogRolledBack: the state of a member is restored from a copy
// made before it answered, and it is asked again. Were flood and noise fresh, the
// average of two shares would have less of both.
func TestAttackAnswerLogRolledBack(t *testing.T) {
	w := settledWorld(t, 11)
	w.study("noisy", false)
	for study, rho := range map[string]uint64{"exact": 0, "noisy": 500_000} {
		q := w.submit(hospitalA, contracts.QueryAsk, ask(study, rho))
		w.everywhere("query agreed", func(in *Institution) bool {
			s, err := in.Index().Query(q.TxID)
			return err == nil && s.Status == record.QueryAgreed
		})
		backup := filepath.Join(w.dir, "backup-"+study)
		w.down(hospitalB)
		copyTree(t, w.config(hospitalB).Dir, backup)
		w.up(hospitalB)
		first := must(w.getShare(hospitalA, hospitalB, q.TxID, 0))
		in := w.restore(hospitalB, backup)
		if found, err := in.answerer.answered(q.TxID); found || err != nil {
			t.Fatalf("the copy knows of the answer (%v)", err)
		}
		again := must(w.getShare(hospitalA, hospitalB, q.TxID, 0))
		for piece, hash := range hashes(first) {
			if hashes(again)[piece] != hash {
				t.Errorf("%s: piece %d has another share after the roll-back", study, piece)
			}
		}
		w.down(hospitalB)
		w.up(hospitalB)
	}
}

// TestAttackOtherCohortAfterARollBack: a member has given its share of a cohort;
// its state is restored from a copy that does not know so; a patient revokes. A
// share of the smaller cohort would open that patient's readings.
func TestAttackOtherCohortAfterARollBack(t *testing.T) {
	w := settledWorld(t, 13)
	id := w.agreedQuery("exact")
	backup := filepath.Join(w.dir, "backup")
	w.down(hospitalB)
	copyTree(t, w.config(hospitalB).Dir, backup)
	w.up(hospitalB)
	if _, err := w.getShare(hospitalA, hospitalB, id, 0); err != nil {
		t.Fatal(err)
	}
	w.restore(hospitalB, backup)
	w.everywhere("caught up", func(in *Institution) bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		return in.answerer.inherited != nil
	})
	w.revoke(w.patients[4])
	w.everywhere("query abandoned", func(in *Institution) bool {
		q, err := in.Index().Query(id)
		return err == nil && q.Status == record.QueryAbandoned
	})
	for _, m := range []int{hospitalB, association} {
		if _, err := w.getShare(hospitalA, m, id, 1); err == nil {
			t.Errorf("%s gives a share of the smaller cohort", msps[m])
		}
	}
}

// TestAttackAveragingRepeatedQueries: to ask for the same answer again gives the
// same noise, and a new query costs again until the patients' caps end it.
func TestAttackAveragingRepeatedQueries(t *testing.T) {
	w := settledWorld(t, 11)
	w.study("noisy", false)
	var releases []privacy.Release
	for {
		a, err := w.members[hospitalA].Ask(t.Context(), ask("noisy", 1_000_000))
		if fault.Of(err) == fault.TooFew {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		w.down(hospitalB)
		w.up(hospitalB)
		again, err := w.members[hospitalA].Fetch(t.Context(), a.QueryID)
		if err != nil || again.Hash != a.Hash || again.Release != a.Release {
			t.Fatalf("the same query has another answer (%v)", err)
		}
		for _, r := range releases {
			if r.Sum == a.Release.Sum && r.SumSq == a.Release.SumSq {
				t.Error("two queries have the same noise: their difference would be exact")
			}
		}
		releases = append(releases, a.Release)
	}
	if len(releases) != 3 {
		t.Errorf("%d answers of rho 1 from caps of 3", len(releases))
	}
}

// TestAttackAbandonAndAskAgain: an asker collects shares, releases nothing and asks
// anew, to average what it opened. Each query was paid for when it was made.
func TestAttackAbandonAndAskAgain(t *testing.T) {
	w := settledWorld(t, 11)
	w.study("noisy", false)
	seen := map[string]bool{}
	for range 3 {
		q := w.submit(hospitalA, contracts.QueryAsk, ask("noisy", 1_000_000))
		w.everywhere("query agreed", func(in *Institution) bool {
			s, err := in.Index().Query(q.TxID)
			return err == nil && s.Status == record.QueryAgreed
		})
		for _, hash := range hashes(must(w.getShare(hospitalA, hospitalB, q.TxID, 0))) {
			if seen[hash] {
				t.Error("two queries have the same share")
			}
			seen[hash] = true
		}
	}
	_, err := w.members[hospitalA].Ask(t.Context(), ask("noisy", 1_000_000))
	wantFault(t, fault.TooFew, err)
}

// TestAttackDifferencingByOnePatient: two queries whose cohorts differ by one
// patient. Exact hours open once; with noise the difference drowns.
func TestAttackDifferencingByOnePatient(t *testing.T) {
	w := settledWorld(t, 13)
	w.study("noisy", false)
	target := w.patients[6]
	before, err := w.members[hospitalA].Ask(t.Context(), ask("noisy", 500_000))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.members[hospitalA].Ask(t.Context(), ask("exact", 0)); err != nil {
		t.Fatal(err)
	}
	w.revoke(target)
	after, err := w.members[hospitalA].Ask(t.Context(), ask("noisy", 500_000))
	if err != nil {
		t.Fatal(err)
	}
	if after.Cohort != before.Cohort-1 {
		t.Fatalf("cohorts of %d and %d", before.Cohort, after.Cohort)
	}
	// One patient adds at most 60 readings an hour; the deviation of the difference
	// is above that, so the target's sum cannot be told from nobody's.
	if sd := math.Hypot(before.Release.NSD, after.Release.NSD); sd < 60*dayHours {
		t.Errorf("the difference's count has a deviation of %.0f, a patient has %d readings", sd, target.device.Stats.N)
	}
	_, err = w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	wantFault(t, fault.TooFew, err)
}
