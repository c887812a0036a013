package launch

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/network"
)

// shorten gives every certificate of a network a shorter life.
func shorten(t *testing.T, n *Network, life time.Duration) {
	t.Helper()
	all, err := n.certificates()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if err := c.renew(life); err != nil {
			t.Fatalf("%s: %v", c.Of, err)
		}
	}
}

// pids are the processes that run, by name.
func pids(t *testing.T, n *Network) map[string]int {
	t.Helper()
	s, err := n.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int{}
	for _, p := range s.Processes {
		all[p.Name] = p.PID
	}
	return all
}

// shown is when the certificate ends that a server shows now.
func shown(t *testing.T, n *Network, port int) time.Time {
	t.Helper()
	conn, err := tls.Dial("tcp", address(port), &tls.Config{InsecureSkipVerify: true}) // only looked at
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].NotAfter
}

// Certificates that end in three weeks are renewed by the keeper, and every process
// that shows one is started again, one after the other, while the network works.
func TestKeeperRenewsCertificates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "network")
	n := launchNetwork(t, Options{Dir: dir, Orderers: "raft3", Orgs: []string{ownOrg, otherOrg}, Keeper: append(serves(t, keepNetwork), dir)})
	c := connectAs(t, n, ownOrg)
	put(t, c, "before", "1")
	before := pids(t, n)
	shorten(t, n, 21*24*time.Hour)
	s, err := n.Status(t.Context())
	if err != nil || len(s.Ending(time.Now())) != len(s.Certificates) {
		t.Fatalf("%d of %d certificates are warned of (%v)", len(s.Ending(time.Now())), len(s.Certificates), err)
	}
	begun, writes := time.Now(), 0
	for done := false; !done; {
		if time.Since(begun) > 2*time.Minute {
			process, err := n.outdated()
			t.Fatalf("still not all processes show a new certificate: %s, %v\n%s", process, err, n.processes.tail(keeperProcess))
		}
		put(t, c, "during", time.Now().String()) // the network never stops for long
		writes++
		process, err := n.outdated()
		if err != nil {
			t.Fatal(err)
		}
		s, err := n.Status(t.Context())
		done = process == "" && err == nil && len(s.Ending(time.Now())) == 0
	}
	t.Logf("renewed in %v, %d transactions meanwhile", time.Since(begun).Round(time.Millisecond), writes)
	whole(t, n)
	for name, pid := range pids(t, n) {
		if (pid == before[name]) != (name == keeperProcess) {
			t.Errorf("%s: process %d before, %d now", name, before[name], pid)
		}
	}
	for _, port := range []int{n.topology.Nodes[0].Port, n.topology.Orgs[0].Port, n.topology.Orgs[0].service(1)} {
		if end := shown(t, n, port); time.Until(end) < network.WarnBefore {
			t.Errorf("port %d shows a certificate that ends on %v", port, end)
		}
	}
	put(t, connectAs(t, n, otherOrg), "after", "1")
}

