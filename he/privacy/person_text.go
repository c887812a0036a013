package privacy

import (
	"fmt"
	"math"
	"strings"
)

// Text is the release in lines for people: each figure with its 95 % interval.
func (r PersonRelease) Text() string {
	var b strings.Builder
	line := func(name string, f *PersonFigure, scale float64, unit string) {
		if f != nil {
			fmt.Fprintf(&b, "%-12s %s\n", name, f.text(scale, unit))
		}
	}
	fmt.Fprintf(&b, "%-12s %d, on %d days\n", "people", r.People, r.Days)
	line("person-days", &r.PersonDays, 1, "")
	line("mean", r.Mean, 1, r.Unit)
	if p := r.Population; p != nil {
		sd := (p[1] - p[0]) / 4
		fmt.Fprintf(&b, "%-12s %s to %s %s, of all whom these people stand for\n", "", Round(p[0], sd), Round(p[1], sd), r.Unit)
	}
	line("spread", r.Spread, 1, r.Unit)
	line("below", r.Below, 100, "% of minutes")
	line("within", r.Within, 100, "% of minutes")
	line("above", r.Above, 100, "% of minutes")
	line("5 % minute", r.Low, 1, r.Unit)
	line("95 % minute", r.High, 1, r.Unit)
	if h := r.Histogram; h != nil {
		line("median", h.Median, 1, r.Unit)
		for i, n := range h.Counts {
			fmt.Fprintf(&b, "  %7s..%-7s %s\n", h.Edges[i], h.Edges[i+1], bar(n, r.PersonDays.Value, h.SD))
		}
	}
	if r.Mean != nil && !r.Exact {
		fmt.Fprintf(&b, "worth as much as an exact answer about %.0f people\n", math.Floor(r.WorthOf))
	}
	return b.String()
}

// text is a figure with its interval, each as exact as the noise deserves.
func (f PersonFigure) text(scale float64, unit string) string {
	sd := f.SD * scale
	out := Round(f.Value*scale, sd)
	if sd > 0 {
		out = fmt.Sprintf("%s (%s to %s)", out, Round(f.CI95[0]*scale, sd), Round(f.CI95[1]*scale, sd))
	}
	if unit != "" {
		out += " " + unit
	}
	if f.TooNoisy {
		out += ": too noisy"
	}
	return out
}

// bar is a count of people as a number and a bar.
func bar(n, all, sd float64) string {
	const width = 40
	length := 0
	if all > 0 {
		length = int(math.Round(min(n/all, 1) * width))
	}
	return strings.TrimRight(fmt.Sprintf("%8s %s", Round(n, sd), strings.Repeat("#", length)), " ")
}
