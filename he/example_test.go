package he_test

import (
	"fmt"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// Two devices seal an hour each. Anybody may add the rows; three pieces, of which each of
// three members lacks one, open the sum and nothing else.
func Example() {
	sharing := consortium.Must(he.NewSharing(3, 2))
	p := consortium.Must(he.New(he.DefaultProfile(), privacy.V1(), sharing))
	network := he.Context{Network: "example"}
	hour := he.Window{Hour: 482136}
	heartRate, _ := wearable.ByKey("heart_rate")
	coeffs := p.Schema().MetricCoefficients(heartRate.Slot)

	sum := consortium.Must(p.NewSum(coeffs))
	secrets := make([]he.KeySum, sharing.Pieces())
	for piece := range secrets {
		secrets[piece] = p.NewKeySum()
	}
	for _, rate := range []int64{60, 80} {
		code, _ := heartRate.Code(rate)
		stats := consortium.Must(p.Schema().Stats(heartRate, []uint16{code}))
		device, seeds := record.RandomID(), make([]he.Seed, sharing.Pieces())
		for piece := range seeds {
			seeds[piece] = he.NewSeed()
			_ = secrets[piece].Add(p.Expand(network, device, piece, seeds[piece]))
		}
		key := consortium.Must(p.NewDeviceKey(network, device, seeds))
		row := consortium.Must(p.Seal(network, key, hour, consortium.Must(p.Schema().Row(map[int]privacy.HourStats{heartRate.Slot: stats}))))
		_ = sum.Add(row)
	}

	shares := map[int][]byte{}
	for piece, secret := range secrets {
		product := consortium.Must(p.KeyProduct(network, coeffs, []he.KeyGroup{{Windows: []he.Window{hour}, Secret: secret}}))
		shares[piece] = consortium.Must(p.Share(he.NewPieceKey(), he.ShareRequest{
			Network: network.Network, Query: "q", Piece: piece, CohortRoot: record.RandomID(), Slot: heartRate.Slot, Coeffs: coeffs, Rows: sum.Rows(),
		}, product))
	}
	totals := consortium.Must(p.Schema().Decode(heartRate.Slot, consortium.Must(p.Open(sum, shares))))
	mean := float64(p.Schema().Center(heartRate.Slot)) + float64(totals.Sum)/float64(totals.N)
	fmt.Printf("%d readings, mean %g /min\n", totals.N, mean)
	_, err := p.Open(sum, map[int][]byte{0: shares[0], 1: shares[1]})
	fmt.Println("with two pieces:", err != nil)
	// Output:
	// 2 readings, mean 70 /min
	// with two pieces: true
}
