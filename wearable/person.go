package wearable

import (
	"slices"
)

// Person is how one person's day of a metric enters statistics about people: the
// ranges that a day's figures are clipped to, the clinical limits and the histogram
// of day means. All bounds are inclusive and in units of the metric's resolution;
// PersonJSON has them as decimals.
type Person struct {
	// Low and High bound a day's mean; Centre lies where people's means lie, not in
	// the middle, because noise grows with the distance from it.
	Low, High, Centre int64
	// LimitLow and LimitHigh are the clinical limits: a minute is within, below or
	// above them.
	LimitLow, LimitHigh int64
	// Least is how many minutes with a reading make a day.
	Least int
	// Edges bound the buckets of day means as Metric.Edges do those of minutes.
	Edges [Buckets + 1]int64
	// LowMin..LowMax holds a day's 5 % minute, HighMin..HighMax its 95 % minute.
	LowMin, LowMax, HighMin, HighMax int64
	// Print is the half interval of a mean that is still worth printing.
	Print int64
	// Spread is a plausible standard deviation between people, for planning alone.
	Spread int64
}

// persons is the table, by slot. Ranges hold the means of nearly all adults, in
// hospital and out of it: of 489 people in intensive care (PhysioNet, Challenge 2012)
// they cut off less than one day in a hundred, but for glucose, two. Sources of the
// limits, and of where people's means lie:
//
//   - heart and pulse rate, respiratory rate, body temperature, the lower limit of
//     systolic pressure: the values that score 0 in NEWS2 (Royal College of Physicians,
//     National Early Warning Score 2, 2017). Means: Quer et al., PLoS ONE 15 (2020)
//     e0227709; Natarajan et al., npj Digital Medicine 4 (2021) 136; Geneva et al., Open
//     Forum Infectious Diseases 6 (2019) ofz032.
//   - oxygen saturation: NEWS2 scores 3 at 91 % and below; the range reaches down to the
//     88 % that the British Thoracic Society aims at where carbon dioxide is retained
//     (O'Driscoll et al., Thorax 72 Suppl 1, 2017).
//   - blood pressure: hypertension at home begins at 135/85 (European Society of
//     Cardiology, European Heart Journal 45 (2024) 3912); below 60 diastolic is the
//     customary limit of hypotension.
//   - glucose: time in range, 70 to 180 mg/dL (Battelino et al., Diabetes Care 42 (2019)
//     1593).
//   - skin temperature: no source; 30 to 36 Cel covers means at the wrist and is a
//     convention of ours.
//
// The guidelines were read in secondary copies. Least counts follow what devices
// send, not medicine: a day here is weaker than what guidelines call one. A clinical
// limit is an edge of the buckets.
var persons = [...]Person{
	heartRatePerson,
	heartRatePerson,
	{
		Low: 5, High: 33, Centre: 18, LimitLow: 12, LimitHigh: 20, Least: 5, Print: 1, Spread: 4,
		Edges:  [...]int64{5, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 23, 25, 28, 33},
		LowMin: 1, LowMax: 25, HighMin: 10, HighMax: 60,
	},
	{
		Low: 850, High: 1000, Centre: 950, LimitLow: 920, LimitHigh: 1000, Least: 5, Print: 8, Spread: 20,
		Edges:  [...]int64{850, 880, 900, 910, 920, 930, 940, 945, 950, 955, 960, 965, 970, 975, 980, 990, 1000},
		LowMin: 600, LowMax: 1000, HighMin: 850, HighMax: 1000,
	},
	{
		Low: 345, High: 395, Centre: 370, LimitLow: 361, LimitHigh: 380, Least: 1, Print: 2, Spread: 6,
		Edges:  [...]int64{345, 350, 355, 361, 363, 365, 366, 367, 368, 369, 370, 372, 375, 378, 381, 385, 395},
		LowMin: 320, LowMax: 390, HighMin: 350, HighMax: 420,
	},
	{
		Low: 240, High: 380, Centre: 320, LimitLow: 300, LimitHigh: 360, Least: 5, Print: 6, Spread: 15,
		Edges:  [...]int64{240, 260, 280, 290, 300, 305, 310, 315, 320, 325, 330, 335, 340, 345, 350, 361, 380},
		LowMin: 150, LowMax: 370, HighMin: 270, HighMax: 400,
	},
	{
		Low: 70, High: 180, Centre: 125, LimitLow: 91, LimitHigh: 134, Least: 1, Print: 5, Spread: 18,
		Edges:  [...]int64{70, 91, 97, 103, 108, 112, 116, 120, 124, 129, 135, 140, 146, 152, 160, 170, 180},
		LowMin: 50, LowMax: 170, HighMin: 80, HighMax: 240,
	},
	{
		Low: 30, High: 110, Centre: 70, LimitLow: 60, LimitHigh: 84, Least: 1, Print: 4, Spread: 11,
		Edges:  [...]int64{30, 40, 46, 51, 55, 60, 63, 66, 70, 74, 78, 81, 85, 90, 95, 102, 110},
		LowMin: 10, LowMax: 100, HighMin: 40, HighMax: 150,
	},
	{
		Low: 40, High: 280, Centre: 140, LimitLow: 70, LimitHigh: 180, Least: 1, Print: 12, Spread: 40,
		Edges:  [...]int64{40, 54, 70, 80, 90, 97, 104, 111, 118, 126, 135, 145, 160, 181, 210, 240, 280},
		LowMin: 40, LowMax: 240, HighMin: 70, HighMax: 450,
	},
}

