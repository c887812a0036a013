package institution

import (
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution/share"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// TestAttackExactAnswerOfOnePatient: eleven patients allow it and have whole days of
// rows, and one of them two readings. The answer, which would be that patient's, is
// withheld; neither the ledger nor a second try has it.
func TestAttackExactAnswerOfOnePatient(t *testing.T) {
	w := newWorld(t)
	w.hour = func(i int, h int64) privacy.Hour {
		codes := make([]uint16, 60)
		if i == 4 && h == 2 {
			codes[12], codes[40] = 61, 93
		}
		return privacy.Hour{Codes: map[int][]uint16{0: codes}}
	}
	w.enrol(11)
	w.measure()
	w.study("exact", true)
	w.study("noisy", false)
	in := w.members[hospitalA]
	_, err := in.Ask(t.Context(), ask("exact", 0))
	wantFault(t, fault.TooFew, err)
	var few *Refusal
	if !errors.As(err, &few) || !few.Readings || few.Size != 11 || few.Minimum != 11 {
		t.Fatalf("refused with %+v: %v", few, err)
	}
	q, err := w.members[association].Index().Query(few.Query)
	w.wait("the query ended", func() bool {
		q, err = w.members[association].Index().Query(few.Query)
		return err == nil && q.Status == record.QueryAbandoned
	})
	if !q.Release.IsZero() || len(q.Shares) > 0 {
		t.Errorf("the ledger has of it: %+v", q)
	}
	_, err = in.Fetch(t.Context(), few.Query)
	wantFault(t, fault.Conflict, err)
	_, err = in.Ask(t.Context(), ask("exact", 0)) // its hours are used up
	wantFault(t, fault.TooFew, err)
	if _, err := in.Ask(t.Context(), ask("noisy", 1_000_000)); err != nil { // noise protects the one
		t.Error(err)
	}
}

// TestAttackGuessingAnAnswer: whoever guesses every number of an answer right cannot tell
// by its hash on the ledger that it did. Who is given the salt can, and the asker has it
// after a restart.
func TestAttackGuessingAnAnswer(t *testing.T) {
	w := settledWorld(t, 11)
	a, err := w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	if err != nil {
		t.Fatal(err)
	}
	q, err := w.members[association].Index().Query(a.QueryID)
	w.wait("the release is on the ledger", func() bool {
		q, err = w.members[association].Index().Query(a.QueryID)
		return err == nil && q.Status == record.QueryReleased
	})
	guess := a.Document()
	for _, salt := range []record.ID{{}, record.RandomID(), q.Root} {
		if guess.Salt = salt; guess.Digest(networkName) == q.Release {
			t.Fatal("the hash confirms a guess")
		}
	}
	if guess.Salt = a.Salt; a.Salt.IsZero() || guess.Digest(networkName) != q.Release {
		t.Error("the answer with its salt is not the one on the ledger")
	}
	w.down(hospitalA)
	again, err := w.up(hospitalA).Fetch(t.Context(), a.QueryID)
	if err != nil || again.Salt != a.Salt {
		t.Errorf("after a restart the salt is %s (%v)", again.Salt.Short(), err)
	}
	second, err := w.members[hospitalB].vault.Names(store.Salt(""))
	if err != nil || len(second) > 0 {
		t.Errorf("another member has %v (%v)", second, err)
	}
}

// shifted is a packed share whose first coefficient opens to payload more: what
// round(Q*payload/2^128) is modulo each prime is added to that prime's residue.
func shifted(p he.Profile, share []byte, payload *big.Int) []byte {
	q := big.NewInt(1)
	for _, prime := range p.Primes {
		q.Mul(q, new(big.Int).SetUint64(prime))
	}
	step := q.Mul(q, payload)
	step.Add(step, new(big.Int).Lsh(big.NewInt(1), 127)).Rsh(step, 128)
	little := func(b []byte) []byte { b = slices.Clone(b); slices.Reverse(b); return b }
	bits := new(big.Int).SetBytes(little(share))
	field := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(p.ResidueBits)), big.NewInt(1))
	for i, prime := range p.Primes {
		at, modulus := uint(i*p.ResidueBits), new(big.Int).SetUint64(prime)
		old := new(big.Int).And(new(big.Int).Rsh(bits, at), field)
		moved := new(big.Int).Add(old, step)
		moved.Mod(moved, modulus)
		bits.Add(bits, moved.Sub(moved, old).Lsh(moved, at))
	}
	return little(bits.FillBytes(make([]byte, len(share))))
}

