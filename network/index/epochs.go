package index

import (
	"bytes"
	"slices"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// putEpoch begins or ends an epoch; ledger time is a matter of its members.
func (r *reading) putEpoch(w write) error {
	if err := r.policy.putEpoch(w, r.clock.now); err != nil {
		return err
	}
	r.clock.tell()
	return nil
}

// putEpoch begins an epoch that follows by the votes that it carries, or ends one that
// enough members have voted to end. The roster follows from that.
func (po *policy) putEpoch(w write, now int64) error {
	s, err := decode[record.EpochState](w)
	if err != nil {
		return err
	}
	known, ok := po.epochs[s.Epoch.Number]
	if !ok {
		return po.beginEpoch(s, now)
	}
	if s.Retired == 0 || known.Retired != 0 {
		return nil
	}
	return po.retireEpoch(w, known, now)
}

func (po *policy) beginEpoch(s record.EpochState, now int64) error {
	current := po.current()
	n := len(s.Epoch.Members)
	if n == 0 || s.Epoch.Threshold < 1 || s.Epoch.Threshold > n {
		return refuse("epoch %d has %d members and threshold %d", s.Epoch.Number, n, s.Epoch.Threshold)
	}
	if err := record.CheckSuccession(po.genesis.Network, *current, s); err != nil {
		return doubt(err)
	}
	s.From, s.Retired = now, 0
	po.epochs[s.Epoch.Number] = s
	po.roster = record.Roster{Current: s.Epoch.Number, Floor: now, Epochs: append(slices.Clone(po.roster.Epochs), s.Epoch)}
	return nil
}

// retireEpoch ends an epoch with the votes of the current one's threshold: what is
// deleted then does not come back. The caller's vote comes next in the same
// transaction.
func (po *policy) retireEpoch(w write, s record.EpochState, now int64) error {
	number := s.Epoch.Number
	current := po.current()
	r, err := argument(w, contracts.RegistryRetireEpoch)
	mine := err == nil && r.Epoch == number && !po.voted[w.tx.ID]
	votes := 0
	for _, m := range current.Members {
		if po.ends[ending{number, m.MSP}] || mine && m.MSP == w.tx.Creator.MSP {
			votes++
		}
	}
	if votes < current.Threshold || number == current.Number {
		return refuse("%d members have voted to end epoch %d, %d must", votes, number, current.Threshold)
	}
	s.Retired = max(now, 1)
	po.epochs[number] = s
	po.roster.Epochs = slices.DeleteFunc(slices.Clone(po.roster.Epochs), func(e record.Epoch) bool { return e.Number == number })
	return nil
}

// ending is a member's vote that an epoch ends.
type ending struct {
	epoch  uint32
	member string
}

func (po *policy) putEpochEnd(w write) error {
	member := w.parts[1]
	if err := po.seat(w, po.roster.Current, member); err != nil {
		return err
	}
	r, err := argument(w, contracts.RegistryRetireEpoch)
	if err != nil {
		return err
	}
	if err := po.countOnce(w); err != nil {
		return err
	}
	po.ends[ending{r.Epoch, po.names.one(member)}] = true
	return nil
}

// epochOf is the epoch that a device is enrolled in.
func (po *policy) epochOf(d *device) *record.Epoch {
	e := po.epochs[d.state.Device.Epoch].Epoch
	return &e
}

// speakers returns the epochs in which a post is the member's, by the key that each
// has for it. Without any nobody has signed it.
func (po *policy) speakers(s record.SignedAvailable) map[uint32]bool {
	out := map[uint32]bool{}
	digest := s.Post.Digest(po.genesis.Network)
	var good []byte                    // a key that fits
	for number, e := range po.epochs { // each by itself
		m := e.Epoch.Member(s.Member)
		if m != nil && (bytes.Equal(m.SignKey, good) || record.Verify(m.SignKey, digest, s.Signature) == nil) {
			good, out[number] = m.SignKey, true
		}
	}
	return out
}

// speaks reports whether a post, which was checked when it came, is by a member of an
// epoch with its key there.
func (po *policy) speaks(number uint32, s record.SignedAvailable) bool {
	e := po.epochs[number].Epoch
	m := e.Member(s.Member)
	if m == nil || !po.rekeyed(*m) {
		return m != nil
	}
	return record.Verify(m.SignKey, s.Post.Digest(po.genesis.Network), s.Signature) == nil
}

// rekeyed reports whether another epoch has another signing key for the member.
func (po *policy) rekeyed(m record.Member) bool {
	for _, s := range po.epochs {
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
	return ix.policy.roster
}

// Epoch returns the ledger's record of an epoch, retired ones too; fault.NotFound
// where there is none.
func (ix *Index) Epoch(number uint32) (record.EpochState, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	s, ok := ix.policy.epochs[number]
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

// lower keeps the floor of time from holding up time that is set back.
func (po *policy) lower(to int64) { po.roster.Floor = min(po.roster.Floor, to) }

// current is the epoch in which patients and devices enrol and whose members tell time.
func (po *policy) current() *record.Epoch { return po.roster.Epoch(po.roster.Current) }
