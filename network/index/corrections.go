package index

import "slices"

// window is one row of a device: the Unix hour, or the day of a day row, and the number
// of the correction, 0 for the first sealing.
type window struct {
	hour   int64
	number uint8
}

func (w window) compare(o window) int {
	switch {
	case w.hour < o.hour:
		return -1
	case w.hour > o.hour:
		return 1
	}
	return int(w.number) - int(o.number)
}

// windows is a set, in ascending order.
type windows []window

func (s *windows) add(w window) {
	if i, found := slices.BinarySearchFunc(*s, w, window.compare); !found {
		*s = slices.Insert(*s, i, w)
	}
}

// within lists the windows of the set in ranges, as they go into a cohort member.
func (s windows) within(ranges [][2]int64) [][2]int64 {
	var out [][2]int64
	for _, r := range ranges {
		i, _ := slices.BinarySearchFunc(s, window{hour: r[0]}, window.compare)
		for ; i < len(s) && s[i].hour < r[1]; i++ {
			out = append(out, [2]int64{s[i].hour, int64(s[i].number)})
		}
	}
	return out
}

// count notes a pointer that threshold members have found. An hour counts once its
// first row does; corrections that are available by then count with it.
func (d *device) count(p *pointer) {
	switch {
	case p.kind == kindPersonDay:
		d.daily.Add(24*p.index, 24*p.index+24)
	case p.kind != kindRow:
	case p.correction == 0:
		d.countable.Add(p.index, p.index+1)
	default:
		d.corrected.add(p.window())
	}
}
