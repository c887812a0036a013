package chaos

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/fabric"
	"github.com/vitalveil/vitalveil/network/fabric/launch"
	"github.com/vitalveil/vitalveil/network/fabric/launch/launchtest"
)

func TestMain(m *testing.M) { launchtest.Main(m) }

const (
	hospitalA   = consortium.HospitalA
	hospitalB   = consortium.HospitalB
	association = consortium.Association
	channel     = "vitalveil"

	firstHour = int64(consortium.StartHour)
	hour      = int64(3600)
)

// world is a ledger of three members with the real contracts.
type world struct {
	*consortium.Consortium
	fabric  *launch.Network // nil on the embedded ledger
	profile fabric.Profile
	dir     string // of the ledger
}

func soaking() bool { return os.Getenv("VITALVEIL_SOAK") != "" }

// size is small, or large where tests may take long.
func size(small, large int) int {
	if soaking() {
		return large
	}
	return small
}

func newWorld(t testing.TB, dir string) *world {
	return &world{dir: dir, Consortium: consortium.New(t, func(g *record.Genesis) {
		g.Network, g.Gateways, g.CapMicro, g.PredicateSlot, g.PredicateLife = channel, []string{}, 3_000_000, 60, 600
	})}
}

// onFabric starts a Fabric network that ends with the test.
func onFabric(t testing.TB, orderers string) *world {
	t.Helper()
	launchtest.Build(t)
	dir, err := os.MkdirTemp("", "vv") // sockets have short names
	w := newWorld(t, filepath.Join(dir, "network"))
	w.ok(err)
	t.Cleanup(func() { w.ok(os.RemoveAll(dir)) })
	w.fabric = launchtest.Up(t, launch.Options{Dir: w.dir, Orderers: orderers, Chaincode: launchtest.Serves(t, launchtest.Contracts)})
	w.profile, err = w.fabric.Profile()
	w.ok(err)
	for _, msp := range consortium.MSPs {
		w.Clients[msp] = w.connect(msp)
		w.Details.Serve(w, fabric.KeySocket(w.dir, msp))
	}
	w.Begin()
	return w
}

// connect makes a client of a member that is closed with the test.
func (w *world) connect(msp string, opts ...fabric.Option) *fabric.Client {
	w.Helper()
	org, err := w.profile.Org(msp)
	w.ok(err)
	id, err := network.LoadIdentity(org.IdentityDir)
	w.ok(err)
	c, err := fabric.Connect(w.profile, id, opts...)
	w.ok(err)
	w.Cleanup(func() { w.ok(c.Close()) })
	return c
}

// onEmbedded opens an embedded ledger, with synced writes.
func onEmbedded(t testing.TB) *world {
	t.Helper()
	w := newWorld(t, t.TempDir())
	w.Open(w.dir)
	w.Begin()
	return w
}

func (w *world) ok(err error) {
	w.Helper()
	w.OK(err)
}

func (w *world) self() string {
	self, err := os.Executable()
	w.ok(err)
	return self
}

// person is a patient with one device.
type person struct {
	*consortium.Patient
	device *consortium.Device
}

// enrol makes n patients with a device each, several at once.
func (w *world) enrol(n int) []*person {
	w.Helper()
	people := make([]*person, n)
	var g errgroup.Group
	g.SetLimit(32)
	for i := range people {
		g.Go(func() error {
			p := w.Patient()
			people[i] = &person{p, p.NewDevice(firstHour, "heart_rate").Enrol()}
			return nil
		})
	}
	w.ok(g.Wait())
	return people
}

// batches makes n full batches of new pointers, each over all people, from an
// hour on; it returns the first hour that is free.
func (w *world) batches(people []*person, from int64, n int) ([]record.Anchor, int64) {
	out := make([]record.Anchor, n)
	next := 0
	for i := range out {
		for range record.MaxBatch {
			out[i].Pointers = append(out[i].Pointers, people[next%len(people)].device.Row(from+int64(next/len(people)), 0))
			next++
		}
	}
	return out, from + int64((next+len(people)-1)/len(people))
}

// consent is version 1 of a person's consent for a hospital.
func (w *world) consent(p *person, grantee string) consent.Document {
	return p.Document(grantee, func(d *consent.Document) {
		d.DataFrom, d.DataUntil, d.NotBefore, d.Expires = firstHour, firstHour+1000, 0, (firstHour+1000)*hour
	})
}
