package zk_test

import (
	"fmt"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// A device commits a day and keeps what opens it. Whether a claim about it holds it knows
// at once; Keys.Prove makes the proof that verifier checks against the root alone.
func ExampleHolds() {
	heartRate, _ := wearable.ByKey("heart_rate")
	day := wearable.Day{Number: 20089}
	for minute := range 60 {
		code, _ := heartRate.Code(60)
		_ = day.Set(heartRate.Slot, minute, code)
	}
	root, opening, err := zk.CommitDay(&day)
	if err != nil {
		fmt.Println(err)
		return
	}
	digest, _ := verifier.DataDigest([]record.ID{root})
	binding := verifier.Binding("example", "request", record.RandomID(), record.RandomID(), 1735776000, record.RandomID())
	claim := verifier.Statement{Binding: binding, DataDigest: digest, Slot: heartRate.Slot, FirstDay: day.Number, Bounds: verifier.Unbounded()}
	lo, _ := heartRate.Code(50)
	hi, _ := heartRate.Code(90)
	claim.Lo, claim.Hi, claim.MinCount = uint32(lo), uint32(hi), 1
	for _, minutes := range []uint32{60, 61} {
		claim.K = minutes
		holds, err := zk.Holds(claim, []*zk.Opening{opening})
		fmt.Printf("%d minutes between 50 and 90: %v %v\n", minutes, holds, err)
	}
	fmt.Println(opening)
	// Output:
	// 60 minutes between 50 and 90: true <nil>
	// 61 minutes between 50 and 90: false <nil>
	// [opening]
}
