package chaincode

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/he/opening"
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
	finding, err := Examine(c.genesis.Network, epoch, d, c.msp, e)
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

// Examine checks a complaint by a member of the device's epoch and says what is
// wrong with the device's seeds. A fault.Error says what is wrong with the complaint.
func Examine(network string, epoch *record.Epoch, d *record.DeviceState, msp string, e record.Complain) (opening.Fault, error) {
	if record.SumID(e.Blob) != d.Device.SeedBlob {
		return "", fault.New(fault.Invalid, "this is not the seed blob that device %s named", d.ID.Short())
	}
	at, n, ok := boxPlace(epoch, e.Piece, epoch.Place(msp))
	if !ok || e.Piece >= len(d.Device.SeedHashes) {
		return "", fault.New(fault.Forbidden, "%s does not hold piece %d", clip(msp), e.Piece)
	}
	about := fmt.Sprintf("piece %d of device %s", e.Piece, d.ID.Short())
	boxes, err := opening.Boxes(e.Blob, d.ID, n)
	if shown := opening.Fault(""); errors.As(err, &shown) {
		if len(e.Proof) != 0 {
			return "", fault.New(fault.BadSignature, "%s: nothing is opened of a blob whose fault shows", about)
		}
		return shown, nil
	}
	finding, err := seedAddress(network, epoch, d.ID, d.Device, e.Piece, msp).Examine(boxes[at], d.Device.SeedHashes[e.Piece], e.Proof)
	return finding, complaintFault(about, err)
}

func seedAddress(network string, epoch *record.Epoch, id record.ID, d record.Device, piece int, holder string) opening.Address {
	return opening.SeedPlace{
		Network: network, Profile: d.Profile, Epoch: d.Epoch, Device: id, Piece: piece,
	}.To(*epoch.Member(holder))
}

// CheckSeedBlob reports what is wrong with the seed blob of a device that everybody
// can see: it has another form, is another device's, or has a box whose sender did
// not make it for its place. Such a blob is not worth storing.
func CheckSeedBlob(network string, epoch *record.Epoch, d record.Device, blob []byte) error {
	id := record.DeviceID(network, d.Key)
	_, n, _ := boxPlace(epoch, 0, -1)
	boxes, err := opening.Boxes(blob, id, n)
	if err != nil {
		return err
	}
	for piece := range pieces(len(epoch.Members), epoch.Threshold) {
		for holder, m := range epoch.Members {
			at, _, holds := boxPlace(epoch, piece, holder)
			if !holds {
				continue
			}
			if err := seedAddress(network, epoch, id, d, piece, m.MSP).Check(boxes[at]); err != nil {
				return fmt.Errorf("piece %d to %s: %w", piece, m.MSP, err)
			}
		}
	}
	return nil
}

// boxPlace returns the number of the box for a piece and one of its holders in a
// seed blob, and how many boxes there are.
func boxPlace(e *record.Epoch, piece, holder int) (int, int, bool) {
	n, t := len(e.Members), e.Threshold
	each := n - t + 1
	boxes := pieces(n, t) * each
	if piece < 0 || piece >= pieces(n, t) || holder < 0 {
		return 0, boxes, false
	}
	lacking := lackers(piece, n, t)
	if slices.Contains(lacking, holder) {
		return 0, boxes, false
	}
	before := holder
	for _, m := range lacking {
		if m < holder {
			before--
		}
	}
	return piece*each + before, boxes, true
}

func (c *call) quarantine(d *record.DeviceState, q record.Quarantine) error {
	now, err := c.now()
	if err != nil {
		return err
	}
	q.At = now
	d.Quarantined = &q
	return c.put(DeviceKey(d.ID), d)
}

// VoteQuarantine records that the calling member wants a device in quarantine, or
// out of one that a vote put it into (record.VoteQuarantine, record.DeviceState).
// As many votes as the threshold of the device's epoch decide; then a new round
// of votes begins.
func (*Registry) VoteQuarantine(tx transaction, arg string) (string, error) {
	return serve(tx, member, timed, arg, smallArgument, voteQuarantine)
}

func voteQuarantine(c *call, v record.VoteQuarantine) (*record.DeviceState, error) {
	if !validName(v.Reason) {
		return nil, fault.New(fault.Invalid, "reason is 1 to %d bytes of printable text", maxName)
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
	if err := c.put(DeviceVoteKey(d.ID, c.msp), mine); err != nil {
		return nil, err
	}
	by, err := c.votesWith(epoch, mine)
	if err != nil || len(by) < epoch.Threshold {
		return d, err
	}
	d.Round++
	if v.Lift {
		d.Quarantined = nil
		return d, c.put(DeviceKey(d.ID), d)
	}
	return d, c.quarantine(d, record.Quarantine{How: record.ByVote, Reason: v.Reason, By: by})
}

// votesWith returns the members of the same opinion in this round, in the order
// of members.
func (c *call) votesWith(epoch *record.Epoch, mine record.DeviceVote) ([]string, error) {
	var by []string
	for _, m := range epoch.Members {
		vote := mine
		if m.MSP != mine.Member {
			ok, err := c.get(DeviceVoteKey(mine.Vote.Device, m.MSP), &vote)
			if err != nil {
				return nil, err
			}
			if !ok || vote.Round != mine.Round || vote.Vote.Lift != mine.Vote.Lift {
				continue
			}
		}
		by = append(by, m.MSP)
	}
	return by, nil
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
	if !validName(f.Note) {
		return nil, fault.New(fault.Invalid, "note is 1 to %d bytes of printable text", maxName)
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
	exists, err := c.get(DeviceFlagKey(*flag), before)
	if err != nil || exists {
		return before, err
	}
	return flag, c.put(DeviceFlagKey(*flag), flag)
}
