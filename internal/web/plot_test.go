package web_test

import (
	"encoding/xml"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/internal/web"
)

var (
	means = web.Intervals("Means of <people>", []web.Interval{
		{Name: "heart rate", Unit: "/min", Low: 40, High: 130, Value: 77.5, Noise: [2]float64{73, 82}, Population: &[2]float64{71, 84}, Text: "77.5 +- 4.5"},
		{Name: "glucose", Unit: "mg/dL", Low: 40, High: 280, Text: "too noisy", TooNoisy: true},
	})
	columns = web.Columns("People by heart rate", "/min", strings.Split("40 51 56 61 65", " "), []float64{2, 9.5, 0, 30}, 11)
)

// drawing is the SVG of the first plot on a page.
func drawing(t *testing.T, p web.Plot) (string, string) {
	t.Helper()
	body := render(web.Page{Title: "x", Sections: []web.Section{{Plots: []web.Plot{p}}}}).Body.String()
	svg := regexp.MustCompile(`(?s)<svg class="plot".*?</svg>`).FindString(body)
	if svg == "" {
		t.Fatal("the page has no plot")
	}
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); err == io.EOF {
			return svg, body
		} else if err != nil {
			t.Fatalf("%v\n%s", err, svg)
		}
	}
}

func attribute(t *testing.T, svg, class, name string) []float64 {
	t.Helper()
	var all []float64
	for _, m := range regexp.MustCompile(`<\w+ class="`+class+`"[^>]* `+name+`="([-\d.]+)%?"`).FindAllStringSubmatch(svg, -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

func near(a, b float64) bool { return a-b < 0.051 && b-a < 0.051 }

func TestAnIntervalIsDrawnWhereItIs(t *testing.T) {
	svg, body := drawing(t, means)
	x, w := attribute(t, svg, "veil", "x"), attribute(t, svg, "veil", "width")
	if len(x) != 1 || !near(x[0], 100*33./90) || !near(w[0], 10) {
		t.Errorf("noise from %v, %v wide, of one figure", x, w)
	}
	if a, b := attribute(t, svg, "people", "x1"), attribute(t, svg, "people", "x2"); len(a) != 3 || !near(a[0], 100*31./90) || !near(b[0], 100*44./90) {
		t.Errorf("the population from %v to %v", a, b)
	}
	if strings.Contains(svg, "style=") || strings.Contains(svg, "<people>") {
		t.Error("styles, or text that is not escaped")
	}
	for _, want := range []string{"<th scope=\"row\">glucose</th><td>too noisy</td><td></td>", "73.0 to 82.0", "71.0 to 84.0", "<desc>heart rate 77.5"} {
		if !strings.Contains(strings.ReplaceAll(body, "&#43;", "+"), want) {
			t.Errorf("the page lacks %q\n%s", want, body)
		}
	}
}

func TestColumnsShowPeopleAndNoise(t *testing.T) {
	svg, body := drawing(t, columns)
	bars, veils := attribute(t, svg, "bar", "height"), attribute(t, svg, "veil", "height")
	if len(bars) != 4 || !near(bars[3], 160*30./41) || bars[2] != 0 || !near(veils[3], 160*22./41) || !near(veils[0], 160*13./41) {
		t.Errorf("bars of %v, noise of %v", bars, veils)
	}
	if !strings.Contains(body, "<td>30</td><td>19 to 41</td>") || !strings.Contains(svg, "between 61 and 65") {
		t.Error(body)
	}
	exact, _ := drawing(t, web.Columns("x", "/min", []string{"0", "1"}, []float64{0}, 0))
	if strings.Contains(exact, "veil") {
		t.Error("exact columns have noise")
	}
}
