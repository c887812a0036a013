package gateway

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/index"
)

// victimDir is set in the process that TestAKilledGatewayLosesNothingAccepted
// kills: a gateway whose ledger is away.
const victimDir = "VITALVEIL_TEST_GATEWAY_DIR"

// TestVictim is no test of its own: it is the gateway that is killed.
func TestVictim(t *testing.T) {
	dir := os.Getenv(victimDir)
	if dir == "" {
		t.Skip("runs only as the gateway that another test kills")
	}
	device, err := os.ReadFile(filepath.Join(dir, "device.json"))
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blob.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	limitFiles(t)
	gw, err := New(Config{
		Genesis: record.Genesis{Network: "vitalveil-test"}, Client: victimLedger{device: device},
		Blobs: blobs, Dir: dir, Index: index.New(),
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("listening %s\n", l.Addr())
	t.Fatal(http.Serve(l, gw.Handler()))
}

// victimLedger knows one device and takes no transaction.
type victimLedger struct {
	network.Client
	device []byte
}

func (victimLedger) Submit(context.Context, network.Call) (network.Result, error) {
	return network.Result{}, fault.New(fault.Unavailable, "the ledger is away")
}

func (v victimLedger) Evaluate(_ context.Context, c network.Call) ([]byte, error) {
	if c.Function == contracts.RegistryGetDevice.Name() {
		return v.device, nil
	}
	return nil, fault.New(fault.Unavailable, "the ledger is away")
}

// victim starts a gateway in a process of its own, on the world's directory, that
// knows one device; environment is added to its own. It returns its address.
func (w *world) victim(d *device, environment ...string) (*exec.Cmd, string) {
	w.Helper()
	state, err := w.Clients[association].Evaluate(context.Background(), network.Call{Function: contracts.RegistryGetDevice.Name(), Args: []string{d.ID.String()}})
	w.ok(err)
	w.ok(os.WriteFile(filepath.Join(w.dir, "device.json"), state, 0o600))
	victim := exec.Command(os.Args[0], "-test.run=^TestVictim$")
	victim.Env = append(append(os.Environ(), victimDir+"="+w.dir), environment...)
	victim.Stderr = w.logged
	out, err := victim.StdoutPipe()
	w.ok(err)
	w.ok(victim.Start())
	w.Cleanup(func() {
		victim.Process.Kill()
		victim.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if address, ok := strings.CutPrefix(lines.Text(), "listening "); ok {
			return victim, "http://" + address
		}
	}
	w.Fatalf("the victim does not listen: %s", w.logged)
	return nil, ""
}

func TestAKilledGatewayLosesNothingAccepted(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d := w.device()
	w.advance(10 * 3600)
	w.stop() // the gateway of this process makes place
	victim, address := w.victim(d)
	c := api.NewClient(address, w.Genesis.Network, &api.Signer{Party: api.DeviceParty(d.ID), Key: d.Key})
	defer c.Close()
	var accepted []*api.Operation
	var blobs []record.ID
	for h := int64(startHour); h < startHour+5; h++ {
		data, pointers := d.rows(h, h+1)
		op, err := c.Upload(ctx, d.ID, [][]byte{data}, pointers)
		w.ok(err)
		accepted, blobs = append(accepted, op), append(blobs, record.SumID(data))
	}
	w.ok(victim.Process.Kill()) // at once: nothing is flushed on the way out
	victim.Wait()

	w.startGateway()
	for i, op := range accepted {
		if got := w.done(op, nil); got.Items[0].Outcome != record.Anchored {
			t.Errorf("upload %d: %+v", i, got.Items[0])
		}
		got, err := w.member(hospitalA).Blob(ctx, blobs[i])
		if err != nil || record.SumID(got) != blobs[i] {
			t.Errorf("blob %d: %v", i, err)
		}
	}
}

func TestClosingDoesNotWaitForAnAbsentLedger(t *testing.T) {
	w := newWorld(t)
	w.client.away()
	_, err := w.newPatient().post(context.Background())
	w.ok(err)
	begun := time.Now()
	w.stop()
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("closing took %s", took)
	}
}
