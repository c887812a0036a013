package fabric_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/cmd/institution"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/fabric"
	"github.com/vitalveil/vitalveil/network/fabric/launch"
	"github.com/vitalveil/vitalveil/network/fabric/launch/launchtest"
	"github.com/vitalveil/vitalveil/network/index"
	role "github.com/vitalveil/vitalveil/network/institution"
	organisation "github.com/vitalveil/vitalveil/network/site"
)

// site is three members on a Fabric network whose contracts and institutions run as
// processes of their own, with a gateway in this process, each on a directory of its own.
type site struct {
	*testing.T
	net     *launch.Network
	options launch.Options
	dir     string // of institutions, gateway and blobs
	genesis record.Genesis
	told    *consortium.Consortium // the members, as those who enrol patients know them
	members []*seat
	blobs   *blob.Store
	url     string
	stopAll func()
	now     int64
	height  uint64 // when everything was stopped last
	people  []*subject
}

// seat is a member.
type seat struct {
	msp     string
	dir     string // of its institution
	keys    organisation.Keys
	client  *fabric.Client
	process *exec.Cmd // its institution, if it runs
}

// subject is a patient with the consents that the test alone remembers.
type subject struct {
	*consortium.Patient
	consent []consent.Signed
}

func must[T any](v T, err error) T { return consortium.Must(v, err) }

func (c *site) ok(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "vv") // sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := &site{T: t, dir: dir, now: 20089 * 86400}
	c.options = launch.Options{Dir: filepath.Join(dir, "fabric"), Chaincode: launchtest.Serves(t, launchtest.Contracts)}
	c.net = launchtest.Up(t, c.options)
	c.found()
	c.blobs = must(blob.Open(filepath.Join(dir, "blobs")))
	t.Cleanup(func() { c.ok(c.blobs.Close()) })
	c.start(0)
	t.Cleanup(func() { c.stopAll() })
	return c
}

// found makes every member's keys and configuration, and the network's document, with the
// commands.
func (c *site) found() {
	c.Helper()
	msps, listen := []string{ownOrg, otherOrg, association}, map[string]string{}
	for _, msp := range msps {
		l := must(net.Listen("tcp", "127.0.0.1:0"))
		listen[msp] = l.Addr().String()
		defer l.Close()
	}
	document := filepath.Join(c.dir, "network.json")
	together := []string{
		"network", "--name", channel, "--out", document, "--registrar", association, "--cap", "5", "--clock", record.ClockSimulated, "--life", "3600",
	}
	for _, msp := range msps {
		s := &seat{msp: msp, dir: filepath.Join(c.dir, msp)}
		init := []string{"init", "--dir", s.dir, "--msp", msp, "--network", document, "--listen", listen[msp], "--fabric", c.net.Dir(), "--blobs", filepath.Join(c.dir, "blobs")}
		for _, other := range msps {
			if other != msp {
				init = append(init, "--member", other+"="+listen[other])
			}
		}
		c.ok(c.institution(s, init...).Run())
		s.keys = must(organisation.LoadKeys(s.dir))
		c.members = append(c.members, s)
		together = append(together, filepath.Join(s.dir, organisation.MemberFile))
	}
	c.ok(c.institution(c.members[2], together...).Run())
	c.genesis = must(organisation.Descriptor(document)).Genesis
	keys := map[string]*ecdsa.PrivateKey{}
	for _, s := range c.members {
		keys[s.msp] = s.keys.Sign
	}
	c.told = consortium.Of(c.T, c.genesis, keys)
}

