package wearable

import (
	"bytes"
	"errors"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func minute(t testing.TB, metric string, samples ...string) *Accumulator {
	t.Helper()
	a, ok := NewAccumulator(metric)
	if !ok {
		t.Fatalf("no metric %s", metric)
	}
	for _, s := range samples {
		a.Add(dec(t, s))
	}
	return a
}

func TestAMinuteIsTheRoundedMean(t *testing.T) {
	cases := []struct {
		name, metric string
		samples      []string
		want         string
		n, dropped   int
	}{
		{"nothing", "heart_rate", nil, "", 0, 0},
		{"one sample", "heart_rate", []string{"60"}, "60", 1, 0},
		{"half rounds up", "heart_rate", []string{"60", "61"}, "61", 2, 0},
		{"just below half rounds down", "heart_rate", []string{"60.4999999"}, "60", 1, 0},
		{"half of a tenth", "body_temp", []string{"36.65"}, "36.7", 1, 0},
		{"thirds", "body_temp", []string{"36.6", "36.7", "36.7"}, "36.7", 3, 0},
		{"no binary rounding", "body_temp", []string{"36.05", "36.25"}, "36.2", 2, 0},
		{"out of range is dropped", "heart_rate", []string{"19.999", "20", "220.001", "0"}, "20", 1, 3},
		{"the bounds are in range", "heart_rate", []string{"20", "220"}, "120", 2, 0},
		{"many digits", "spo2", []string{"97.0499999999999999", "97.0500000000000001"}, "97.1", 2, 0},
		{"many digits, just below", "spo2", []string{"97.0499999999999999", "97.05"}, "97", 2, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := minute(t, c.metric, c.samples...)
			code, n := a.Code()
			got := ""
			if code != 0 {
				got = a.Metric().Value(a.Metric().Units(code)).String()
			}
			if got != c.want || n != c.n || a.Dropped() != c.dropped {
				t.Fatalf("mean %q of %d, %d dropped; want %q of %d, %d dropped", got, n, a.Dropped(), c.want, c.n, c.dropped)
			}
		})
	}
}

func TestFractionsEnterTheMeanExactly(t *testing.T) {
	// Three times 98.7 [degF] is 111 1/6 Cel, so the mean is 37.0555...: 37.1. With
	// 36.9444... (98.5 [degF]) added the mean is 37 and not a rounding of parts.
	a := minute(t, "body_temp")
	for _, raw := range []byte{0xdb, 0xd9} {
		n, err := Decode(UUIDTemperature, []byte{1, raw, 3, 0, 0xff})
		if err != nil || !a.Add(n.Readings[0].Value) {
			t.Fatalf("%v, %v", n, err)
		}
	}
	if code, _ := a.Code(); a.Metric().Units(code) != 370 {
		t.Fatalf("mean is %d tenths", a.Metric().Units(code))
	}
}

func TestTheMeanAgreesWithRationalArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SampledFrom(Metrics()).Draw(t, "metric")
		a, _ := NewAccumulator(m.Key)
		sum, n := new(big.Rat), int64(0)
		for range rapid.IntRange(0, 20).Draw(t, "samples") {
			scale := rapid.IntRange(0, 14).Draw(t, "scale")
			limit := 700 * pow10[scale]
			v, _ := NewDecimal(rapid.Int64Range(-limit/10, limit).Draw(t, "coef"), scale)
			if rapid.Bool().Draw(t, "ninths") {
				if w, ok := DecimalFromRat(new(big.Rat).Mul(v.Rat(), fiveNinths)); ok {
					v = w
				}
			}
			if a.Add(v) {
				sum.Add(sum, v.Rat())
				n++
			} else if v.Rat().Cmp(m.Min.Rat()) >= 0 && v.Rat().Cmp(m.Max.Rat()) <= 0 {
				t.Fatalf("%v was dropped", v)
			}
			a = stored(t, a)
		}
		code, count := a.Code()
		if int64(count) != n || (n == 0) != (code == 0) {
			t.Fatalf("code %d of %d samples, want %d", code, count, n)
		}
		if n == 0 {
			return
		}
		// |units - mean| <= 1/2, and a tie goes away from zero.
		mean := sum.Quo(sum, new(big.Rat).Mul(new(big.Rat).SetInt64(n), m.Resolution.Rat()))
		off := new(big.Rat).Sub(new(big.Rat).SetInt64(m.Units(code)), mean)
		if mean.Sign() < 0 {
			off.Neg(off)
		}
		half := big.NewRat(1, 2)
		if off.Cmp(half) > 0 || off.Cmp(new(big.Rat).Neg(half)) <= 0 {
			t.Fatalf("mean %v units became %d", mean, m.Units(code))
		}
	})
}

