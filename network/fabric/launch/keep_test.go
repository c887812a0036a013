package launch

import (
	"path/filepath"
	"testing"
	"time"
)

// A network that nobody sits in front of comes back by itself: the keeper starts
// again what was killed, with nobody asking for it, and Down ends it as well.
func TestKeeperBringsBackWhatDies(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "network")
	n := launchNetwork(t, Options{Dir: dir, Keeper: append(serves(t, keepNetwork), dir)})
	c := connectAs(t, n, ownOrg)
	put(t, c, "patient", "one")
	for _, name := range []string{ordererProcess(n.topology.Nodes[0]), peerProcess(n.topology.Orgs[0]), chaincodeProcess(n.topology.Orgs[1], 1)} {
		kill(t, n, name)
		begun := time.Now()
		put(t, c, "patient", name)
		whole(t, n)
		t.Logf("%s killed: whole again after %v", name, time.Since(begun).Round(time.Millisecond))
	}
	expect(t, c, "patient", chaincodeProcess(n.topology.Orgs[1], 1))
	s, err := n.Status(t.Context())
	if err != nil || s.Processes[len(s.Processes)-1].Name != keeperProcess {
		t.Errorf("status does not show the keeper: %+v, %v", s, err)
	}
}
