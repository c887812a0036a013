package chaincode

import (
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// maxEpochs bounds the epochs that live at once: each is read with every
// transaction.
const maxEpochs = 8

// VoteEpoch records that the calling member wants an epoch to follow the current
// one, or agrees to join in it (record.VoteEpoch, record.EpochState). It becomes
// current with the votes of the threshold of the current members and of everyone
// who joins: that a new member can vote shows that the channel trusts its
// certificates. A member has one vote for what comes next: a later one takes the
// place of an earlier. Who joins votes for what a current member has voted for
// already, so nobody outside can fill the state with proposals. Votes are not timed,
// since an epoch may be the way out when the clocks of members have stopped.
func (*Registry) VoteEpoch(tx transaction, arg string) (string, error) {
	return serve(tx, anyone, untimed, arg, smallArgument, voteEpoch)
}

func voteEpoch(c *call, v record.VoteEpoch) (*record.EpochState, error) {
	if err := c.loadGenesis(); err != nil {
		return nil, err
	}
	if err := c.loadRoster(); err != nil {
		return nil, err
	}
	current := c.roster.Epoch(c.roster.Current)
	digest := v.Epoch.Digest(c.genesis.Network)
	if v.Epoch.Number == current.Number && digest == current.Digest(c.genesis.Network) {
		return c.epoch(current.Number)
	}
	if v.Epoch.Number != current.Number+1 {
		return nil, fault.New(fault.Conflict, "epoch %d cannot follow epoch %d", v.Epoch.Number, current.Number)
	}
	err := state.CheckSharing(v.Epoch, *c.genesis)
	if err != nil {
		return nil, fault.New(fault.Invalid, "epoch: %w", err)
	}
	if len(c.roster.Epochs) >= maxEpochs {
		return nil, fault.New(fault.Exhausted, "%d epochs live already; retire one first", len(c.roster.Epochs))
	}
	if current.Place(c.msp) < 0 && v.Epoch.Place(c.msp) < 0 {
		return nil, fault.New(fault.Forbidden, "%s is a member neither of epoch %d nor of the one proposed", clip(c.msp), current.Number)
	}
	vote := record.EpochVote{Member: c.msp, Signature: v.Signature}
	if err := record.CheckVote(*current, v.Epoch, digest, vote); err != nil {
		return nil, fault.New(fault.BadSignature, "%w", err)
	}
	mine := epochBid{digest, vote}
	s := &record.EpochState{Epoch: v.Epoch}
	if s.Votes, err = c.epochVotes(current.Members, v.Epoch.Number, mine); err != nil {
		return nil, err
	}
	old := len(s.Votes)
	if old == 0 {
		return nil, fault.New(fault.Forbidden, "no member of epoch %d has voted for this epoch; one of them proposes, then %s joins", current.Number, clip(c.msp))
	}
	if err := c.put(state.EpochVoteKey(v.Epoch.Number, c.msp), mine); err != nil {
		return nil, err
	}
	joins := slices.DeleteFunc(slices.Clone(v.Epoch.Members), func(m record.Member) bool { return current.Place(m.MSP) >= 0 })
	joined, err := c.epochVotes(joins, v.Epoch.Number, mine)
	if err != nil {
		return nil, err
	}
	s.Votes = append(s.Votes, joined...)
	if old < current.Threshold || len(joined) < len(joins) {
		return s, nil
	}
	return s, c.beginEpoch(s)
}

// epochBid is a member's latest vote for what follows the current epoch.
type epochBid struct {
	Digest record.ID        `json:"digest"` // of the epoch
	Vote   record.EpochVote `json:"vote"`
}

// epochVotes returns which of these members vote for the same epoch as the caller.
func (c *call) epochVotes(members []record.Member, number uint32, mine epochBid) ([]record.EpochVote, error) {
	key := func(msp string) string { return state.EpochVoteKey(number, msp) }
	bids, err := votes(c, members, key, mine, func(b epochBid) bool { return b.Digest == mine.Digest })
	list := make([]record.EpochVote, len(bids))
	for i, b := range bids {
		list[i] = b.Vote
	}
	return list, err
}

func (c *call) beginEpoch(s *record.EpochState) error {
	now, err := c.now()
	if err != nil {
		return err
	}
	s.From = now
	roster := record.Roster{Current: s.Epoch.Number, Floor: now, Epochs: append(slices.Clone(c.roster.Epochs), s.Epoch)}
	if err := c.put(state.RosterKey(), roster); err != nil {
		return err
	}
	return c.put(state.EpochKey(s.Epoch.Number), s)
}

// epochEnd is the state of Registry:RetireEpoch for one epoch and member.
type epochEnd struct {
	Epoch  uint32 `json:"epoch"`
	Member string `json:"member"`
}

// RetireEpoch records that the calling member of the current epoch wants an older
// one to end (record.RetireEpoch, record.EpochState). With the votes of the
// current epoch's threshold it does, for ever: no pointer of its devices is
// anchored, no query about them is answered, and their holders delete the seeds.
func (*Registry) RetireEpoch(tx transaction, arg string) (string, error) {
	return serve(tx, member, untimed, arg, smallArgument, retireEpoch)
}

func retireEpoch(c *call, r record.RetireEpoch) (*record.EpochState, error) {
	current, err := c.seatIn(c.roster.Current)
	if err != nil {
		return nil, err
	}
	s, err := c.epoch(r.Epoch)
	switch {
	case err != nil:
		return nil, err
	case s.Retired != 0:
		return s, nil
	case r.Epoch == current.Number:
		return nil, fault.New(fault.Conflict, "epoch %d is the current one; it ends after another has begun", r.Epoch)
	}
	mine := epochEnd{r.Epoch, c.msp}
	key := func(msp string) string { return state.EpochEndKey(r.Epoch, msp) }
	if err := c.put(key(c.msp), mine); err != nil {
		return nil, err
	}
	with, err := votes(c, current.Members, key, mine, func(epochEnd) bool { return true })
	if err != nil {
		return nil, err
	}
	if len(with) < current.Threshold {
		return s, nil
	}
	if s.Retired, err = c.now(); err != nil {
		return nil, err
	}
	roster := *c.roster
	roster.Epochs = slices.DeleteFunc(slices.Clone(roster.Epochs), func(e record.Epoch) bool { return e.Number == r.Epoch })
	if err := c.put(state.RosterKey(), roster); err != nil {
		return nil, err
	}
	return s, c.put(state.EpochKey(r.Epoch), s)
}