// stored passes an accumulator through its stored form.
func stored(t interface{ Fatal(...any) }, a *Accumulator) *Accumulator {
	data, err := a.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	b := new(Accumulator)
	if err := b.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundingIsAwayFromZero(t *testing.T) {
	for _, c := range []struct{ num, den, want int64 }{{1, 2, 1}, {-1, 2, -1}, {3, 2, 2}, {-3, 2, -2}, {2, 5, 0}, {-2, 5, 0}, {7, 1, 7}, {-7, 3, -2}} {
		if got := RoundHalfAway(big.NewRat(c.num, c.den)); got != c.want {
			t.Errorf("%d/%d rounds to %d, want %d", c.num, c.den, got, c.want)
		}
	}
}

func TestAnUnknownMetricHasNoMinute(t *testing.T) {
	if a, ok := NewAccumulator("sao2"); ok || a != nil {
		t.Fatal("sao2 has an accumulator")
	}
	var zero Accumulator
	if zero.Add(Int(60)) || zero.Dropped() != 1 {
		t.Fatal("an accumulator without a metric took a sample")
	}
	if code, n := zero.Code(); code != 0 || n != 0 {
		t.Fatal("an accumulator without a metric has a code")
	}
	if _, err := zero.MarshalBinary(); !errors.Is(err, ErrGrid) {
		t.Fatal("an accumulator without a metric was stored")
	}
}

func TestAttackStoredMinuteCannotCarryAnImpossibleMean(t *testing.T) {
	good, err := minute(t, "heart_rate", "60", "60.00000001").MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func([]byte) []byte{
		"version":        func(b []byte) []byte { b[0]++; return b },
		"slot":           func(b []byte) []byte { b[1] = 9; return b },
		"no samples":     func(b []byte) []byte { b[5] = 0; return b },
		"more samples":   func(b []byte) []byte { b[5] = 200; return b },
		"sum":            func(b []byte) []byte { b[10] = 0x7F; return b },
		"huge exponent":  func(b []byte) []byte { return append(b[:accumulatorHead], "1e999999999/1"...) },
		"unreduced":      func(b []byte) []byte { return append(b[:accumulatorHead], "60/2"...) },
		"hex remainder":  func(b []byte) []byte { return append(b[:accumulatorHead], "0x3c/1"...) },
		"zero divisor":   func(b []byte) []byte { return append(b[:accumulatorHead], "1/0"...) },
		"half a header":  func(b []byte) []byte { return b[:accumulatorHead-1] },
		"trailing bytes": func(b []byte) []byte { return append(b, ' ') },
		"far too long":   func(b []byte) []byte { return append(b, bytes.Repeat([]byte{'1'}, 1<<12)...) },
	} {
		a := new(Accumulator)
		if err := a.UnmarshalBinary(change(bytes.Clone(good))); !errors.Is(err, ErrGrid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzAccumulator(f *testing.F) {
	for _, samples := range [][]string{nil, {"60"}, {"60", "60.123456789"}} {
		data, err := minute(f, "heart_rate", samples...).MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a := new(Accumulator)
		if a.UnmarshalBinary(data) != nil {
			return
		}
		code, n := a.Code()
		if n > 0 && (code == 0 || code > a.Metric().MaxCode()) {
			t.Fatalf("code %d of %d samples", code, n)
		}
		again, err := a.MarshalBinary()
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("stored form is not unique: %x became %x, %v", data, again, err)
		}
	})
}

func BenchmarkAccumulatorAdd(b *testing.B) {
	a := minute(b, "spo2")
	v := dec(b, "97.5")
	for b.Loop() {
		a.count = 0
		a.Add(v)
	}
}
