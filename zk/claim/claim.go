package claim

import (
	"errors"
	"fmt"
	"math/big"
	"math/bits"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Claim is what is said about a metric over so many days in a row.
type Claim struct {
	Metric wearable.Metric
	Days   int
	// FirstDay is a Unix day. An Anytime claim is about any such days, as consents are.
	FirstDay int64
	Anytime  bool
	Bounds   record.Bounds
}

// Of is the claim of a question to a patient's device. It fails for a metric or class
// that there is not.
func Of(a record.AskPredicate) (Claim, error) {
	m, ok := wearable.ByKey(a.Metric)
	if !ok {
		return Claim{}, fmt.Errorf("no metric %.64q", a.Metric)
	}
	class, err := verifier.ClassByName(a.Class)
	if err != nil {
		return Claim{}, err
	}
	return Claim{Metric: m, Days: class.Days, FirstDay: a.FirstDay, Bounds: a.Bounds}, nil
}

// Sentence says the claim of a question, or that it is none.
func Sentence(a record.AskPredicate, l *Language) string {
	c, err := Of(a)
	if err == nil {
		err = c.Check()
	}
	if err != nil {
		return fmt.Sprintf("(no claim: %v)", err)
	}
	return c.Text(l)
}

// Ask is the question that asks for the claim, with everything else to be filled in. It
// fails where no circuit is about so many days.
func (c Claim) Ask() (record.AskPredicate, error) {
	if c.Anytime {
		return record.AskPredicate{}, errors.New("say which day it is about, or which the first is")
	}
	for _, class := range verifier.Classes() {
		if class.Days == c.Days {
			return record.AskPredicate{Class: class.Name, Metric: c.Metric.Key, FirstDay: c.FirstDay, Bounds: c.Bounds}, nil
		}
	}
	return record.AskPredicate{}, fmt.Errorf("no circuit proves claims about %d days", c.Days)
}

// Check refuses a claim that is malformed, that could hold without data, that says
// nothing about the readings, and that none could make true.
func (c Claim) Check() error {
	if !c.Anytime && (c.FirstDay < verifier.MinDay || c.FirstDay > verifier.MaxDay-int64(c.Days)+1) {
		return fmt.Errorf("first day %d is outside the years 1 to 9999", c.FirstDay)
	}
	return Check(c.Metric, c.Days, c.Bounds)
}

// Check is Claim.Check without a time: about bounds over so many days.
func Check(m wearable.Metric, days int, b record.Bounds) error {
	if err := verifier.CheckBounds(b, days, m); err != nil {
		return err
	}
	b = Canonical(m, b)
	if b.K == 0 && b.OutMax == verifier.OutMaxOff && !verifier.MeanBounded(b) && !verifier.TrendBounded(b) {
		return errors.New("the claim says nothing about the readings, only that there were some: bound how many lie within a range, their mean or their trend")
	}
	return contradiction(m, days, b)
}

// Canonical is the form of bounds that have one sentence: what is implied is written
// out, and what has no effect is switched off. The same days fulfil both.
func Canonical(m wearable.Metric, b record.Bounds) record.Bounds {
	most := uint32(m.MaxCode())
	b.MinCount = max(b.K, b.MinCount)
	if b.OutMax >= Minutes(b.HourMask) {
		b.OutMax = verifier.OutMaxOff
	}
	if b.Lo <= 1 && b.Hi >= most || b.K == 0 && b.OutMax == verifier.OutMaxOff {
		b.Lo, b.Hi, b.K, b.OutMax = 1, most, 0, verifier.OutMaxOff // nothing is outside, or may be anywhere
	}
	if b.MeanLo <= 1 {
		b.MeanLo = verifier.MeanLoOff
	}
	if b.MeanHi >= most {
		b.MeanHi = verifier.MeanHiOff
	}
	if b.TrendLo <= verifier.TrendBias-(most-1) {
		b.TrendLo = verifier.TrendLoOff
	}
	if b.TrendHi >= verifier.TrendBias+(most-1) {
		b.TrendHi = verifier.TrendHiOff
	}
	return b
}

// Minutes is how many minutes a day has in the hours of a mask.
func Minutes(mask uint32) uint32 { return 60 * uint32(bits.OnesCount32(mask)) }

// contradiction refuses canonical bounds whose parts exclude each other, whatever is
// measured. It looks at how far the minutes that are in range hold the mean, and the
// trend where none may be outside.
func contradiction(m wearable.Metric, days int, b record.Bounds) error {
	least, most := means(b, days, 1, b.Lo), means(b, days, int64(m.MaxCode()), b.Hi)
	low, high := int64(b.TrendLo)-verifier.TrendBias, int64(b.TrendHi)-verifier.TrendBias
	wide, all := int64(b.Hi)-int64(b.Lo), b.OutMax == 0 && int(b.DayK) == days
	switch {
	case b.MeanHi != verifier.MeanHiOff && least.Cmp(new(big.Rat).SetInt64(int64(b.MeanHi))) > 0:
		return errors.New("the mean cannot be so low where so many minutes are in the range")
	case most.Cmp(new(big.Rat).SetInt64(int64(b.MeanLo))) < 0:
		return errors.New("the mean cannot be so high where so many minutes are in the range")
	case all && verifier.TrendBounded(b) && (low > wide || high < -wide):
		return errors.New("the means of the halves cannot differ so much where no minute is outside the range")
	}
	return nil
}

// means is the outermost mean of codes that fulfils the counts: minutes that need not be
// in range are all at extreme, those that have to be are at edge.
func means(b record.Bounds, days int, extreme int64, edge uint32) *big.Rat {
	minutes := Minutes(b.HourMask)
	outside := int64(min(b.OutMax, minutes-b.K))
	inside := int64(max(b.K, b.MinCount-min(b.MinCount, uint32(outside))))
	free := (int64(days) - int64(b.DayK)) * int64(minutes)
	sum := int64(b.DayK)*(inside*int64(edge)+outside*extreme) + free*extreme
	return big.NewRat(sum, int64(b.DayK)*(inside+outside)+free)
}
