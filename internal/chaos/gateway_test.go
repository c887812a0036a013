package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	ledgerstate "github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/gateway"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/fabric"
	"github.com/vitalveil/vitalveil/network/index"
)

// victimFile is given to the process that TestGatewayKilledMidBatchOnFabric kills
// again and again: a gateway on a Fabric network.
const victimFile = "VITALVEIL_TEST_GATEWAY"

// victim is what that process needs to know.
type victim struct {
	Dir     string         `json:"dir"`     // the gateway's
	Network string         `json:"network"` // the directory of the Fabric network
	Genesis record.Genesis `json:"genesis"`
}

// TestGatewayVictim is no test of its own: it is the gateway that is killed.
func TestGatewayVictim(t *testing.T) {
	path := os.Getenv(victimFile)
	if path == "" {
		return
	}
	data, err := os.ReadFile(path)
	w := newWorld(t, "")
	w.ok(err)
	var v victim
	w.ok(json.Unmarshal(data, &v))
	w.profile, err = fabric.LoadProfile(v.Network)
	w.ok(err)
	blobs, err := blob.Open(filepath.Join(v.Dir, "blobs"))
	w.ok(err)
	gw, err := gateway.New(gateway.Config{
		Genesis: v.Genesis, Client: w.connect(association), Blobs: blobs, Dir: v.Dir, Index: index.New(),
	})
	w.ok(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.ok(err)
	fmt.Printf("listening %s\n", l.Addr())
	t.Fatal(http.Serve(l, gw.Handler()))
}

// victimProcess is the gateway as the test sees it.
type victimProcess struct {
	*exec.Cmd
	url string
}

func (w *world) startVictim(file string) *victimProcess {
	w.Helper()
	p := &victimProcess{Cmd: exec.Command(w.self(), "-test.run=^TestGatewayVictim$")}
	p.Env = append(os.Environ(), victimFile+"="+file)
	out, err := p.StdoutPipe()
	w.ok(err)
	w.ok(p.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if address, ok := strings.CutPrefix(lines.Text(), "listening "); ok {
			p.url = "http://" + address
			return p
		}
	}
	w.Fatal("the gateway did not start")
	return nil
}

// end kills the process at once: nothing is flushed on the way out.
func (p *victimProcess) end() {
	_ = p.Process.Kill()
	_ = p.Wait()
}

// accepted is an upload that the gateway has taken.
type accepted struct {
	person *person
	op     *api.Operation
	first  int64
}

// uploadHours is how many pointers one upload has.
const uploadHours = 50

// upload hands in the same hours of everybody and returns what was accepted; the
// gateway may be killed meanwhile.
func (w *world) upload(url string, people []*person, from int64) []accepted {
	var mu sync.Mutex
	var out []accepted
	var wg sync.WaitGroup
	for _, p := range people {
		var rows []record.BlobRow
		for h := from; h < from+uploadHours; h++ {
			row := record.RandomID()
			rows = append(rows, record.BlobRow{Hour: h, Row: row[:]})
		}
		blob, pointers := p.device.Rows(rows...)
		wg.Go(func() {
			c := api.NewClient(url, channel, &api.Signer{Party: api.DeviceParty(p.device.ID), Key: p.device.Key})
			defer c.Close()
			op, err := c.Upload(context.Background(), p.device.ID, [][]byte{blob}, pointers)
			if err != nil {
				return // not accepted: nothing was promised
			}
			mu.Lock()
			out = append(out, accepted{p, op, from})
			mu.Unlock()
		})
	}
	wg.Wait()
	return out
}

// A gateway is killed while batches of 500 pointers are on their way to Fabric,
// again and again: after its last start everything that it ever accepted is
// anchored, each pointer by one transaction.
func TestGatewayKilledMidBatchOnFabric(t *testing.T) {
	w := onFabric(t, "raft1")
	people := w.enrol(20)
	w.Tick((firstHour + 5000) * hour)
	dir := t.TempDir()
	file := filepath.Join(dir, "victim.json")
	data, err := json.Marshal(victim{Dir: dir, Network: w.dir, Genesis: w.Genesis})
	w.ok(err)
	w.ok(state.WriteFile(file, data))

	var all []accepted
	at := firstHour
	for range size(2, 25) {
		p := w.startVictim(file)
		all = append(all, w.upload(p.url, people, at)...)
		at += uploadHours
		time.Sleep(rand.N(600 * time.Millisecond)) // into the batches, wherever they are
		p.end()
	}
	p := w.startVictim(file)
	defer p.end()
	w.settled(p.url, all)
	w.anchoredOnce(all)
}

// settled waits until the gateway says that every upload is anchored.
func (w *world) settled(url string, all []accepted) {
	w.Helper()
	if len(all) == 0 {
		w.Fatal("the gateway was always killed before it accepted anything")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	repeats := 0
	for _, a := range all {
		c := api.NewClient(url, channel, &api.Signer{Party: api.DeviceParty(a.person.device.ID), Key: a.person.device.Key})
		op, err := c.Wait(ctx, a.op)
		c.Close()
		w.ok(err)
		for i, item := range op.Items {
			if item.Outcome == record.Repeated {
				repeats++
			} else if item.Outcome != record.Anchored {
				w.Errorf("pointer %d of an accepted upload: %+v", i, item)
			}
		}
	}
	w.Logf("%d uploads of %d pointers accepted; %d pointers had got through before a kill", len(all), uploadHours, repeats)
}

// anchoredOnce reads the chain: every accepted pointer was written, by one valid
// transaction.
func (w *world) anchoredOnce(all []accepted) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := w.connect(hospitalB, fabric.WithPeers(hospitalB))
	height := w.height(ctx, w.connect(association))
	w.ok(c.Await(ctx, height-1))
	writes := map[string]int{}
	for b, err := range c.Blocks(ctx, 0) {
		w.ok(err)
		for _, tx := range b.Txs {
			countPointers(writes, tx)
		}
		if b.Number == height-1 {
			break
		}
	}
	for _, a := range all {
		for h := a.first; h < a.first+uploadHours; h++ {
			key := ledgerstate.PointerKey(record.Pointer{Device: a.person.device.ID, Kind: record.KindRow, Index: h})
			if writes[key] != 1 {
				w.Errorf("hour %d of device %s was anchored %d times", h, a.person.device.ID.Short(), writes[key])
			}
		}
	}
}

func countPointers(writes map[string]int, tx network.Tx) {
	for _, one := range tx.Writes {
		if kind, _, err := ledgerstate.ParseKey(one.Key); err == nil && kind == ledgerstate.KindPointer {
			writes[one.Key]++
		}
	}
}

func (w *world) height(ctx context.Context, c *fabric.Client) uint64 {
	h, err := c.Height(ctx)
	w.ok(err)
	return h
}
