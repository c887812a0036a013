package index

import (
	"bytes"
	"errors"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

func (ix *Index) putRoster(w write) error {
	r, err := decode[record.Roster](w)
	if err != nil {
		return err
	}
	if r.Epoch(r.Current) == nil {
		return errors.New("the current epoch is not among those that live")
	}
	ix.roster = r
	for _, e := range r.Epochs {
		if s, ok := ix.epochs[e.Number]; !ok {
			s.Epoch = e
			ix.epochs[e.Number] = s
		}
	}
	ix.now = ix.median()
	return nil
}

func (ix *Index) putEpoch(w write) error {
	s, err := decode[record.EpochState](w)
	if err != nil {
		return err
	}
	ix.epochs[s.Epoch.Number] = s
	return nil
}

// epochOf is the epoch that a device is enrolled in.
func (ix *Index) epochOf(d *device) *record.Epoch {
	e := ix.epochs[d.state.Device.Epoch].Epoch
	return &e
}

// speaks reports whether a post is by a member of an epoch with its key there. The
// chaincode has checked it with some key of the member's; which one matters only
// where epochs have different ones.
func (ix *Index) speaks(number uint32, s record.SignedAvailable) bool {
	e := ix.epochs[number].Epoch
	m := e.Member(s.Member)
	if m == nil || !ix.rekeyed(*m) {
		return m != nil
	}
	return record.Verify(m.SignKey, s.Post.Digest(ix.genesis.Network), s.Signature) == nil
}

// rekeyed reports whether another epoch has another signing key for the member.
func (ix *Index) rekeyed(m record.Member) bool {
	for _, s := range ix.epochs {
		if other := s.Epoch.Member(m.MSP); other != nil && !bytes.Equal(other.SignKey, m.SignKey) {
			return true
		}
	}
	return false
}

// Roster returns which epochs live.
func (ix *Index) Roster() record.Roster {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.roster
}

// Epoch returns the ledger's record of an epoch, retired ones too; fault.NotFound
// where there is none.
func (ix *Index) Epoch(number uint32) (record.EpochState, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	s, ok := ix.epochs[number]
	if !ok {
		return s, fault.New(fault.NotFound, "no epoch %d in the %d blocks read so far", number, ix.height)
	}
	return s, nil
}

// Living returns an epoch that has not been retired; fault.Expired where it has.
func (ix *Index) Living(number uint32) (record.Epoch, error) {
	s, err := ix.Epoch(number)
	if err != nil {
		return s.Epoch, err
	}
	if s.Retired != 0 {
		return s.Epoch, fault.New(fault.Expired, "epoch %d is retired: nothing of its devices is opened any more", number)
	}
	return s.Epoch, nil
}
