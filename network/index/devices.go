package index

import (
	"fmt"
	"maps"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// standing says that from a place on a device was in quarantine, or not.
type standing struct {
	at          Position
	quarantined bool
}

// note takes a new state of the device.
func (d *device) note(at Position, s record.DeviceState) {
	if (s.Quarantined == nil) != (d.state.Quarantined == nil) {
		d.standing = append(d.standing, standing{at, s.Quarantined != nil})
	}
	d.state = s
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

func (ix *Index) putDeviceVote(w write) error {
	v, err := decode[record.DeviceVote](w)
	if err != nil {
		return err
	}
	d := ix.devices[v.Vote.Device]
	if d == nil {
		return fmt.Errorf("vote about unknown device %s", v.Vote.Device)
	}
	if d.votes == nil {
		d.votes = map[string]record.DeviceVote{}
	}
	d.votes[v.Member] = v
	return nil
}

func (ix *Index) putDeviceFlag(w write) error {
	f, err := decode[record.DeviceFlag](w)
	if err != nil {
		return err
	}
	d := ix.devices[f.Flag.Device]
	if d == nil {
		return fmt.Errorf("flag of unknown device %s", f.Flag.Device)
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
	d := ix.devices[id]
	if d == nil {
		return Reputation{}, fault.New(fault.NotFound, "no device %s", id)
	}
	r := Reputation{Device: id, Flags: map[string]int{}}
	maps.Copy(r.Flags, d.flags)
	end := ix.now
	if d.state.Retired != nil {
		end = min(end, d.state.Retired.At)
	}
	until := wearable.HourOf(end)
	r.Hours = max(0, until-d.state.Device.FirstHour)
	for _, s := range d.rows {
		if s.correction == 0 && s.index < until {
			r.Anchored++
		}
		if ix.refused(d, s) {
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
func (ix *Index) refused(d *device, s slot) bool {
	epoch := ix.epochOf(d)
	looked := 0
	for _, post := range ix.batchOrder[s.batch].posts {
		if epoch.Place(post.Member) >= 0 {
			looked++
		}
	}
	return looked >= epoch.Threshold && int(ix.at(s).posts) < epoch.Threshold
}
