package wearable_test

import (
	"fmt"

	"github.com/vitalveil/vitalveil/wearable"
)

// A notification becomes readings, and the readings of a minute become a code of
// the grid.
func Example() {
	minute, _ := wearable.NewAccumulator("spo2")
	for _, payload := range []string{"0061005d00", "00cff3a4f2", "00ff07ff07"} {
		raw, err := wearable.ParsePayload(payload)
		if err != nil {
			fmt.Println(err)
			return
		}
		n, err := wearable.Decode(wearable.UUIDContinuousOximetry, raw)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, r := range n.Readings {
			if r.Metric == "spo2" {
				minute.Add(r.Value)
			}
		}
		fmt.Println(n.Readings, n.Drops)
	}
	code, n := minute.Code()
	m := minute.Metric()
	fmt.Println("code", code, "of", n, "samples:", m.Value(m.Units(code)), m.UCUM)
	// Output:
	// [{spo2 97} {pulse_rate 93}] []
	// [{spo2 97.5} {pulse_rate 67.6}] []
	// [] [spo2 NaN pulse_rate NaN]
	// code 474 of 2 samples: 97.3 %
}