// institution is the command of this name in a process of its own. What it prints is
// in a file that is searched like all others.
func (c *site) institution(s *seat, args ...string) *exec.Cmd {
	c.Helper()
	cmd := exec.Command(must(os.Executable()), append([]string{institutionWord}, args...)...)
	log := must(os.OpenFile(filepath.Join(c.dir, s.msp+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600))
	c.Cleanup(func() { log.Close() })
	cmd.Stdout, cmd.Stderr = log, log
	return cmd
}

// run starts a member's institution and waits until it has read the whole ledger.
func (c *site) run(s *seat) {
	c.Helper()
	s.process = c.institution(s, "run", "--dir", s.dir)
	c.ok(s.process.Start())
	var status institution.Status
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := organisation.Control{Role: "institution", Dir: s.dir}.Call(c.Context(), "status", struct{}{}, &status)
		if err == nil && status.Ready {
			return
		}
		if time.Now().After(deadline) {
			c.Fatalf("the institution of %s is not ready: %+v, %v; it has said:\n%s", s.msp, status, err, must(os.ReadFile(filepath.Join(c.dir, s.msp+".log"))))
		}
	}
}

// end stops a member's institution, if it runs, with a signal.
func (c *site) end(s *seat, how os.Signal) {
	c.Helper()
	if s.process == nil {
		return
	}
	err := s.process.Process.Signal(how)
	if ended := s.process.Wait(); err != nil || ended != nil && how != os.Kill {
		c.Errorf("the institution of %s: %v, %v", s.msp, err, ended)
	}
	s.process = nil
}

