package keysum

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Groups sums one piece of a cohort's devices: every (device, window) of the cohort is
// in one group. The windows are of rows that are each about so many hours
// (he.Params.RowHours). The sums are the caller's to wipe.
func (k *Sums) Groups(members []record.CohortMember, piece int, rowHours int64) ([]he.KeyGroup, error) {
	numbers, err := k.numbers.Members(members)
	if err != nil {
		return nil, err
	}
	hours, err := k.hourGroups(members, numbers, piece, rowHours)
	if err != nil {
		return nil, err
	}
	late, err := k.lateGroups(members, numbers, piece)
	return append(hours, late...), err
}

// change is a device that begins or ends to have rows at an hour.
type change struct {
	hour   int64
	member int
}

// presence lists the changes of a cohort in order of hours.
func presence(members []record.CohortMember) []change {
	var out []change
	for i, m := range members {
		for _, r := range m.Ranges {
			out = append(out, change{r[0], i}, change{r[1], i})
		}
	}
	slices.SortFunc(out, func(a, b change) int { return cmp.Compare(a.hour, b.hour) })
	return out
}

// hourGroups sums over the devices that have a row, hour by hour, and collects the
// hours in which they are the same, wherever they lie. The sum over a set of devices is
// made from the nearest that is kept, or from the group before.
func (k *Sums) hourGroups(members []record.CohortMember, numbers []int, piece int, rowHours int64) ([]he.KeyGroup, error) {
	changes := presence(members)
	byPresence := map[record.ID]int{}
	var groups []he.KeyGroup
	var present Set
	var last *keptSum
	for i := 0; i < len(changes); {
		hour := changes[i].hour
		for ; i < len(changes) && changes[i].hour == hour; i++ {
			present.Flip(numbers[changes[i].member])
		}
		if i == len(changes) {
			break
		}
		id := record.SumID(present.bytes())
		g, known := byPresence[id]
		if !known && present.Size() > 0 {
			var err error
			if last, err = k.over(piece, present, last); err != nil {
				return nil, err
			}
			g = len(groups)
			byPresence[id] = g
			groups = append(groups, he.KeyGroup{Secret: last.sum})
		}
		if present.Size() == 0 {
			continue
		}
		for h := hour; h < changes[i].hour; h += rowHours {
			groups[g].Windows = append(groups[g].Windows, he.Window{Hour: h})
		}
	}
	if present.Size() != 0 {
		return nil, fault.New(fault.Internal, "devices of the cohort have no end")
	}
	return groups, nil
}

// lateGroups sums for corrections.
func (k *Sums) lateGroups(members []record.CohortMember, numbers []int, piece int) ([]he.KeyGroup, error) {
	var out []he.KeyGroup
	for _, g := range lateGroupsOf(members) {
		var set Set
		for _, i := range g.members {
			set.Flip(numbers[i])
		}
		s, err := k.over(piece, set, nil)
		if err != nil {
			return nil, err
		}
		out = append(out, he.KeyGroup{Windows: g.windows, Secret: s.sum})
	}
	return out, nil
}

// lateGroup is windows of corrections, and the members (by their place in the
// cohort) that have a row in each of them.
type lateGroup struct {
	windows []he.Window
	members []int
}

// lateGroupsOf divides the corrections of a cohort into groups: devices with the
// same windows share one, or windows with the same devices, whichever makes fewer.
func lateGroupsOf(members []record.CohortMember) []lateGroup {
	var byDevice, byWindow []lateGroup
	place := map[he.Window]int{}
	for i, m := range members {
		var own []he.Window
		for _, c := range m.Corrections {
			w := he.Window{Hour: c[0], Correction: uint8(c[1])}
			own = append(own, w)
			at, known := place[w]
			if !known {
				at = len(byWindow)
				place[w] = at
				byWindow = append(byWindow, lateGroup{windows: []he.Window{w}})
			}
			byWindow[at].members = append(byWindow[at].members, i)
		}
		if own != nil {
			byDevice = append(byDevice, lateGroup{own, []int{i}})
		}
	}
	byDevice = merged(byDevice, func(g lateGroup) string { return fmt.Sprint(g.windows) },
		func(g *lateGroup, o lateGroup) { g.members = append(g.members, o.members...) })
	byWindow = merged(byWindow, func(g lateGroup) string { return fmt.Sprint(g.members) },
		func(g *lateGroup, o lateGroup) { g.windows = append(g.windows, o.windows...) })
	if len(byDevice) < len(byWindow) {
		return byDevice
	}
	return byWindow
}

// merged joins groups with the same key.
func merged(groups []lateGroup, key func(lateGroup) string, join func(*lateGroup, lateGroup)) []lateGroup {
	var out []lateGroup
	place := map[string]int{}
	for _, g := range groups {
		k := key(g)
		if at, known := place[k]; known {
			join(&out[at], g)
			continue
		}
		place[k] = len(out)
		out = append(out, g)
	}
	return out
}
