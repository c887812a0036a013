package launch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Status is what runs of a network.
type Status struct {
	Dir       string          `json:"dir"`
	Orderers  string          `json:"orderers"` // raft1, raft3 or bft4
	Sequence  int             `json:"sequence"` // of the chaincode, as last wanted
	Processes []ProcessStatus `json:"processes"`
	// LastBlock is when a peer wrote its newest block; zero before the first.
	LastBlock time.Time `json:"last_block"`
	// Ordering is why nothing can be ordered now; empty if something can.
	Ordering string `json:"ordering,omitempty"`
	// Certificates are all that the network shows, each with its end.
	Certificates []Certificate `json:"certificates"`
}

// ProcessStatus is one process of a network.
type ProcessStatus struct {
	Name   string `json:"name"`
	PID    int    `json:"pid"`    // 0: not running
	Memory int64  `json:"memory"` // resident, in bytes
	Detail string `json:"detail"` // what it says of itself; why not, if it does not
}

// Running says whether every process runs.
func (s Status) Running() bool {
	for _, p := range s.Processes {
		if p.PID == 0 {
			return false
		}
	}
	return true
}

// Ending lists the certificates whose end is near enough for a warning.
func (s Status) Ending(now time.Time) []Certificate {
	var ending []Certificate
	for _, c := range s.Certificates {
		if !c.Ends.IsZero() && c.Due(now) {
			ending = append(ending, c)
		}
	}
	return ending
}

// Memory is the resident memory of all processes in bytes. Pages that several
// share are counted for each.
func (s Status) Memory() int64 {
	var sum int64
	for _, p := range s.Processes {
		sum += p.Memory
	}
	return sum
}

// statusTimeout bounds the questions to each process.
const statusTimeout = 3 * time.Second

// Status looks at the processes and asks orderers and peers for their height.
func (n *Network) Status(ctx context.Context) (Status, error) {
	s := Status{Dir: n.dir, Orderers: n.topology.Orderers, Sequence: n.topology.Sequence}
	add := func(name string, ask func(context.Context) string) error {
		pid, err := n.processes.find(name)
		if err != nil {
			return err
		}
		p := ProcessStatus{Name: name, PID: pid}
		if pid != 0 {
			p.Memory = processMemory(pid)
			ctx, cancel := context.WithTimeout(ctx, statusTimeout)
			defer cancel()
			p.Detail = ask(ctx)
		}
		s.Processes = append(s.Processes, p)
		return nil
	}
	var errs []error
	for _, o := range n.topology.Nodes {
		errs = append(errs, add(ordererProcess(o), func(ctx context.Context) string { return n.describeOrderer(ctx, o) }))
	}
	for _, o := range n.topology.Orgs {
		errs = append(errs, add(peerProcess(o), func(ctx context.Context) string { return n.describePeer(ctx, o) }))
	}
	for _, o := range n.topology.Orgs {
		where := address(o.service(n.topology.Sequence))
		errs = append(errs, add(chaincodeProcess(o, n.topology.Sequence), func(context.Context) string { return where }))
	}
	if n.topology.CA != "" {
		for _, o := range n.topology.Orgs {
			errs = append(errs, add(caProcess(o), func(context.Context) string { return address(o.CA) }))
		}
	}
	if _, err := os.Stat(n.processes.pidPath(keeperProcess)); err == nil {
		errs = append(errs, add(keeperProcess, func(context.Context) string { return "starts again what dies" }))
	}
	s.LastBlock, s.Ordering = n.lastBlock(), n.ordering(ctx)
	var err error
	s.Certificates, err = n.certificates()
	return s, errors.Join(append(errs, err)...)
}

// lastBlock is when the newest block was written that any peer has.
func (n *Network) lastBlock() time.Time {
	var last time.Time
	for _, o := range n.topology.Orgs {
		files, err := filepath.Glob(filepath.Join(n.dir, "data", o.MSP, "ledgersData", "chains", "chains", channelName, "blockfile_*"))
		if err != nil {
			continue // the pattern is malformed, which a directory's name can do
		}
		for _, f := range files {
			if info, err := os.Stat(f); err == nil && info.ModTime().After(last) {
				last = info.ModTime()
			}
		}
	}
	return last
}

