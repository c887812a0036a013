package launch

import (
	"context"
	"io"
	"time"

	"github.com/vitalveil/vitalveil/network"
)

// keeperProcess is the process that calls Keep.
const keeperProcess = "keeper"

// How often the keeper looks, and how long it waits after a repair that failed:
// twice as long after each, at most a minute, as a process that cannot run needs
// an operator after all.
const (
	keepEvery = 500 * time.Millisecond
	keepFirst = time.Second
	keepMost  = time.Minute

	certificatesEvery = 10 * time.Second
)

// Keep starts again what dies of a network, until ctx ends. What it does is what
// Up does, so it also rebuilds a node whose disk is gone. It renews certificates that
// end soon, and starts again what shows the old ones, one process after the other.
// Only the one that was started last should run; others are harmless, as they take
// turns.
func Keep(ctx context.Context, o Options) error {
	if o.Log == nil {
		o.Log = io.Discard
	}
	wait, looked := keepFirst, time.Time{}
	for {
		n, err := Open(o.Dir)
		if err != nil {
			return err
		}
		n.log = o.Log
		whole, err := n.whole()
		if err == nil && whole && time.Since(looked) >= certificatesEvery {
			var ended string
			ended, err = n.renewOne(ctx)
			if whole = ended == ""; whole {
				looked = time.Now() // nothing is left to do, or it failed
			}
		}
		if err == nil && !whole {
			_, err = Up(ctx, o)
		}
		next := keepEvery
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			n.say("%v; trying again in %v", err, wait)
			next, wait = wait, min(2*wait, keepMost)
		default:
			wait = keepFirst
		}
		if network.Sleep(ctx, next) != nil {
			return nil
		}
	}
}

// whole says whether every process of the network runs.
func (n *Network) whole() (bool, error) {
	var names []string
	for _, o := range n.topology.Nodes {
		names = append(names, ordererProcess(o))
	}
	for _, o := range n.topology.Orgs {
		names = append(names, peerProcess(o), chaincodeProcess(o, n.topology.Sequence))
		if n.topology.CA != "" {
			names = append(names, caProcess(o))
		}
	}
	for _, name := range names {
		pid, err := n.processes.find(name)
		if err != nil || pid == 0 {
			return false, err
		}
	}
	return true, nil
}
