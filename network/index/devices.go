package index

import (
	"errors"
	"maps"
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/wearable"
)

// standing says that from a place on a device was in quarantine, or not.
type standing struct {
	at          Position
	quarantined bool
}

// updateDevice takes what became of a device. Whose it is, its key and its seeds
// never change. What takes a device out is heeded also where it is not proven; what
// brings it back is not.
func (fl *fleet) updateDevice(w write, d *device) error {
	s, err := decode[record.DeviceState](w)
	if err != nil {
		return err
	}
	retired := fl.takeRetirement(w, d, s.Retired)
	quarantined := fl.takeQuarantine(w, d, s.Quarantined)
	if retired != nil {
		return retired
	}
	return quarantined
}

func (fl *fleet) takeRetirement(w write, d *device, r *record.Retirement) error {
	before := d.state.Retired
	if r == nil || before != nil && (before.Lost || !r.Lost) {
		return nil
	}
	d.state.Retired = &record.Retirement{At: fl.clock.now, Lost: r.Lost}
	if before != nil {
		d.state.Retired.At = before.At
	}
	s, err := argument(w, contracts.RegistryRetireDevice)
	if err != nil {
		return err
	}
	p := fl.people.patients[d.state.Device.Patient]
	switch {
	case s.Retire.Device != d.state.ID || s.Retire.Lost != r.Lost:
		return refuse("the retirement that was signed is another one")
	case !state.RetiredBy(fl.policy.genesis, d.state.Device, p.state, s):
		return refuse("the retirement is signed neither by the device nor by a key of its patient")
	}
	return nil
}

// takeQuarantine puts a device into quarantine, or takes it out by the votes of its
// epoch's threshold. Evidence is final.
func (fl *fleet) takeQuarantine(w write, d *device, q *record.Quarantine) error {
	before := d.state.Quarantined
	if before == nil && q == nil || before != nil && (q != nil && q.How != record.ByEvidence || before.How == record.ByEvidence) {
		return nil
	}
	byVote := q == nil || q.How == record.ByVote
	enough := !byVote || fl.votesWith(w, d, q == nil) >= fl.policy.epochOf(d).Threshold
	if q == nil && !enough {
		return refuse("too few members have voted to lift the quarantine")
	}
	if (q == nil) != (before == nil) {
		d.standing = append(d.standing, standing{w.at, q != nil})
	}
	if d.state.Quarantined = q; q != nil {
		q.At = fl.clock.now
	}
	if byVote {
		d.state.Round++
		d.decided = w.tx.ID
	}
	if !enough {
		return refuse("too few members have voted for the quarantine; the device is out all the same")
	}
	return nil
}

// votesWith counts the members of one opinion in this round, with the caller, whose
// vote comes next in the same transaction.
func (fl *fleet) votesWith(w write, d *device, lift bool) int {
	n, caller := 0, w.tx.Creator.MSP
	v, err := argument(w, contracts.RegistryVoteQuarantine)
	mine := err == nil && v.Device == d.state.ID && v.Lift == lift && !fl.policy.voted[w.tx.ID]
	for _, m := range fl.policy.epochOf(d).Members {
		vote, ok := d.votes[m.MSP]
		if m.MSP == caller && mine || ok && vote.Round == d.state.Round && vote.Vote.Lift == lift {
			n++
		}
	}
	return n
}

// quarantinedFrom returns the first block, from `from` on, at whose end the device
// was in quarantine.
func (d *device) quarantinedFrom(from uint64) (uint64, bool) {
	for i, s := range d.standing {
		last := i+1 == len(d.standing) || d.standing[i+1].at.Block > s.at.Block // of its block
		if !last || !s.quarantined {
			continue
		}
		if s.at.Block >= from {
			return s.at.Block, true
		}
		if i+1 == len(d.standing) || d.standing[i+1].at.Block > from {
			return from, true
		}
	}
	return 0, false
}

