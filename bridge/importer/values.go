package importer

import (
	"math"
	"math/big"
	"strconv"
	"time"

	"github.com/vitalveil/vitalveil/wearable"
)

// scale is a conversion: value * factor + offset.
type scale struct{ factor, offset *big.Rat }

var (
	same       = scale{big.NewRat(1, 1), new(big.Rat)}
	hundred    = scale{big.NewRat(100, 1), new(big.Rat)}
	sixty      = scale{big.NewRat(60, 1), new(big.Rat)}
	perMmol    = scale{big.NewRat(180_156, 10_000), new(big.Rat)} // mg/dL of glucose for each mmol/L
	fahrenheit = scale{big.NewRat(5, 9), big.NewRat(-160, 9)}
	kelvin     = scale{big.NewRat(1, 1), big.NewRat(-27_315, 100)}
	perKPa     = scale{big.NewRat(1_000_000_000_000, 133_322_387_415), new(big.Rat)} // mmHg
)

// of converts a value; false where it needs more digits than there are.
func (s scale) of(d wearable.Decimal) (wearable.Decimal, bool) {
	if s == same {
		return d, true
	}
	r := d.Rat()
	r.Mul(r, s.factor).Add(r, s.offset)
	if out, ok := wearable.DecimalFromRat(r); ok && out.Finite() {
		return out, true
	}
	micro := new(big.Rat).Mul(r, big.NewRat(1_000_000, 1))
	if micro.Num().BitLen() > 100 || micro.Denom().BitLen() > 100 {
		return d, false
	}
	return wearable.NewDecimal(wearable.RoundHalfAway(micro), 6)
}

// decimal reads a numeral as programs print it, with an exponent perhaps.
func decimal(text string) (wearable.Decimal, bool) {
	if d, err := wearable.ParseDecimal(text); err == nil {
		return d, true
	}
	if len(text) > 64 {
		return wearable.Decimal{}, false
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return wearable.Decimal{}, false
	}
	return float(f)
}

// float is the shortest numeral that is the same double, which is what was written.
func float(f float64) (wearable.Decimal, bool) {
	if math.IsNaN(f) || math.Abs(f) >= 1e15 {
		return wearable.Decimal{}, false
	}
	d, err := wearable.ParseDecimal(strconv.FormatFloat(f, 'f', -1, 64))
	if err != nil { // more digits than anybody measures
		d, err = wearable.ParseDecimal(strconv.FormatFloat(f, 'f', 9, 64))
	}
	return d, err == nil
}

// secondsOf is a time in Unix seconds, exact to the millisecond; false outside of the years
// 1980 to 2200, in which wearables are.
func secondsOf(t time.Time) (wearable.Decimal, bool) { return millis(t.UnixMilli()) }

func millis(ms int64) (wearable.Decimal, bool) {
	if ms < 315_532_800_000 || ms > 7_258_118_400_000 {
		return wearable.Decimal{}, false
	}
	return wearable.NewDecimal(ms, 3)
}