// ordering says why nothing can be ordered, or nothing.
func (n *Network) ordering(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	active, leads := 0, false
	for _, o := range n.topology.Nodes {
		if c, err := n.ordererChannel(ctx, o); err == nil && c.Status == "active" {
			active++
		}
		m, err := channelMetrics(ctx, o.Operations, leaderMetric)
		leads = leads || err == nil && m[leaderMetric] == 1
	}
	// More than half for Raft, more than two thirds for SmartBFT.
	need := len(n.topology.Nodes)/2 + 1
	if strings.HasPrefix(n.topology.Orderers, "bft") {
		need, leads = (2*len(n.topology.Nodes)+2)/3, true
	}
	switch {
	case active < need:
		return fmt.Sprintf("%d of %d orderers take part, %d are needed", active, len(n.topology.Nodes), need)
	case !leads:
		return "no orderer leads"
	}
	return ""
}

// runningNames lists the processes that run, in order of name.
func (n *Network) runningNames() ([]string, error) {
	names, err := n.processes.names()
	if err != nil {
		return nil, err
	}
	var running []string
	for _, name := range names {
		pid, err := n.processes.find(name)
		if err != nil {
			return nil, err
		}
		if pid != 0 {
			running = append(running, name)
		}
	}
	sort.Strings(running)
	return running, nil
}

func (n *Network) describeOrderer(ctx context.Context, o ordererNode) string {
	c, err := n.ordererChannel(ctx, o)
	if err != nil {
		return err.Error()
	}
	what := c.Relation
	if m, err := channelMetrics(ctx, o.Operations, leaderMetric); err == nil && m[leaderMetric] == 1 {
		what = "leader"
	}
	return fmt.Sprintf("%s, %s %s, height %d", address(o.Port), c.Status, what, c.Height)
}

// Names of the metrics that peers and, the last one, Raft orderers export for a
// channel.
const (
	heightMetric = "ledger_blockchain_height"
	peersMetric  = "gossip_membership_total_peers_known"
	leaderMetric = "consensus_etcdraft_is_leader"
)

func (n *Network) describePeer(ctx context.Context, o peerNode) string {
	m, err := channelMetrics(ctx, o.Operations, heightMetric, peersMetric)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s, height %.0f, knows %.0f other peers", address(o.Port), m[heightMetric], m[peersMetric])
}

// maxMetrics bounds a node's metrics page, in bytes.
const maxMetrics = 4 << 20

// channelMetrics reads the channel's metrics of those names from the operations
// port of a node.
func channelMetrics(ctx context.Context, port int, names ...string) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address(port)+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics: status %d", resp.StatusCode)
	}
	values := map[string]float64{}
	lines := bufio.NewScanner(io.LimitReader(resp.Body, maxMetrics))
	for lines.Scan() {
		for _, name := range names {
			rest, ok := strings.CutPrefix(lines.Text(), name+`{channel="`+channelName+`"} `)
			if !ok {
				continue
			}
			v, err := strconv.ParseFloat(rest, 64)
			if err != nil {
				return nil, fmt.Errorf("metric %s: %w", name, err)
			}
			values[name] = v
		}
	}
	return values, lines.Err()
}

// gossips waits until every peer knows the others: before, its gateway service
// finds nobody else to endorse.
func (n *Network) gossips(ctx context.Context) error {
	others := float64(len(n.topology.Orgs) - 1)
	err := n.eachOrg(ctx, func(ctx context.Context, o peerNode) error {
		m, err := channelMetrics(ctx, o.Operations, peersMetric)
		if err != nil {
			return err
		}
		if m[peersMetric] < others {
			return fmt.Errorf("knows %.0f of %.0f other peers", m[peersMetric], others)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("the peers do not find each other: %w", err)
	}
	return nil
}