func (fl *fleet) putDeviceVote(w write) error {
	id, d, member, err := fl.deviceAndMember(w)
	if err != nil {
		return err
	}
	v, err := argument(w, contracts.RegistryVoteQuarantine)
	if err != nil {
		return err
	}
	if v.Device != id {
		return refuse("the vote is about another device")
	}
	if err := fl.policy.countOnce(w); err != nil || d.decided == w.tx.ID {
		return err // it has decided, and counts no more
	}
	if d.votes == nil {
		d.votes = map[string]record.DeviceVote{}
	}
	d.votes[fl.names.one(member)] = record.DeviceVote{Vote: v, Member: member, Round: d.state.Round, Time: fl.clock.now}
	return nil
}

// countOnce makes sure that a transaction with a vote counts once: an operator could
// record what a member has once signed again.
func (po *policy) countOnce(w write) error {
	if po.voted[w.tx.ID] {
		return refuse("this vote was on the ledger before")
	}
	po.voted[w.tx.ID] = true
	return nil
}

func (fl *fleet) putDeviceFlag(w write) error {
	f, err := decode[record.DeviceFlag](w)
	if err != nil {
		return err
	}
	d := fl.devices[f.Flag.Device]
	if d == nil {
		return refuse("device %s is not enrolled", f.Flag.Device.Short())
	}
	if err := fl.policy.seat(w, d.state.Device.Epoch, f.Member); err != nil {
		return err
	}
	if said, err := argument(w, contracts.RegistryFlagDevice); err != nil || said != f.Flag {
		return errors.Join(err, refuse("it is another flag than the one that %s has posted", f.Member))
	}
	if d.flags == nil {
		d.flags = map[string]int{}
	}
	d.flags[f.Flag.Kind]++
	return nil
}

// Reputation is what the ledger shows of how a device behaves. It is for people
// who decide about a quarantine; nothing that is computed about patients depends
// on it.
type Reputation struct {
	Device   record.ID `json:"device"`
	Hours    int64     `json:"hours"`    // that have ended since its first, up to its retirement
	Anchored int64     `json:"anchored"` // of these, with a row
	Gaps     int64     `json:"gaps"`     // the others: missing, or not sent yet
	// Refused counts rows of which the threshold of members has said something, and
	// not that they are well formed and available.
	Refused int `json:"refused"`
	// Flags counts what members have posted, by kind: one for each member and day.
	Flags map[string]int `json:"flags"`
	Votes int            `json:"votes"` // for quarantine, in this round
}

// Reputation computes a device's reputation; fault.NotFound where there is no such
// device.
func (ix *Index) Reputation(id record.ID) (Reputation, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	d := ix.fleet.devices[id]
	if d == nil {
		return Reputation{}, fault.New(fault.NotFound, "no device %s", id)
	}
	r := Reputation{Device: id, Flags: map[string]int{}}
	maps.Copy(r.Flags, d.flags)
	end := ix.clock.now
	if d.state.Retired != nil {
		end = min(end, d.state.Retired.At)
	}
	until := wearable.HourOf(end)
	r.Hours = max(0, until-d.state.Device.FirstHour)
	for _, s := range d.rows {
		if s.correction == 0 && s.index < until {
			r.Anchored++
		}
	}
	for _, s := range slices.Concat(d.rows, d.persons) {
		if ix.anchors.refused(d, s) {
			r.Refused++
		}
	}
	r.Gaps = r.Hours - r.Anchored
	for _, v := range d.votes {
		if v.Round == d.state.Round && !v.Vote.Lift {
			r.Votes++
		}
	}
	return r, nil
}

// refused reports whether enough members have looked at a row's batch to make it
// count, and did not.
func (an *anchors) refused(d *device, s slot) bool {
	epoch := an.policy.epochOf(d)
	looked := 0
	for _, post := range an.order[s.batch].posts {
		if epoch.Place(post.Member) >= 0 {
			looked++
		}
	}
	return looked >= epoch.Threshold && int(an.at(s).posts) < epoch.Threshold
}