var heartRatePerson = Person{
	Low: 40, High: 130, Centre: 82, LimitLow: 51, LimitHigh: 90, Least: 5, Print: 4, Spread: 13,
	Edges:  [...]int64{40, 51, 56, 61, 65, 69, 73, 77, 81, 85, 91, 96, 101, 106, 111, 120, 130},
	LowMin: 30, LowMax: 110, HighMin: 50, HighMax: 210,
}

// Person returns how a person's day of the metric is summed up; false for a metric of
// things, which has no statistics about people.
func (m Metric) Person() (Person, bool) {
	if m.Slot >= len(persons) {
		return Person{}, false
	}
	return persons[m.Slot], true
}

// Vital tells whether the metric is of people: only those enter sealed rows, consents
// and cohorts. A metric of things is committed to alone.
func (m Metric) Vital() bool { return m.Slot < len(persons) }

// Vitals returns the metrics of people, sorted by slot: those that have a Person.
func Vitals() []Metric { return slices.Clone(table[:len(persons)]) }

// PersonDay is one person's day of one metric, in units of the metric's resolution,
// clipped to the metric's ranges.
type PersonDay struct {
	// Mean is that of the day's minutes, rounded half away from zero.
	Mean int64
	// Low and High are the 5 % and the 95 % minute: of n minutes in ascending order
	// those that floor((n-1)/20) are before, or behind. Single extremes are mostly
	// artefacts.
	Low, High int64
	// Below, Within and Above are the thousandths of the minutes that lie so beside
	// the clinical limits; they add up to 1000.
	Below, Within, Above int64
	// Bucket is the bucket of the mean.
	Bucket int
}

// PersonDay sums up a day's column; false where the day has too few minutes, or the
// metric is one of things. It is a short list of integer operations: sum, count,
// compare, one rounded division for the mean and two for the shares.
func (m Metric) PersonDay(c *Column) (PersonDay, bool) {
	p, ok := m.Person()
	if !ok || c == nil {
		return PersonDay{}, false
	}
	values := make([]int64, 0, MinutesPerDay)
	var sum, below, above int64
	for _, code := range c {
		if code == 0 {
			continue
		}
		v := m.Units(code)
		values = append(values, v)
		sum += v
		if v < p.LimitLow {
			below++
		}
		if v > p.LimitHigh {
			above++
		}
	}
	n := int64(len(values))
	if n < int64(p.Least) {
		return PersonDay{}, false
	}
	slices.Sort(values)
	tail := (n - 1) / 20
	d := PersonDay{
		Mean: clip(roundDiv(sum, n), p.Low, p.High),
		Low:  clip(values[tail], p.LowMin, p.LowMax),
		High: clip(values[n-1-tail], p.HighMin, p.HighMax),
	}
	// Rounded cumulatively: each alone could add up to more than 1000.
	d.Below = roundDiv(1000*below, n)
	d.Within = roundDiv(1000*(n-above), n) - d.Below
	d.Above = 1000 - d.Below - d.Within
	d.Bucket = bucketOf(p.Edges, d.Mean)
	return d, true
}

// clip moves v into low..high.
func clip(v, low, high int64) int64 { return min(max(v, low), high) }

// roundDiv is a/b rounded half away from zero, for b > 0.
func roundDiv(a, b int64) int64 {
	if a < 0 {
		return -roundDiv(-a, b)
	}
	return (2*a + b) / (2 * b)
}

// bucketOf is the bucket of a value that the edges span.
func bucketOf(edges [Buckets + 1]int64, v int64) int {
	bucket := 0
	for bucket < Buckets-1 && v >= edges[bucket+1] {
		bucket++
	}
	return bucket
}

// personJSON is the stable form of a Person under `vitalveil metrics --json`.
type personJSON struct {
	Min       Decimal              `json:"min"`
	Max       Decimal              `json:"max"`
	Centre    Decimal              `json:"centre"`
	LimitLow  Decimal              `json:"limit_low"`
	LimitHigh Decimal              `json:"limit_high"`
	Least     Decimal              `json:"least"`
	Edges     [Buckets + 1]Decimal `json:"edges"`
	LowMin    Decimal              `json:"low_min"`
	LowMax    Decimal              `json:"low_max"`
	HighMin   Decimal              `json:"high_min"`
	HighMax   Decimal              `json:"high_max"`
	Print     Decimal              `json:"print"`
}

// personJSON returns nil for a metric of things.
func (m Metric) personJSON() *personJSON {
	p, ok := m.Person()
	if !ok {
		return nil
	}
	v := m.Value
	j := &personJSON{
		Min: v(p.Low), Max: v(p.High), Centre: v(p.Centre), LimitLow: v(p.LimitLow), LimitHigh: v(p.LimitHigh), Least: Int(int64(p.Least)),
		LowMin: v(p.LowMin), LowMax: v(p.LowMax), HighMin: v(p.HighMin), HighMax: v(p.HighMax), Print: v(p.Print),
	}
	for i, e := range p.Edges {
		j.Edges[i] = v(e)
	}
	return j
}
