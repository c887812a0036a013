package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/vitalveil/vitalveil/he/privacy"
)

func contenders() []contender {
	const alone = "whoever holds the key, alone"
	return []contender{
		{name: "Vitalveil `he`", trust: "any 2 of 3", arrival: true, whole: true, new: newSealed},
		{name: "PRF masks, AES-256", trust: "any 2 of 3", whole: true, new: newMasks},
		{name: "BGV, threshold key switching", trust: "any 2 of 3", new: newCollective},
		{name: "Paillier-2048, per value", trust: alone, new: newPaillier(2048, false)},
		{name: "Paillier-2048, packed", trust: alone, new: newPaillier(2048, true)},
		{name: "Paillier-3072, per value", trust: alone, new: newPaillier(3072, false)},
		{name: "Paillier-3072, packed", trust: alone, new: newPaillier(3072, true)},
		{name: "Prio3 SumVec", trust: "both of 2, verified ranges", arrival: true, new: newPrioSums},
		{name: "Prio3 Histogram, per reading", trust: "both of 2, verified ranges", arrival: true, buckets: true, new: newPrioBuckets},
	}
}

func matches(name, part string) bool {
	return strings.Contains(strings.ToLower(name), strings.ToLower(part))
}

// report writes the tables as markdown.
func report(readings []reading, hours int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s/%s, %s, one core, CPU time.\n\n", processor(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	values := privacy.V1().Slots() * valuesPerMetric
	fmt.Fprintf(&b, "A device-hour is nine metrics of %d values, %d in all.\n\n", valuesPerMetric, values)
	fmt.Fprintln(&b, "| scheme | opens | sent, per value | sent, per device-hour | device, per value | device, per device-hour | servers on arrival, per device-hour |")
	fmt.Fprintln(&b, "|---|---|---|---|---|---|---|")
	for _, r := range readings {
		arrival := "none"
		if r.arrival {
			arrival = timeText(r.receive)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", r.name, r.trust,
			bytesText(float64(r.sent)/float64(values)), bytesText(float64(r.sent)),
			timeText(r.seal/time.Duration(values)), timeText(r.seal), arrival)
	}
	fmt.Fprintf(&b, "\nA query about one metric and %d hours: CPU time of all parties together, from stored\nmessages to the opened sum. `~` is extrapolated in proportion to the devices.\n\n", hours)
	fmt.Fprint(&b, "| scheme |")
	for _, n := range sizes {
		fmt.Fprintf(&b, " %d devices |", n)
	}
	fmt.Fprintf(&b, " per device-hour | memory of a query |\n%s\n", strings.Repeat("|---", len(sizes)+3)+"|")
	for _, r := range readings {
		row := func(name string, t []timing) {
			fmt.Fprintf(&b, "| %s |", name)
			for _, x := range t {
				fmt.Fprintf(&b, " %s |", x)
			}
			last := t[len(t)-1].took / time.Duration(hours*sizes[len(t)-1])
			fmt.Fprintf(&b, " %s | %s |\n", timeText(last), bytesText(float64(r.memory)))
		}
		if r.again != nil {
			row(r.name+", key sum at hand", r.again)
			row(r.name+", with a year's part of enrolment", r.amortised())
			row(r.name+", cold", r.first)
			continue
		}
		row(r.name, r.first)
	}
	return b.String()
}

// amortised adds to a query with the cohort's sums at hand its part of what made
// them: a device's pieces are expanded and added once, when it enrols, and then serve
// one query a day for a year.
func (r reading) amortised() []timing {
	var all []timing
	for i, t := range r.again {
		once := max(0, r.first[i].took-t.took)
		all = append(all, timing{t.took + once/365, t.measured && r.first[i].measured})
	}
	return all
}

func (t timing) String() string {
	if t.measured {
		return timeText(t.took)
	}
	return "~" + timeText(t.took)
}

// timeText prints three digits.
func timeText(d time.Duration) string {
	switch ns := float64(d.Nanoseconds()); {
	case ns >= 3600e9:
		return fmt.Sprintf("%.3g h", ns/3600e9)
	case ns >= 600e9:
		return fmt.Sprintf("%.3g min", ns/60e9)
	case ns >= 1e9:
		return fmt.Sprintf("%.3g s", ns/1e9)
	case ns >= 1e6:
		return fmt.Sprintf("%.3g ms", ns/1e6)
	case ns >= 1e3:
		return fmt.Sprintf("%.3g us", ns/1e3)
	default:
		return fmt.Sprintf("%.0f ns", ns)
	}
}

func bytesText(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.3g MB", n/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.3g kB", n/1e3)
	case n >= 100:
		return fmt.Sprintf("%.0f B", n)
	default:
		return fmt.Sprintf("%.1f B", n)
	}
}

// processor names the CPU where the system says it.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return "unknown processor"
}
