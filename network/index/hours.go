package index

import "sort"

// Hours is a set of Unix hours as sorted, disjoint, non-touching ranges
// [from, until). The zero value is empty. Two equal sets have equal ranges.
type Hours struct {
	ranges [][2]int64
}

// Ranges returns the ranges as they go into a cohort member; the caller may
// keep and change the result.
func (h *Hours) Ranges() [][2]int64 { return append([][2]int64(nil), h.ranges...) }

// Count returns the number of hours in the set.
func (h *Hours) Count() int64 {
	var n int64
	for _, r := range h.ranges {
		n += r[1] - r[0]
	}
	return n
}

// Empty reports whether no hour is in the set.
func (h *Hours) Empty() bool { return len(h.ranges) == 0 }

// Has reports whether hour is in the set.
func (h *Hours) Has(hour int64) bool {
	i := sort.Search(len(h.ranges), func(i int) bool { return h.ranges[i][1] > hour })
	return i < len(h.ranges) && h.ranges[i][0] <= hour
}

// Add puts [from, until) into the set; an empty range changes nothing. Adding
// the hour after the last, the usual case, is O(1).
func (h *Hours) Add(from, until int64) {
	if from >= until {
		return
	}
	n := len(h.ranges)
	if n == 0 || h.ranges[n-1][1] < from {
		h.ranges = append(h.ranges, [2]int64{from, until})
		return
	}
	// i: first range that touches or follows; j: first one wholly beyond.
	i := sort.Search(n, func(i int) bool { return h.ranges[i][1] >= from })
	j := sort.Search(n, func(j int) bool { return h.ranges[j][0] > until })
	if i == j {
		h.ranges = append(h.ranges, [2]int64{})
		copy(h.ranges[i+1:], h.ranges[i:])
		h.ranges[i] = [2]int64{from, until}
		return
	}
	merged := [2]int64{min(from, h.ranges[i][0]), max(until, h.ranges[j-1][1])}
	h.ranges[i] = merged
	h.ranges = append(h.ranges[:i+1], h.ranges[j:]...)
}

// AddAll puts every hour of ranges into the set.
func (h *Hours) AddAll(ranges [][2]int64) {
	for _, r := range ranges {
		h.Add(r[0], r[1])
	}
}

// Within returns the hours of the set inside [from, until).
func (h *Hours) Within(from, until int64) [][2]int64 {
	var out [][2]int64
	if from >= until {
		return nil
	}
	i := sort.Search(len(h.ranges), func(i int) bool { return h.ranges[i][1] > from })
	for ; i < len(h.ranges) && h.ranges[i][0] < until; i++ {
		out = append(out, [2]int64{max(from, h.ranges[i][0]), min(until, h.ranges[i][1])})
	}
	return out
}

// Touches reports whether the set and ranges have an hour in common.
func (h *Hours) Touches(ranges [][2]int64) bool {
	for _, r := range ranges {
		i := sort.Search(len(h.ranges), func(i int) bool { return h.ranges[i][1] > r[0] })
		if r[0] < r[1] && i < len(h.ranges) && h.ranges[i][0] < r[1] {
			return true
		}
	}
	return false
}
