package privacy

import (
	"fmt"
	"slices"
	"strings"
)

// Want is the figures that a query about person-days asks. What is not asked is
// neither opened nor paid for.
type Want uint8

// The figures. Spread brings the mean, Limits the share within them.
const (
	WantMean         Want = 1 << iota // mean of person-days
	WantSpread                        // their standard deviation
	WantWithin                        // share of minutes within the clinical limits
	WantLimits                        // shares below and above them
	WantRange                         // means of the days' 5 % and 95 % minutes
	WantDistribution                  // histogram of means, median and quartiles
)

var wantNames = []string{"mean", "spread", "within", "limits", "range", "distribution"}

// WantAll is every figure.
const WantAll = WantMean | WantSpread | WantWithin | WantLimits | WantRange | WantDistribution

// ParseWant reads figures by name, separated by commas.
func ParseWant(text string) (Want, error) {
	var w Want
	for name := range strings.SplitSeq(text, ",") {
		i := slices.Index(wantNames, name)
		if i < 0 {
			return 0, fmt.Errorf("%q is no figure: there are %s", name, strings.Join(wantNames, ", "))
		}
		if w.has(1 << i) {
			return 0, fmt.Errorf("%s is there twice", name)
		}
		w |= 1 << i
	}
	return w, nil
}

// String names the figures as ParseWant reads them.
func (w Want) String() string {
	var names []string
	for i, name := range wantNames {
		if w.has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// MarshalText is String.
func (w Want) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText is ParseWant.
func (w *Want) UnmarshalText(text []byte) error {
	v, err := ParseWant(string(text))
	*w = v
	return err
}

func (w Want) has(f Want) bool { return w&f != 0 }

// check refuses what names no figure.
func (w Want) check() error {
	if w == 0 || w > WantAll {
		return fmt.Errorf("a query about persons asks at least one of %s", strings.Join(wantNames, ", "))
	}
	return nil
}

// shares splits the privacy loss. Of a mean alone, the count gets a sixth: its noise
// enters times the distance of the mean from the centre, which is small because the
// centre lies where means do, so 1:5 is within 4 % of the best split. Mean and spread
// share evenly, which is within 12 % of what any Gaussian noise could reach, correlated
// or not. Anything more gets one part each: even parts are near the best for any
// weighting of the figures. A histogram alone needs no count.
func (w Want) shares() []share {
	switch w {
	case WantMean:
		return []share{{KindN, 1}, {KindSum, 5}}
	case WantDistribution:
		return []share{{KindBucket, 1}}
	}
	all := []share{{KindN, 1}}
	for _, f := range []struct {
		want  Want
		kinds []Kind
	}{
		{WantMean | WantSpread, []Kind{KindSum}},
		{WantSpread, []Kind{KindSumSq}},
		{WantWithin | WantLimits, []Kind{KindWithin}},
		{WantLimits, []Kind{KindOutside}},
		{WantRange, []Kind{KindLow, KindHigh}},
		{WantDistribution, []Kind{KindBucket}},
	} {
		if w.has(f.want) {
			for _, k := range f.kinds {
				all = append(all, share{k, 1})
			}
		}
	}
	return all
}
