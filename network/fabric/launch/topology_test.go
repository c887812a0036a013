package launch

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network/fabric"
)

func TestTopologyIsKept(t *testing.T) {
	dir := t.TempDir()
	want, err := newTopology(Options{Orderers: "bft4", Collections: []Collection{{Name: "secrets", Members: []string{"HospitalA"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(want.Nodes) != 4 || len(want.Orgs) != 3 || want.quorum() != 2 {
		t.Fatalf("topology %+v", want)
	}
	if err := want.save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := loadTopology(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.Orgs[2] != want.Orgs[2] || got.Nodes[3] != want.Nodes[3] || got.Collections[0].Name != "secrets" {
		t.Errorf("read back %+v", got)
	}
	for _, o := range []Options{{Orderers: "raft1"}, {Orgs: []string{"A"}}, {Collections: []Collection{{Name: "other"}}}, {CA: fabricCA}} {
		if got.matches(o) == nil {
			t.Errorf("%+v passes for the same network", o)
		}
	}
	if err := got.matches(Options{Orderers: "bft4", Orgs: defaultOrgs, CA: builtinCA}); err != nil {
		t.Error(err)
	}
	got.CA = fabricCA
	if got.matches(Options{CA: builtinCA}) == nil || got.matches(Options{CA: fabricCA}) != nil || got.matches(Options{}) != nil {
		t.Error("the authority of a network can be changed, or not be named again")
	}
}

// Names reach file paths, configuration files and command lines.
func TestAttackNamesThatAreNotNames(t *testing.T) {
	for _, org := range []string{"", "../../etc", "a/b", "-o", "A'", "A B", "A\nB", `A"`, "Orderers", "A.B", strings.Repeat("a", 49)} {
		if _, err := newTopology(Options{Orgs: []string{org}}); err == nil {
			t.Errorf("organisation %q is accepted", org)
		}
	}
	if _, err := newTopology(Options{Orgs: []string{"Clinic", "clinic"}}); err == nil {
		t.Error("two organisations share a directory")
	}
	for _, c := range []Collection{
		{Name: "../x"},
		{Name: ""},
		{Name: "a", Members: []string{"Nobody"}},
		{Name: "a", RequiredPeers: -1},
		{Name: "a", RequiredPeers: 2, MaxPeers: 1},
		{Name: "a", MaxPeers: 3},
	} {
		if _, err := newTopology(Options{Collections: []Collection{c}}); err == nil {
			t.Errorf("collection %+v is accepted", c)
		}
	}
	if _, err := newTopology(Options{Orderers: "raft2"}); err == nil {
		t.Error("raft2 is accepted")
	}
	if _, err := newTopology(Options{CA: "../ca"}); err == nil {
		t.Error("an unknown authority is accepted")
	}
}

func TestTopologyThatIsDamagedIsRefused(t *testing.T) {
	good, err := newTopology(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for what, damage := range map[string]func(*topology){
		"newer":    func(t *topology) { t.Version = topologyVersion + 1 },
		"older":    func(t *topology) { t.Version = topologyVersion - 1 },
		"port":     func(t *topology) { t.Orgs[0].Port = 80 },
		"twice":    func(t *topology) { t.Orgs[0].Port = t.Nodes[0].Port },
		"orderers": func(t *topology) { t.Orderers = "raft3" },
		"sequence": func(t *topology) { t.Sequence = 0 },
		"name":     func(t *topology) { t.Nodes[0].Name = "../up" },
	} {
		bad := good
		bad.Orgs = append([]peerNode(nil), good.Orgs...)
		bad.Nodes = append([]ordererNode(nil), good.Nodes...)
		damage(&bad)
		dir := t.TempDir()
		if err := bad.save(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := loadTopology(dir); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func TestPortsInUseAreNotTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	if _, err := choosePorts(port, 1); err == nil {
		t.Errorf("port %d is in use and was taken", port)
	}
	ports, err := choosePorts(0, 20)
	if err != nil || len(ports) != 20 || ports[0] < firstPort || ports[19] >= lastPort+20 {
		t.Errorf("free ports: %v, %v", ports, err)
	}
}

func TestProfileIsKept(t *testing.T) {
	dir := t.TempDir()
	n := newNetwork(dir, false)
	topology, err := newTopology(Options{Orgs: []string{"Clinic"}})
	if err != nil {
		t.Fatal(err)
	}
	n.topology = topology
	if err := makeCrypto(n.material, topology); err != nil {
		t.Fatal(err)
	}
	if err := n.material.check(topology); err != nil {
		t.Fatal(err)
	}
	p, err := n.Profile()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := fabric.LoadProfile(dir)
	if err != nil {
		t.Fatal(err)
	}
	org, err := got.Org("Clinic")
	if err != nil || org.PeerEndpoint != address(topology.Orgs[0].Port) || !bytes.Equal(org.Root, p.Orgs[0].Root) {
		t.Errorf("profile %+v, %v", org, err)
	}
	if bytes.Equal(org.Root, org.PeerTLSRoot) {
		t.Error("one authority issues both members and TLS certificates")
	}
	if _, err := got.Org("Other"); err == nil {
		t.Error("an unknown organisation is found")
	}
	onlyOwner(t, dir)
}

// onlyOwner checks that nothing below dir is open to other users.
func onlyOwner(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDirectoryOfSomethingElseIsRefused(t *testing.T) {
	n := newNetwork(t.TempDir(), false)
	if err := os.WriteFile(filepath.Join(n.dir, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.describe(Options{}); err == nil {
		t.Error("a network is made among other files")
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "network up") {
		t.Errorf("open without a network: %v", err)
	}
}

func TestPackageDependsOnContentsOnly(t *testing.T) {
	n := newNetwork(t.TempDir(), false)
	if err := os.Mkdir(filepath.Join(n.dir, "config"), 0o700); err != nil {
		t.Fatal(err)
	}
	first, err := n.define(1)
	if err != nil {
		t.Fatal(err)
	}
	again, err := n.define(1)
	if err != nil {
		t.Fatal(err)
	}
	next, err := n.define(2)
	if err != nil {
		t.Fatal(err)
	}
	if first.id != again.id || first.id == next.id {
		t.Errorf("package ids %s, %s, %s", first.id, again.id, next.id)
	}
}

// TestAttackFewerEndorseThanOpen: members do not run on a Fabric network where fewer
// organisations decide what is recorded than must agree to open anything.
func TestAttackFewerEndorseThanOpen(t *testing.T) {
	for orgs, most := range map[int]int{3: 2, 4: 3, 5: 3, 16: 9} {
		p := fabric.Profile{Orgs: make([]fabric.OrgProfile, orgs)}
		if p.Endorsers() != (topology{Orgs: make([]peerNode, orgs)}).quorum() {
			t.Errorf("%d organisations: the profile says another number than the policy", orgs)
		}
		if err := p.Supports(most); err != nil {
			t.Errorf("%d organisations, threshold %d: %v", orgs, most, err)
		}
		if err := p.Supports(most + 1); fault.Of(err) != fault.Conflict {
			t.Errorf("%d organisations, threshold %d: %v", orgs, most+1, err)
		}
	}
}
