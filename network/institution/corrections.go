package institution

import (
	"cmp"
	"fmt"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/index"
)

func windowOf(p record.Pointer) he.Window { return he.Window{Hour: p.Index, Correction: p.Correction} }

func windowOfRow(r index.HourRow) he.Window { return he.Window{Hour: r.Hour, Correction: r.Correction} }

// compareRow is the order of rows in a blob.
func compareRow(r record.BlobRow, want index.HourRow) int {
	return cmp.Or(cmp.Compare(r.Hour, want.Hour), cmp.Compare(r.Correction, want.Correction))
}

// lateGroup is windows of corrections, and the members (by their place in the
// cohort) that have a row in each of them.
type lateGroup struct {
	windows []he.Window
	members []int
}

// lateGroups divides the corrections of a cohort into groups: devices with the
// same windows share one, or windows with the same devices, whichever makes fewer.
func lateGroups(members []record.CohortMember) []lateGroup {
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

// lateKeys sums one piece for the corrections of a cohort. Together with the
// groups of its hours that is every (device, window) of the cohort once.
func (in *Institution) lateKeys(members []record.CohortMember, piece int) ([]he.KeyGroup, error) {
	var out []he.KeyGroup
	for _, g := range lateGroups(members) {
		var set deviceSet
		for _, i := range g.members {
			n, err := in.sums.number(members[i].Device)
			if err != nil {
				return nil, err
			}
			set.flip(n)
		}
		sum, err := in.sums.over(piece, set, nil)
		if err != nil {
			return nil, err
		}
		out = append(out, he.KeyGroup{Windows: g.windows, Secret: sum.sum})
	}
	return out, nil
}
