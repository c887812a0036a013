package state

import (
	"slices"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// QueryLife is how many seconds of ledger time a query lives.
const QueryLife = 15 * 60

// ConfirmRelease enters a holder's statement about a released query, and reports
// whether it says something new.
func ConfirmRelease(network string, epoch *record.Epoch, q *record.QueryState, s record.SignedShares) (bool, error) {
	if err := checkStatement(network, epoch, q, s); err != nil {
		return false, err
	}
	changed := takeStatement(q, s.Statement)
	q.Standing = standingOf(epoch, q)
	return changed, nil
}

// OpenRelease enters the statements of a release: there is a share of every piece, and
// all who hold one agree.
func OpenRelease(network string, epoch *record.Epoch, q *record.QueryState, all []record.SignedShares) error {
	if len(all) > len(epoch.Members) {
		return fault.New(fault.Invalid, "shares are of at most %d members, each once", len(epoch.Members))
	}
	q.Shares = make([]record.ReleasedShare, Pieces(len(epoch.Members), epoch.Threshold))
	var from []string
	for _, s := range all {
		if err := checkStatement(network, epoch, q, s); err != nil {
			return err
		}
		from = append(from, s.Statement.Member)
		takeStatement(q, s.Statement)
	}
	if record.Repeats(from) {
		return fault.New(fault.Invalid, "shares name a member twice")
	}
	for piece, s := range q.Shares {
		if len(s.By) == 0 {
			return fault.New(fault.Invalid, "nobody has given a share of piece %d", piece)
		}
		if len(s.Against) > 0 {
			return fault.New(fault.Conflict, "holders of piece %d have different shares of it", piece)
		}
	}
	q.Standing = standingOf(epoch, q)
	return nil
}

// checkStatement checks that a member of the epoch has signed hashes of exactly the
// Pieces that it holds, for the query's agreed cohort.
func checkStatement(network string, epoch *record.Epoch, q *record.QueryState, s record.SignedShares) error {
	st := s.Statement
	place := epoch.Place(st.Member)
	if place < 0 {
		return fault.New(fault.Invalid, "%s is not a member of epoch %d", clip(st.Member), epoch.Number)
	}
	if st.Query != q.ID || st.Attempt != q.Attempt || st.Root != q.Root {
		return fault.New(fault.Invalid, "the shares of %s are for another query or cohort", st.Member)
	}
	held := holdings(place, len(epoch.Members), epoch.Threshold)
	stated := make([]int, 0, len(held))
	for _, p := range st.Pieces {
		stated = append(stated, p.Piece)
	}
	if !slices.Equal(stated, held) {
		return fault.New(fault.Invalid, "%s holds pieces %v, ascending, and no others", st.Member, held)
	}
	if err := record.Verify(epoch.Member(st.Member).SignKey, st.Digest(network), s.Signature); err != nil {
		return fault.New(fault.BadSignature, "shares of %s: %w", st.Member, err)
	}
	return nil
}

// holdings returns the pieces that a member holds, ascending.
func holdings(place, members, threshold int) []int {
	var held []int
	for piece := range Pieces(members, threshold) {
		if !slices.Contains(lackers(piece, members, threshold), place) {
			held = append(held, piece)
		}
	}
	return held
}

// takeStatement enters a statement and reports whether it says something new. What a
// member said first stays.
func takeStatement(q *record.QueryState, st record.ShareStatement) bool {
	changed := false
	for _, p := range st.Pieces {
		share := &q.Shares[p.Piece]
		if slices.Contains(share.By, st.Member) || slices.Contains(share.Against, st.Member) {
			continue
		}
		changed = true
		if len(share.By) == 0 {
			share.Hash = p.Hash
		}
		if share.Hash == p.Hash {
			share.By = append(share.By, st.Member)
		} else {
			share.Against = append(share.Against, st.Member)
		}
	}
	return changed
}

// standingOf is what members say of a release. A share counts as confirmed if as many
// of its holders as the threshold stand behind it, so that one of them is honest, or
// all that there are; or if the asker does, which would deceive nobody but itself.
func standingOf(epoch *record.Epoch, q *record.QueryState) string {
	n, t := len(epoch.Members), epoch.Threshold
	enough := min(t, n-t+1)
	standing := record.StandingFinal
	for _, s := range q.Shares {
		if len(s.Against) > 0 {
			return record.StandingDisputed
		}
		if len(s.By) < enough && !slices.Contains(s.By, q.Asker) {
			standing = record.StandingPreliminary
		}
	}
	return standing
}
