package wearable

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func dec(t testing.TB, s string) Decimal {
	t.Helper()
	d, err := ParseDecimal(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestPlainNumeralsAreReadExactly(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "-0": "0", "0.0": "0", "97": "97", "-17.8": "-17.8", "0.023065": "0.023065", "36.40": "36.4", "100.000": "100",
		"999999999999999999": "999999999999999999", "0.000000000000000001": "0.000000000000000001", "-12345678.9012345678": "-12345678.9012345678",
	} {
		if got := dec(t, in).String(); got != want {
			t.Errorf("%q reads as %q, want %q", in, got, want)
		}
	}
}

func TestEverythingElseIsRefused(t *testing.T) {
	for _, in := range []string{
		"", "-", ".", ".5", "5.", "+1", "1e3", "1E3", "01", "-007", " 1", "1 ", "1_0", "0x1", "1,5", "NaN", "inf", "--1", "1.2.3", "1.-2",
		"1000000000000000000", "0.0000000000000000001", "12345678901.23456789", "٣", strings.Repeat("0", 100),
	} {
		if d, err := ParseDecimal(in); !errors.Is(err, ErrDecimal) {
			t.Errorf("%q was read as %v (%v)", in, d, err)
		}
	}
}

func TestDecimalsCompareAsNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) Decimal {
			coef := rapid.Int64Range(1-1e18, 1e18-1).Draw(t, name)
			d, ok := NewDecimal(coef, rapid.IntRange(0, 18).Draw(t, name+" scale"))
			if !ok {
				t.Fatalf("%d was refused", coef)
			}
			if rapid.IntRange(0, 3).Draw(t, name+" divided") == 0 {
				divided, ok := DecimalFromRat(new(big.Rat).Quo(d.Rat(), big.NewRat(9, 1)))
				if ok {
					d = divided
				}
			}
			return d
		}
		a, b := draw("a"), draw("b")
		if got, want := a.Cmp(b), a.Rat().Cmp(b.Rat()); got != want {
			t.Fatalf("%v against %v is %d, want %d", a, b, got, want)
		}
		if (a == b) != (a.Rat().Cmp(b.Rat()) == 0) {
			t.Fatalf("== on %v and %v is not equality of numbers", a, b)
		}
		if back, ok := DecimalFromRat(a.Rat()); !ok || back != a {
			t.Fatalf("%v comes back as %v", a, back)
		}
		if a.Finite() {
			if back, err := ParseDecimal(a.String()); err != nil || back != a {
				t.Fatalf("%v reads back as %v, %v", a, back, err)
			}
		}
	})
}

func TestMinutesAreFloors(t *testing.T) {
	for in, want := range map[string]int64{"-1": -1, "-0.001": -1, "0": 0, "59.999": 0, "60": 1, "-60": -1, "-60.5": -2, "1735689600.25": 28928160} {
		if got := dec(t, in).FloorDiv(60); got != want {
			t.Errorf("minute of %s is %d, want %d", in, got, want)
		}
	}
	if dec(t, "5").FloorDiv(0) != 0 {
		t.Error("division by zero")
	}
}

func TestExtremesDoNotOverflow(t *testing.T) {
	for _, coef := range []int64{math.MinInt64, math.MaxInt64, 1e18, -1e18} {
		if d, ok := NewDecimal(coef, 1); ok && coef%10 != 0 {
			t.Errorf("%d/10 was accepted as %v", coef, d)
		}
	}
	if _, ok := NewDecimal(1, -18); ok {
		t.Error("10^18 has 19 digits and was accepted")
	}
	if d, ok := NewDecimal(0, -100000); !ok || d != (Decimal{}) {
		t.Error("zero has no digits, whatever the exponent")
	}
	if d, ok := NewDecimal(0, 100000); !ok || d != (Decimal{}) {
		t.Error("zero has no digits, whatever the exponent")
	}
	if Int(math.MaxInt64) != Int(1e18-1) || Int(math.MinInt64) != Int(1-1e18) {
		t.Error("Int does not clamp")
	}
	huge := new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), 600))
	if _, ok := DecimalFromRat(huge); ok {
		t.Error("2^600 was accepted")
	}
}

func TestDecimalsAreJSONStrings(t *testing.T) {
	var d Decimal
	if err := json.Unmarshal([]byte(`"-17.8"`), &d); err != nil {
		t.Fatal(err)
	}
	if out, err := json.Marshal(d); err != nil || string(out) != `"-17.8"` {
		t.Fatalf("written as %s, %v", out, err)
	}
	if err := json.Unmarshal([]byte(`"667/18"`), &d); err == nil {
		t.Fatal("a fraction was read")
	}
}

func FuzzParseDecimal(f *testing.F) {
	for _, seed := range []string{"0", "-17.8", "0.023065", "1e3", "999999999999999999", "-.5", "00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDecimal(s)
		if err != nil {
			return
		}
		want, ok := new(big.Rat).SetString(s)
		if !ok || d.Rat().Cmp(want) != 0 {
			t.Fatalf("%q was read as %v", s, d)
		}
	})
}