// move lets a member add to the sum of readings of the share of a piece that it holds,
// and sign for that.
func (w *world) move(member, piece int, by int64) func(*share.GetShareResponse, record.QueryState) {
	at := slices.IndexFunc(w.Params.Schema().Fields(0), func(f privacy.Field) bool { return f.Kind == privacy.KindSum })
	payload := new(big.Int).Lsh(big.NewInt(by), uint(w.Params.Schema().Fields(0)[at].Shift))
	return func(r *share.GetShareResponse, q record.QueryState) {
		for _, s := range r.Shares {
			if int(s.Piece) == piece { // the member knows its own share; the test reads it with the asker's key
				binding := boxBinding(networkName, q, msps[member], piece)
				share := shifted(w.Params.Profile(), must(he.OpenBox(w.Boxes[msps[hospitalA]].Share, purposeShare, binding, s.Sealed)), payload)
				s.Sealed = must(he.SealBox(w.Boxes[msps[hospitalA]].Share.Public(), purposeShare, binding, share))
				s.Hash = record.SumID(share).String()
			}
		}
		r.Signature = must(record.Sign(w.Keys[msps[member]], must(signedShares(r)).Statement.Digest(networkName)))
	}
}

// TestAttackAMemberMovesAnAnswerWhileTheOtherHolderIsAway: an answer with a share that
// nobody could compare says so, and for whose word it takes it. When the other holder is
// back, it disputes the share by itself, and the answer is not given any more.
func TestAttackAMemberMovesAnAnswerWhileTheOtherHolderIsAway(t *testing.T) {
	w := settledWorld(t, 11)
	w.corrupt(hospitalB, w.move(hospitalB, 0, -20_000))
	w.down(association)
	in := w.members[hospitalA]
	a, err := in.Ask(t.Context(), ask("exact", 0))
	if err != nil {
		t.Fatal(err)
	}
	if center := w.Params.Schema().Center(0); a.Release.Sum != w.truth.Sum+center*w.truth.N-20_000 {
		t.Fatalf("the sum is %d: this attack should move it", a.Release.Sum)
	}
	if a.Standing != record.StandingPreliminary || len(a.Unconfirmed) != 1 || a.Unconfirmed[0].Piece != 0 || !slices.Equal(a.Unconfirmed[0].From, []string{msps[hospitalB]}) {
		t.Fatalf("the answer is %s, unconfirmed %v", a.Standing, a.Unconfirmed)
	}
	w.up(association)
	w.wait("the dispute is on the ledger", func() bool {
		q, err := in.Index().Query(a.QueryID)
		return err == nil && q.Standing == record.StandingDisputed
	})
	_, err = in.Fetch(t.Context(), a.QueryID)
	wantFault(t, fault.Conflict, err)
	if !strings.Contains(err.Error(), "disputed") || !strings.Contains(err.Error(), msps[association]) {
		t.Errorf("the asker learns: %v", err)
	}
}

// TestAnAnswerBecomesFinalWhenTheOtherHolderIsBack: with nothing wrong the same ends
// well, also where the holder had answered before it was away.
func TestAnAnswerBecomesFinalWhenTheOtherHolderIsBack(t *testing.T) {
	bothUnits(t, 11, answerBecomesFinal)
}

func answerBecomesFinal(t *testing.T, w *world) {
	id := w.agreedQuery("exact")
	if _, err := w.getShare(hospitalA, association, id, 0); err != nil {
		t.Fatal(err)
	}
	w.down(association)
	in := w.members[hospitalA]
	a, err := in.Fetch(t.Context(), id)
	if err != nil || a.Standing != record.StandingPreliminary {
		t.Fatalf("%s: %v", a.Standing, err)
	}
	w.up(association)
	w.wait("final", func() bool {
		q, err := in.Index().Query(id)
		return err == nil && q.Standing == record.StandingFinal
	})
	again, err := in.Fetch(t.Context(), id)
	if err != nil || again.Standing != record.StandingFinal || len(again.Unconfirmed) > 0 || again.Hash != a.Hash {
		t.Errorf("fetched again: %+v (%v)", again, err)
	}
	q, err := in.Confirm(t.Context(), id) // nothing to say any more
	if err != nil || q.Standing != record.StandingFinal {
		t.Errorf("%s (%v)", q.Standing, err)
	}
}

// TestAMemberThatVotedToAbandonGivesNoShare: nor does its vote alone end the query.
func TestAMemberThatVotedToAbandonGivesNoShare(t *testing.T) {
	bothUnits(t, 11, abandonerGivesNoShare)
}

func abandonerGivesNoShare(t *testing.T, w *world) {
	id := w.agreedQuery("exact")
	if err := w.members[hospitalB].Abandon(t.Context(), id, "not with us"); err != nil {
		t.Fatal(err)
	}
	_, err := w.getShare(hospitalA, hospitalB, id, 0)
	wantFault(t, fault.Conflict, err)
	a, err := w.members[hospitalA].Fetch(t.Context(), id)
	if err != nil || !slices.Equal(a.Missing, []string{msps[hospitalB]}) {
		t.Fatalf("missing %v: %v", a.Missing, err)
	}
	w.wantAll(a)
}
