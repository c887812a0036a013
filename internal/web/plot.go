package web

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Plot is a drawing that the server makes: x in percent of the width and y in pixels, so
// that it serves every width and its text never shrinks. Colours come from classes alone.
// What it shows is also in its finding and its table.
type Plot struct {
	Title   string
	Finding string // what there is to see, for who does not see it
	Height  int
	Marks   []Mark
	Key     []KeyEntry
	Table   Table
}

// Mark is a rectangle (W and H), a line (to X2, Y2) or a text.
type Mark struct {
	Class        string
	X, Y         float64
	W, H, X2, Y2 float64
	Text         string
}

// Shape is the mark's element.
func (m Mark) Shape() string {
	switch {
	case m.Text != "":
		return "text"
	case m.W > 0 || m.H > 0:
		return "rect"
	}
	return "line"
}

// KeyEntry says what a class of marks stands for.
type KeyEntry struct{ Class, Text string }

var noiseKey = KeyEntry{"veil", "privacy noise, 95 %"}

// Interval is a figure with its intervals, on a scale of its own.
type Interval struct {
	Name, Unit string
	Low, High  float64 // ends of the scale
	Value      float64
	Noise      [2]float64  // what privacy noise leaves, 95 %
	Population *[2]float64 // noise and chance among people, 95 %; nil: unknown
	Text       string      // the figure in words
	TooNoisy   bool        // then it is not drawn
}

const (
	rowHeight = 62 // pixels of an interval
	barHeight = 160
)

// Intervals draws figures below each other, each with its name above its scale: noise as a
// shaded box, the population as a line with ends.
func Intervals(title string, rows []Interval) Plot {
	p := Plot{
		Title: title, Height: rowHeight*len(rows) + 4,
		Key:   []KeyEntry{{"dot", "mean of these people"}, noiseKey},
		Table: Table{Caption: title, Columns: []string{"metric", "mean", "privacy noise, 95 %", "people like these, 95 %", "unit"}},
	}
	var found []string
	for i, r := range rows {
		p.addInterval(r, float64(i*rowHeight))
		row := []string{r.Name, r.Text, between(r.Noise, r), "not known", r.Unit}
		if r.Population != nil {
			row[3] = between(*r.Population, r)
		}
		if r.TooNoisy {
			row[2], row[3] = "", ""
		}
		p.Table.Rows = append(p.Table.Rows, row)
		found = append(found, r.Name+" "+r.Text+" "+r.Unit)
	}
	if slices.ContainsFunc(rows, func(r Interval) bool { return r.Population != nil }) {
		p.Key = append(p.Key, KeyEntry{"people", "people like these, 95 %"})
	}
	p.Finding = strings.Join(found, "; ") + "."
	return p
}

func (p *Plot) addInterval(r Interval, top float64) {
	at := func(v float64) float64 { return 100 * min(max((v-r.Low)/(r.High-r.Low), 0), 1) }
	line := top + 38
	p.Marks = append(p.Marks, Mark{Class: "lt", X: 0, Y: top + 16, Text: fmt.Sprintf("%s: %s %s", r.Name, r.Text, r.Unit)},
		Mark{Class: "ax", X: 0, X2: 100, Y: line, Y2: line},
		Mark{Class: "lt", X: 0, Y: line + 18, Text: number(r.Low, 1)}, Mark{Class: "et", X: 100, Y: line + 18, Text: number(r.High, 1)})
	if r.TooNoisy {
		return
	}
	p.Marks = append(p.Marks, Mark{Class: "veil", X: at(r.Noise[0]), Y: line - 9, W: max(at(r.Noise[1])-at(r.Noise[0]), 0.2), H: 18})
	if r.Population != nil {
		a, b := at(r.Population[0]), at(r.Population[1])
		p.Marks = append(p.Marks, Mark{Class: "people", X: a, X2: b, Y: line, Y2: line},
			Mark{Class: "people", X: a, X2: a, Y: line - 6, Y2: line + 6}, Mark{Class: "people", X: b, X2: b, Y: line - 6, Y2: line + 6})
	}
	p.Marks = append(p.Marks, Mark{Class: "dot", X: max(at(r.Value)-0.3, 0), Y: line - 9, W: 0.6, H: 18})
}

func between(i [2]float64, r Interval) string {
	step := (r.High - r.Low) / 100
	return number(i[0], step) + " to " + number(i[1], step)
}

// number is v with as many decimals as a step needs.
func number(v, step float64) string {
	decimals := int(max(0, math.Ceil(-math.Log10(step))))
	return fmt.Sprintf("%.*f", decimals, v)
}

// Columns draws how many people are between each two edges, with what noise may have added
// to a column or taken from it; half is that, 0 where there is no noise.
func Columns(title, unit string, edges []string, counts []float64, half float64) Plot {
	p := Plot{Title: title, Height: barHeight + 50, Key: []KeyEntry{{"bar", "people"}}}
	p.Table = Table{Caption: title, Columns: []string{unit, "people", "between, with the noise"}}
	if half > 0 {
		p.Key = append(p.Key, noiseKey)
	}
	top, most := half+1, 0
	for i, c := range counts {
		top = max(top, c+half)
		if c > counts[most] {
			most = i
		}
		p.Table.Rows = append(p.Table.Rows, []string{edges[i] + " to " + edges[i+1], number(c, 1), fmt.Sprintf("%.0f to %.0f", math.Ceil(max(c-half, 0)), c+half)})
	}
	width := 100 / float64(len(counts))
	y := func(v float64) float64 { return 10 + barHeight*(1-v/top) }
	for i, c := range counts {
		x := width * float64(i)
		p.Marks = append(p.Marks, Mark{Class: "bar", X: x + width/10, Y: y(c), W: width * 0.8, H: barHeight + 10 - y(c)})
		if half > 0 {
			p.Marks = append(p.Marks, Mark{Class: "veil", X: x + width*0.38, Y: y(c + half), W: width * 0.24, H: y(max(c-half, 0)) - y(c+half)})
		}
	}
	p.Marks = append(p.Marks, Mark{Class: "ax", X: 0, X2: 100, Y: barHeight + 10, Y2: barHeight + 10},
		Mark{Class: "yt", X: 0, Y: 14, Text: number(top, 1)}, Mark{Class: "et", X: 100, Y: barHeight + 46, Text: unit})
	for i, e := range edges {
		x := width * float64(i)
		p.Marks = append(p.Marks, Mark{Class: "ax", X: x, X2: x, Y: barHeight + 10, Y2: barHeight + 15})
		if i%4 == 0 {
			p.Marks = append(p.Marks, Mark{Class: "t", X: x, Y: barHeight + 30, Text: e})
		}
	}
	p.Finding = fmt.Sprintf("Most people are between %s and %s %s.", edges[most], edges[most+1], unit)
	return p
}
