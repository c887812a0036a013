package chaincode

import (
	"encoding/json"
	"sync/atomic"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// parsedRoster remembers the roster that was parsed last, by its bytes.
type parsedRoster struct {
	raw    string
	roster *record.Roster
}

var lastRoster atomic.Pointer[parsedRoster]

// loadRoster reads which epochs live; callers share it and do not change it. The
// genesis has been read.
func (c *call) loadRoster() error {
	raw, err := c.stub.GetState(state.RosterKey())
	if err != nil {
		return err
	}
	if raw == nil {
		first := c.genesis.FirstRoster()
		c.roster = &first
		return nil
	}
	if p := lastRoster.Load(); p != nil && p.raw == string(raw) {
		c.roster = p.roster
		return nil
	}
	p := &parsedRoster{raw: string(raw), roster: new(record.Roster)}
	if err := json.Unmarshal(raw, p.roster); err != nil {
		return err
	}
	lastRoster.Store(p)
	c.roster = p.roster
	return nil
}

// member returns the member with this MSP ID, or nil.
func (c *call) member(msp string) *record.Member { return c.roster.Member(msp) }

// signedByMember checks a signature of the calling member, with any key that a
// living epoch has for it.
func (c *call) signedByMember(digest record.ID, sig []byte) error {
	err := record.ErrSignature
	for _, e := range c.roster.Epochs {
		if m := e.Member(c.msp); m != nil {
			if err = record.Verify(m.SignKey, digest, sig); err == nil {
				return nil
			}
		}
	}
	return err
}

// living returns an epoch that has not been retired.
func (c *call) living(number uint32) (*record.Epoch, error) {
	if e := c.roster.Epoch(number); e != nil {
		return e, nil
	}
	if number > c.roster.Current {
		return nil, fault.New(fault.NotFound, "there is no epoch %d, the current one is %d", number, c.roster.Current)
	}
	return nil, fault.New(fault.Expired, "epoch %d is retired: nothing of its devices is opened any more; the current one is %d", number, c.roster.Current)
}

// seatIn returns a living epoch that the caller is a member of.
func (c *call) seatIn(number uint32) (*record.Epoch, error) {
	e, err := c.living(number)
	if err != nil {
		return nil, err
	}
	if e.Place(c.msp) < 0 {
		return nil, fault.New(fault.Forbidden, "%s is not a member of epoch %d", clip(c.msp), number)
	}
	return e, nil
}

// epoch returns the record of an epoch, which may be retired.
func (c *call) epoch(number uint32) (*record.EpochState, error) {
	s := new(record.EpochState)
	exists, err := c.get(state.EpochKey(number), s)
	switch {
	case err != nil:
		return nil, err
	case exists:
		return s, nil
	case number == 0:
		return &record.EpochState{Epoch: c.genesis.FirstEpoch(), Votes: []record.EpochVote{}}, nil
	}
	return nil, fault.New(fault.NotFound, "epoch %d is not on the ledger", number)
}

// GetRoster returns the record.Roster; the argument is {}.
func (*Registry) GetRoster(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, untimed, arg, smallArgument, func(c *call, _ struct{}) (*record.Roster, error) {
		return c.roster, nil
	})
}

// GetEpoch returns the record.EpochState of an epoch; the argument is its number.
func (*Registry) GetEpoch(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, untimed, arg, smallArgument, (*call).epoch)
}
