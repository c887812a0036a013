package claim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// MaxText bounds a sentence in bytes.
const MaxText = 1 << 10

// Parse reads a sentence as Text says it, and checks the claim. What is understood and
// said otherwise is refused with the sentence to use.
func (l *Language) Parse(text string) (Claim, error) {
	if len(text) > MaxText {
		return Claim{}, fmt.Errorf("a claim is a sentence of at most %d bytes", MaxText)
	}
	l.once.Do(l.compile)
	text = strings.TrimSuffix(strings.Join(strings.Fields(text), " "), ".")
	at := l.pattern.FindStringSubmatchIndex(text)
	if at == nil {
		return Claim{}, fmt.Errorf("this is no claim; one is: %q", l.example())
	}
	said := map[string]string{}
	for i, name := range l.slots {
		if from, to := at[2*i+2], at[2*i+3]; from >= 0 {
			said[name] = text[from:to]
		}
	}
	c, err := l.read(said)
	if err != nil {
		return Claim{}, err
	}
	if err := c.Check(); err != nil {
		return Claim{}, err
	}
	if c.Text(l) != text {
		return Claim{}, fmt.Errorf("a claim is said in one way; did you mean: %q", c.Text(l))
	}
	return c, nil
}

// example is a claim that everybody understands.
func (l *Language) example() string {
	m, _ := wearable.ByKey("heart_rate")
	b := verifier.Unbounded()
	b.Lo, b.Hi, b.K, b.DayK, b.HourMask = 31, 71, 400, 6, 0xc0003f
	return Claim{Metric: m, Days: 7, FirstDay: 20089, Bounds: b}.Text(l)
}

// read makes a claim of what stood in the slots; what is not said is switched off.
func (l *Language) read(said map[string]string) (Claim, error) {
	c := Claim{Days: 1, Bounds: verifier.Unbounded()}
	for key, name := range l.Metrics {
		if name == said["metric"] {
			c.Metric, _ = wearable.ByKey(key)
		}
	}
	r := reader{l: l, m: c.Metric, said: said}
	b := &c.Bounds
	b.Lo, b.Hi = 1, uint32(c.Metric.MaxCode())
	var days uint32 = 1
	for name, n := range map[string]*uint32{
		"days": &days, "dayk": &b.DayK, "k": &b.K, "out": &b.OutMax, "count": &b.MinCount, "half": &b.MinHalf,
	} {
		r.number(name, n)
	}
	for name, code := range map[string]*uint32{"lo": &b.Lo, "hi": &b.Hi, "mean_lo": &b.MeanLo, "mean_hi": &b.MeanHi} {
		r.value(name, code)
	}
	r.difference("trend_lo", &b.TrendLo)
	r.difference("trend_hi", &b.TrendHi)
	r.hours(&b.HourMask)
	r.day(&c.FirstDay, &c.Anytime)
	c.Days = int(days)
	b.MinCount = max(b.K, b.MinCount)
	return c, r.err
}

// reader reads slots until one is wrong.
type reader struct {
	l    *Language
	m    wearable.Metric
	said map[string]string
	err  error
}

func (r *reader) number(name string, n *uint32) {
	if text, ok := r.said[name]; ok {
		v, err := strconv.ParseUint(text, 10, 32)
		r.err = errors.Join(r.err, err)
		*n = uint32(v)
	}
}

// units reads a value in steps of the metric's resolution.
func (r *reader) units(name string) (int64, bool) {
	text, ok := r.said[name]
	if !ok {
		return 0, false
	}
	d, err := wearable.ParseDecimal(strings.Replace(text, r.l.Point, ".", 1))
	if err != nil {
		r.err = errors.Join(r.err, err)
		return 0, false
	}
	steps := d.Rat()
	steps.Quo(steps, r.m.Resolution.Rat())
	if !steps.IsInt() || !steps.Num().IsInt64() {
		r.err = errors.Join(r.err, fmt.Errorf("%s is not a multiple of %s %s, the step in which this is kept", text, r.m.Resolution, r.m.UCUM))
		return 0, false
	}
	return steps.Num().Int64(), true
}

func (r *reader) value(name string, code *uint32) {
	units, ok := r.units(name)
	if !ok {
		return
	}
	c, ok := r.m.Code(units)
	if !ok {
		r.err = errors.Join(r.err, fmt.Errorf("%s is not between %s and %s %s, where values of this are", r.said[name], r.m.Min, r.m.Max, r.m.UCUM))
	}
	*code = uint32(c)
}

func (r *reader) difference(name string, biased *uint32) {
	units, ok := r.units(name)
	if most := int64(r.m.MaxCode()) - 1; ok && (units < -most || units > most) {
		r.err = errors.Join(r.err, fmt.Errorf("no two values of this are %s %s apart", r.said[name], r.m.UCUM))
	} else if ok {
		*biased = uint32(units + verifier.TrendBias)
	}
}

func (r *reader) hours(mask *uint32) {
	text, _, _ := strings.Cut(r.said["hours"], " UTC")
	*mask = 0
	for _, span := range strings.Split(text, r.l.And) {
		from, _ := strconv.Atoi(span[:2])
		to, _ := strconv.Atoi(span[6:8])
		if from >= to || to > 24 {
			r.err = errors.Join(r.err, fmt.Errorf("%s are no hours of a day", span))
			return
		}
		*mask |= (1<<to - 1) &^ (1<<from - 1)
	}
}

func (r *reader) day(first *int64, anytime *bool) {
	text, ok := r.said["first"]
	if *anytime = !ok; !ok {
		return
	}
	t, err := time.Parse(time.DateOnly, text)
	r.err = errors.Join(r.err, err)
	*first = wearable.FloorDiv(t.Unix(), 86400)
}
