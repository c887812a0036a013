package bridge_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vitalveil/vitalveil/bridge"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	kit "github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// A hub takes readings and seals hours without its gateway; Hub.Sync brings to the ledger
// what is sealed, once there is one.
func Example() {
	dir := kit.Must(os.MkdirTemp("", "hub"))
	defer os.RemoveAll(dir)
	genesis := record.Genesis{
		Network: "example", Clock: record.ClockSimulated, Threshold: 2, Profile: he.DefaultProfile().Name, Schema: privacy.V1().Digest(),
	}
	for _, msp := range kit.MSPs {
		genesis.Members = append(genesis.Members, kit.Must(he.NewMemberKeys()).Enter(record.Member{
			MSP: msp, Name: msp, SignKey: kit.Public(kit.NewKey()),
		}))
	}
	hub, err := bridge.Open(bridge.Config{Dir: filepath.Join(dir, "state"), Genesis: genesis, GatewayURL: "http://127.0.0.1:1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer hub.Close()

	const firstHour = 482136
	device, _, err := hub.NewDevice(record.SumID([]byte("patient")), []string{"heart_rate"}, firstHour)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	at := wearable.Int(firstHour * 3600)
	readings := []bridge.Reading{{Metric: "heart_rate", Time: at, Value: wearable.Int(60)}, {Metric: "heart_rate", Time: at, Value: wearable.Int(4000)}}
	out, err := device.PushFrom(ctx, "strap", bridge.Position{}, readings)
	fmt.Printf("%+v %v\n", out, err)
	_, err = device.PushFrom(ctx, "strap", bridge.Position{}, readings) // the answer was lost
	fmt.Println(err)
	err = device.Advance(ctx, (firstHour+2)*3600)
	sealed, _ := device.Progress()
	waiting, _ := device.Waiting()
	fmt.Println(sealed-firstHour, "hours sealed,", waiting, "rows wait for the ledger", err)
	// Output:
	// {Gridded:1 OutOfRange:1 Counted:0 Late:0 Repeated:0 Outranked:0 Crowded:0} <nil>
	// the source is not at this position: 2 of its readings are taken, and this continues after 0
	// 2 hours sealed, 2 rows wait for the ledger <nil>
}