// A network runs on beyond the end of the certificates that it began with, and what
// is connected anew then is served.
func TestNetworkOutlivesItsCertificates(t *testing.T) {
	if os.Getenv("VITALVEIL_SOAK") == "" {
		t.Skip("certificates that end within minutes are waited for with VITALVEIL_SOAK=1")
	}
	const life = 3 * time.Minute
	n := launchNetwork(t, Options{Orderers: "raft3", Orgs: []string{ownOrg, otherOrg}})
	put(t, connectAs(t, n, ownOrg), "before", "1")
	end := time.Now().Add(life)
	beginWithShortLives(t, n, life)
	again := Options{Dir: n.Dir(), Chaincode: serves(t, serveConformance), Log: testLog{t}}
	ctx, cancel := context.WithCancel(t.Context())
	var keeper sync.WaitGroup
	keeper.Go(func() {
		if err := Keep(ctx, again); err != nil {
			t.Error(err)
		}
	})
	for {
		process, err := n.outdated()
		if err != nil {
			t.Fatal(err)
		}
		s, err := n.Status(t.Context())
		if err == nil && process == "" && len(s.Ending(time.Now())) == 0 && s.Running() {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("they ended before they were renewed: %s, %v", process, err)
		}
		time.Sleep(time.Second)
	}
	cancel()
	keeper.Wait()
	time.Sleep(time.Until(end) + 5*time.Second)
	put(t, connectAs(t, n, ownOrg), "after the end", "1")
	names, err := n.runningNames()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names { // Raft, gossip, chaincode: all is connected anew
		kill(t, n, name)
		if _, err := Up(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		put(t, connectAs(t, n, otherOrg), "after "+name, "1")
	}
}

// beginWithShortLives starts all processes again with certificates that end soon.
func beginWithShortLives(t *testing.T, n *Network, life time.Duration) {
	t.Helper()
	names, err := n.runningNames()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.processes.end(names); err != nil {
		t.Fatal(err)
	}
	shorten(t, n, life)
	if err := n.startNodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	d, err := n.define(n.topology.Sequence)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.serve(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if err := n.eachOrg(t.Context(), n.answers); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(shown(t, n, n.topology.Orgs[0].service(1))); left > life {
		t.Fatalf("a certificate lasts for %v", left)
	}
}

func TestRenewalKeepsKeyAndNames(t *testing.T) {
	n := newNetwork(t.TempDir(), false)
	var err error
	if n.topology, err = newTopology(Options{Orgs: []string{"Clinic"}}); err != nil {
		t.Fatal(err)
	}
	if err := makeCrypto(n.material, n.topology); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(n.dir, "config"), 0o700); err != nil {
		t.Fatal(err)
	}
	shorten(t, n, network.WarnBefore-time.Hour)
	before, err := n.certificates()
	if err != nil {
		t.Fatal(err)
	}
	var old []tls.Certificate
	for _, c := range before {
		pair, err := tls.LoadX509KeyPair(c.files[0], c.key)
		if err != nil {
			t.Fatal(err)
		}
		old = append(old, pair)
	}
	if err := n.renewDue(); err != nil {
		t.Fatal(err)
	}
	after, err := n.certificates()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range after {
		pair, err := tls.LoadX509KeyPair(c.files[0], c.key)
		if err != nil {
			t.Fatal(err)
		}
		if c.Due(time.Now()) || !bytes.Equal(pair.Leaf.RawSubject, old[i].Leaf.RawSubject) ||
			!bytes.Equal(pair.Leaf.RawSubjectPublicKeyInfo, old[i].Leaf.RawSubjectPublicKeyInfo) {
			t.Errorf("the %s certificate of %s became one of %v until %v", c.Kind, c.Of, pair.Leaf.Subject, c.Ends)
		}
		for _, path := range c.files[1:] {
			first, second := read(t, c.files[0]), read(t, path)
			if !bytes.Equal(first, second) {
				t.Errorf("%s has another certificate than %s", path, c.files[0])
			}
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// No node is told where an authority's key is, and nobody else reads it.
func TestAuthoritiesLieWhereNoNodeReads(t *testing.T) {
	n := newNetwork(t.TempDir(), false)
	var err error
	if n.topology, err = newTopology(Options{Orderers: "raft3"}); err != nil {
		t.Fatal(err)
	}
	if err := makeCrypto(n.material, n.topology); err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, o := range n.topology.Nodes {
		told = append(told, ordererEnvironment(n.dir, n.material, o, o.Port)...)
	}
	for _, o := range n.topology.Orgs {
		told = append(told, peerEnvironment(n.dir, n.material, o, o.Port)...)
		told = append(told, adminEnvironment(n.dir, n.material, o)...)
	}
	for _, setting := range told {
		if strings.Contains(setting, n.material.authorities) {
			t.Errorf("a node is told %s", setting)
		}
	}
	keys := 0
	err = filepath.WalkDir(n.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "ca-key.pem" {
			return err
		}
		keys++
		if !strings.HasPrefix(path, n.material.authorities) {
			return errors.New(path + " is an authority's key")
		}
		info, err := os.Stat(filepath.Dir(path))
		if err == nil && info.Mode().Perm() != 0o700 {
			return errors.New(path + " lies where others look")
		}
		return err
	})
	if err != nil || keys != 2*(1+len(n.topology.Orgs)) {
		t.Errorf("%d keys of authorities, %v", keys, err)
	}
}