// start connects and runs every member and the gateway, once every peer has as many
// blocks; stopAll ends them.
func (c *site) start(least uint64) {
	c.Helper()
	p := must(fabric.LoadProfile(c.net.Dir()))
	for _, s := range c.members {
		org := must(p.Org(s.msp))
		s.client = must(fabric.Connect(p, must(network.LoadIdentity(org.IdentityDir)), fabric.WithPeers(s.msp)))
	}
	for _, s := range c.members {
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
			height, err := s.client.Height(c.Context())
			if err == nil && height >= least {
				break
			}
			if time.Now().After(deadline) {
				c.Fatalf("%s is at height %d of %d: %v", s.msp, height, least, err)
			}
		}
	}
	for _, s := range c.members {
		c.run(s)
	}
	if least == 0 {
		for i := range c.members {
			c.submit(i, contracts.ClockTick, record.Tick{Time: c.now})
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var ended []chan error
	background := func(f func() error) {
		done := make(chan error, 1)
		ended = append(ended, done)
		go func() { done <- f() }()
	}
	last, ix := c.members[2], index.New()
	background(func() error {
		for b, err := range last.client.Blocks(ctx, 0) {
			if err == nil {
				err = ix.Apply(b)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	gw := must(gateway.New(gateway.Config{
		Genesis: c.genesis, Client: last.client, Blobs: c.blobs, Dir: filepath.Join(c.dir, "gateway"), Index: ix,
	}))
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	c.url = "http://" + l.Addr().String()
	background(func() error { return gw.Serve(ctx, l) })
	c.stopAll = func() {
		if height, err := c.members[0].client.Height(context.Background()); err == nil { // not at the end of a test that failed
			c.height = height
		}
		cancel()
		for _, done := range ended {
			if err := <-done; err != nil {
				c.Error(err)
			}
		}
		c.ok(gw.Close())
		for _, s := range c.members {
			c.end(s, syscall.SIGTERM)
			c.ok(s.client.Close())
		}
		c.stopAll = func() {}
	}
}

func (c *site) submit(member int, m contracts.Method, doc any) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
	defer cancel()
	_, err := network.SubmitRetry(ctx, c.members[member].client, network.Call{Function: m.Name(), Args: []string{string(must(json.Marshal(doc)))}})
	if err != nil {
		c.Fatalf("%s: %v", m, err)
	}
}

func (c *site) as(p *subject) *api.Client {
	return api.NewClient(c.url, channel, &api.Signer{Party: api.PatientParty(p.ID), Key: p.Key})
}

func (c *site) done(client *api.Client, op *api.Operation, err error) {
	c.Helper()
	c.ok(err)
	ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
	defer cancel()
	_, err = client.Wait(ctx, op)
	c.ok(err)
}

// enrol puts a patient with two consents on the ledger, through the gateway.
func (c *site) enrol() *subject {
	c.Helper()
	p := &subject{Patient: c.told.NewPatient()}
	client := c.as(p)
	defer client.Close()
	op, err := client.EnrolPatient(c.Context(), p.Enrolment, p.Boxes)
	c.done(client, op, err)
	for _, grantee := range []string{ownOrg, otherOrg} {
		s := c.sign(p, grantee)
		op, err := client.PutConsent(c.Context(), s)
		c.done(client, op, err)
	}
	c.people = append(c.people, p)
	return p
}

// sign makes a patient's first version of a new consent.
func (c *site) sign(p *subject, grantee string) consent.Signed {
	s := p.Sign(p.Document(grantee))
	p.consent = append(p.consent, s)
	return s
}

// erase goes through the gateway.
func (c *site) erase(p *subject) {
	c.Helper()
	client := c.as(p)
	defer client.Close()
	op, err := client.Erase(c.Context(), p.Erasure(p.Key))
	c.done(client, op, err)
}

// receipt waits until everything that owes a report or a deletion has done it.
func (c *site) receipt(p *subject) {
	c.Helper()
	client := c.as(p)
	defer client.Close()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		r, err := client.Erasure(c.Context(), p.ID)
		if err == nil && r.Done && len(r.Members) == 3 {
			return
		}
		if time.Now().After(deadline) {
			c.Fatalf("the erasure is not done: %v, %v", r, err)
		}
	}
}

// race has a consent, and the erasure of its patient, endorsed. What it returns has the
// erasure ordered, and then the consent, which so loses the race.
func (c *site) race(p *subject) (lose func()) {
	c.Helper()
	client := c.members[1].client
	s := c.sign(p, ownOrg)
	permit := must(contracts.ConsentPut.Call(contracts.Consent{Network: channel, Details: consent.Details{Salt: record.RandomID(), Signed: s}}))
	put, err := client.Endorse(c.Context(), permit, nil)
	c.ok(err)
	erase, err := client.Endorse(c.Context(), must(contracts.RegistryErase.Call(p.Erasure(p.Key))), nil)
	c.ok(err)
	return func() {
		ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
		defer cancel()
		c.ok(client.HandIn(ctx, erase)) // taken, and in a block within 20 ms
		if _, err := client.Order(ctx, put); fault.Of(err) != fault.Contention {
			c.Fatalf("the consent did not lose the race: %v", err)
		}
	}
}

// stored is what a member's vault has, by patient, while its institution does not run.
func (s *seat) stored() map[record.ID]details.Key {
	return must(role.StoredKeys(filepath.Join(s.dir, "state"), filepath.Join(s.dir, "vault.key")))
}

// finding is what a search found about the patients it was for.
type finding struct {
	sealed map[string]int    // sealed values by patient, which opened with the key that the test remembers
	opened map[string]string // file by patient: what a key found in a vault opened
	plain  map[string]string // file by patient: a signature of a consent in the clear
	keys   map[string]string // file by patient: the details key itself
}

// search looks through every file of every node. Institutions and gateway are stopped.
func (c *site) search(people []*subject) finding {
	c.Helper()
	f := finding{map[string]int{}, map[string]string{}, map[string]string{}, map[string]string{}}
	vaults := map[record.ID][]details.Key{}
	for _, s := range c.members {
		for id, k := range s.stored() {
			vaults[id] = append(vaults[id], k)
		}
	}
	seen := map[string]bool{}
	eachText(c, c.dir, func(path string, text []byte) {
		for _, p := range people {
			name := p.ID.String()
			if bytes.Contains(text, p.Secret.Bytes()) {
				f.keys[name] = path
			}
			for _, s := range p.consent {
				if bytes.Contains(text, s.Signature) || bytes.Contains(text, []byte(base64.StdEncoding.EncodeToString(s.Signature))) {
					f.plain[name] = path
				}
			}
		}
		for at := bytes.Index(text, []byte(details.Magic)); at >= 0; {
			c.candidate(path, text[at:], people, vaults, seen, f)
			next := bytes.Index(text[at+1:], []byte(details.Magic))
			if next < 0 {
				return
			}
			at += 1 + next
		}
	})
	return f
}

// candidate tries to open what begins like a sealed value, each once.
func (c *site) candidate(path string, text []byte, people []*subject, vaults map[record.ID][]details.Key, seen map[string]bool, f finding) {
	const head, block, most = len(details.Magic) + 16, 256, 16
	if len(text) < head+block || seen[string(text[:head+block])] {
		return
	}
	seen[string(text[:head+block])] = true
	for n := 1; n <= most && head+n*block <= len(text); n++ {
		sealed := text[:head+n*block]
		for _, p := range people {
			for _, s := range p.consent {
				name := state.ConsentDetailsKey(s.Document.ID, s.Document.Version)
				if _, err := p.Secret.Open(channel, p.ID, name, sealed); err != nil {
					continue
				}
				f.sealed[p.ID.String()]++
				for _, keys := range vaults {
					for _, k := range keys {
						if _, err := k.Open(channel, p.ID, name, sealed); err == nil {
							f.opened[p.ID.String()] = path
						}
					}
				}
				return
			}
		}
	}
}

// mustBeGone checks a search: of a living patient it found what is sealed, and that it
// opens; of erased ones nothing opens and nothing is in the clear.
func (c *site) mustBeGone(f finding, living *subject, erased []*subject) {
	c.Helper()
	name := living.ID.String()
	if f.sealed[name] < len(living.consent) || f.opened[name] == "" {
		c.Fatalf("of a living patient the search finds %d sealed values, and opens %q: it shows nothing", f.sealed[name], f.opened[name])
	}
	left := 0
	for _, p := range erased {
		name := p.ID.String()
		left += f.sealed[name]
		if f.opened[name] != "" {
			c.Errorf("a detail of erased patient %s opens, from %s", p.ID.Short(), f.opened[name])
		}
		if f.plain[name] != "" {
			c.Errorf("a detail of erased patient %s is in the clear in %s", p.ID.Short(), f.plain[name])
		}
		if f.keys[name] != "" {
			c.Errorf("the details key of erased patient %s is in %s", p.ID.Short(), f.keys[name])
		}
		if there, err := c.blobs.Has(c.Context(), p.Enrolment.DetailsBlob); there || err != nil {
			c.Errorf("the boxes of erased patient %s are stored (%v)", p.ID.Short(), err)
		}
	}
	c.Logf("%d sealed values of %d erased patients are left in files of peers; nobody can open them", left, len(erased))
}

// Fabric keeps the private values of a transaction that lost a race with the erasure
// of its patient, whatever is purged. They are sealed, and the key is destroyed, also by
// an institution that is killed before it knows of the erasure, and starts again.
func TestALostRaceWithAnErasureOnRealFabric(t *testing.T) {
	c := newSite(t)
	living, raced := c.enrol(), c.enrol()
	lose, killed := c.race(raced), c.members[0]
	c.end(killed, os.Kill)
	lose()
	if _, has := killed.stored()[raced.ID]; !has {
		t.Error("it had destroyed the key before it was killed: then killing it shows nothing")
	}
	c.run(killed)
	c.receipt(raced)
	c.stopAll()
	f := c.search(c.people)
	c.mustBeGone(f, living, []*subject{raced})
	if f.sealed[raced.ID.String()] == 0 {
		t.Error("no peer has kept what lost the race: then this test shows nothing")
	}
}

// size adds up the files below dir, but for names that skip says.
func size(t testing.TB, dir string, skip func(path string) bool) int64 {
	t.Helper()
	var sum int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || skip(path) {
			return nil
		}
		if info, err := d.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// use is what a process holds: open files, and memory in bytes.
type use struct {
	files  int
	memory int64
}

// held is what this process, the institutions' and the network's hold; nothing where there is no /proc.
func (c *site) held() map[string]use {
	c.Helper()
	out := map[string]use{}
	count := func(name string, pid string) {
		entries, err := os.ReadDir(filepath.Join("/proc", pid, "fd"))
		statm, second := os.ReadFile(filepath.Join("/proc", pid, "statm"))
		var pages, resident int64
		if _, third := fmt.Sscan(string(statm), &pages, &resident); err == nil && second == nil && third == nil {
			out[name] = use{len(entries), resident * int64(os.Getpagesize())}
		}
	}
	count("this process", "self")
	for _, s := range c.members {
		count("the institution of "+s.msp, fmt.Sprint(s.process.Process.Pid))
	}
	for _, p := range must(c.net.Status(c.Context())).Processes {
		if p.PID != 0 {
			count(p.Name, fmt.Sprint(p.PID))
		}
	}
	return out
}

// After an erasure no file of any node has a detail of the patient in a form that
// anybody who is left could open: neither the databases and logs of peers and orderers,
// nor the gateway's journal and blobs, nor members' vaults and checkpoints. That holds
// across restarts and for a peer that made its state again, and erasing costs no more
// than its place on the chain.
func TestErasedDetailsOpenNowhereOnRealFabric(t *testing.T) {
	c := newSite(t)
	n := 100
	if os.Getenv("VITALVEIL_SOAK") != "" {
		n = 1000
	}
	living := c.enrol()
	var erased []*subject
	batch := func(upTo int) {
		for len(erased) < upTo {
			p := c.enrol()
			if len(erased)%8 == 3 {
				c.race(p)()
			} else {
				c.erase(p)
			}
			erased = append(erased, p)
		}
		for _, p := range erased {
			c.receipt(p)
		}
	}
	sample := func() []*subject {
		step := max(1, len(erased)/100)
		var some []*subject
		for i, p := range erased {
			if i%step == 0 {
				some = append(some, p)
			}
		}
		return some
	}
	look := func(when string) {
		c.Helper()
		c.stopAll()
		t.Log(when)
		some := sample()
		c.mustBeGone(c.search(append(slices.Clone(some), living)), living, some)
	}
	batch(n / 4)
	inChain := func(path string) bool {
		return strings.Contains(path, string(filepath.Separator)+"chains"+string(filepath.Separator))
	}
	before, own := c.held(), size(t, c.dir, func(path string) bool { return strings.HasPrefix(path, c.net.Dir()) })
	nodes := size(t, c.net.Dir(), inChain)
	batch(n / 2)
	for name, now := range c.held() {
		was := before[name]
		if now.files > was.files+16 || now.memory > was.memory+96<<20 {
			t.Errorf("%s held %d files and %d MiB after %d erasures, %d and %d after %d", name, was.files, was.memory>>20, n/4, now.files, now.memory>>20, n/2)
		}
	}
	each := (size(t, c.net.Dir(), inChain) - nodes) / int64(n/2-n/4)
	t.Logf("off-chain, an enrolment with a consent and its erasure leave %d kB with all nodes together", each>>10)
	if each > 1<<20 {
		t.Errorf("off-chain, nodes grew by %d bytes for each", each)
	}
	look("before a restart")
	c.restart()
	batch(n)
	after := size(t, c.dir, func(path string) bool { return strings.HasPrefix(path, c.net.Dir()) })
	if grown := (after - own) / int64(n-n/4); grown > 64<<10 {
		t.Errorf("an erasure leaves %d bytes with members and gateway", grown)
	}
	look("after a restart, with a peer that replayed the chain")
}

// restart ends everything, removes what one peer has, which gets all blocks again and
// replays them, and starts everything.
func (c *site) restart() {
	c.Helper()
	c.ok(c.net.Down(context.Background()))
	c.ok(os.RemoveAll(filepath.Join(c.net.Dir(), "data", otherOrg)))
	c.net = launchtest.Up(c.T, c.options)
	c.start(c.height)
}
