package chaincode

import (
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// Complain puts a device into quarantine on evidence (record.Complain,
// record.DeviceState): the blob that the device named, and proof of what the
// calling member's box in it opens to. A device that is there already stays.
func (*Registry) Complain(tx transaction, arg string) (string, error) {
	return serve(tx, member, timed, arg, largeArgument, complain)
}

func complain(c *call, e record.Complain) (*record.DeviceState, error) {
	d, err := c.device(e.Device)
	if err != nil {
		return nil, err
	}
	epoch, err := c.seatIn(d.Device.Epoch)
	if err != nil {
		return nil, err
	}
	finding, err := state.Examine(c.genesis.Network, epoch, d, c.msp, e)
	if err != nil {
		return nil, err
	}
	if d.Quarantined != nil && d.Quarantined.How == record.ByEvidence {
		return d, nil
	}
	return d, c.quarantine(d, record.Quarantine{
		How: record.ByEvidence, Reason: string(finding), By: []string{c.msp}, Piece: e.Piece, Proof: e.Proof,
	})
}

func (c *call) quarantine(d *record.DeviceState, q record.Quarantine) error {
	now, err := c.now()
	if err != nil {
		return err
	}
	q.At = now
	d.Quarantined = &q
	return c.put(state.DeviceKey(d.ID), d)
}

// VoteQuarantine records that the calling member wants a device in quarantine, or
// out of one that a vote put it into (record.VoteQuarantine, record.DeviceState).
// As many votes as the threshold of the device's epoch decide; then a new round
// of votes begins.
func (*Registry) VoteQuarantine(tx transaction, arg string) (string, error) {
	return serve(tx, member, timed, arg, smallArgument, voteQuarantine)
}

func voteQuarantine(c *call, v record.VoteQuarantine) (*record.DeviceState, error) {
	if !state.ValidName(v.Reason) {
		return nil, fault.New(fault.Invalid, "reason is 1 to %d bytes of printable text", state.MaxName)
	}
	d, err := c.device(v.Device)
	if err != nil {
		return nil, err
	}
	epoch, err := c.seatIn(d.Device.Epoch)
	switch {
	case err != nil:
		return nil, err
	case v.Lift && d.Quarantined != nil && d.Quarantined.How == record.ByEvidence:
		return nil, fault.New(fault.Conflict, "the fault of device %s was shown; enrol a new device", d.ID.Short())
	case v.Lift == (d.Quarantined == nil):
		return d, nil // as the vote wants it, perhaps since a vote before the retry
	}
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	mine := record.DeviceVote{Vote: v, Member: c.msp, Round: d.Round, Time: now}
	if err := c.put(state.DeviceVoteKey(d.ID, c.msp), mine); err != nil {
		return nil, err
	}
	by, err := c.votesWith(epoch, mine)
	if err != nil || len(by) < epoch.Threshold {
		return d, err
	}
	d.Round++
	if v.Lift {
		d.Quarantined = nil
		return d, c.put(state.DeviceKey(d.ID), d)
	}
	return d, c.quarantine(d, record.Quarantine{How: record.ByVote, Reason: v.Reason, By: by})
}

// votesWith returns the members of the same opinion in this round, in the order
// of members.
func (c *call) votesWith(epoch *record.Epoch, mine record.DeviceVote) ([]string, error) {
	key := func(msp string) string { return state.DeviceVoteKey(mine.Vote.Device, msp) }
	same, err := votes(c, epoch.Members, key, mine, func(v record.DeviceVote) bool {
		return v.Round == mine.Round && v.Vote.Lift == mine.Vote.Lift
	})
	var by []string
	for _, v := range same {
		by = append(by, v.Member)
	}
	return by, err
}

// FlagDevice records something that the calling member has seen of a device and
// the ledger cannot (record.FlagDevice, record.DeviceFlag), once for each kind
// and day.
func (*Registry) FlagDevice(tx transaction, arg string) (string, error) {
	return serve(tx, member, timed, arg, smallArgument, flagDevice)
}

func flagDevice(c *call, f record.FlagDevice) (*record.DeviceFlag, error) {
	if f.Kind != record.FlagOutlier && f.Kind != record.FlagProof && f.Kind != record.FlagPointer {
		return nil, fault.New(fault.Invalid, "kind is %q, %q or %q", record.FlagOutlier, record.FlagProof, record.FlagPointer)
	}
	if !state.ValidName(f.Note) {
		return nil, fault.New(fault.Invalid, "note is 1 to %d bytes of printable text", state.MaxName)
	}
	d, err := c.device(f.Device)
	if err != nil {
		return nil, err
	}
	if _, err := c.seatIn(d.Device.Epoch); err != nil {
		return nil, err
	}
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	flag := &record.DeviceFlag{Flag: f, Member: c.msp, Day: wearable.DayOf(now)}
	before := new(record.DeviceFlag)
	exists, err := c.get(state.DeviceFlagKey(*flag), before)
	if err != nil || exists {
		return before, err
	}
	return flag, c.put(state.DeviceFlagKey(*flag), flag)
}
