package institution

import "testing"

func TestPrivacyLossIsReadExactlyOrRefused(t *testing.T) {
	for text, want := range map[string]rho{"0": 0, "0.5": 500_000, "3": 3_000_000, "2.5": 2_500_000, "0.000001": 1, "1e-3": 1000, "1000": 1_000_000_000} {
		var r rho
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("%s is %d (%v), want %d", text, r, err, want)
		}
	}
	for _, text := range []string{"", "NaN", "inf", "-inf", "-1", "0.0000001", "1001", "1e9", "1e999999999", "x", "0.1.2", "1000000000000000000000"} {
		var r rho
		if err := r.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken as %d", text, r)
		}
	}
}
