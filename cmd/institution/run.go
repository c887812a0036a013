package institution

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/internal/fault"
)

// foundPause is how long to wait before the ledger is tried again.
const foundPause = 500 * time.Millisecond

// Run does the institution's duties and serves its control socket until ctx ends.
func (p *Process) Run(ctx context.Context) error {
	l, err := dirFlag{p.dir}.control().Listen()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.Institution.Run(ctx) })
	g.Go(func() error { return p.commands().Serve(ctx, l) })
	g.Go(func() error { return p.foundUntilDone(ctx) })
	g.Go(func() error { return p.serveAPI(ctx) })
	g.Go(func() error { return p.service.Observe(ctx, p.metrics(), p.ready) })
	g.Go(func() error { return p.ids.Warn(ctx, p.log) })
	p.log.Info("running", "network", p.genesis.Network, "dir", p.dir)
	return g.Wait()
}

// foundUntilDone waits for a ledger that is not up yet.
func (p *Process) foundUntilDone(ctx context.Context) error {
	select { // a member that knows another ledger founds nothing on this one
	case <-p.Recognised():
	case <-ctx.Done():
	}
	for ctx.Err() == nil {
		err := p.found(ctx)
		switch fault.Of(err) {
		case "":
			return nil
		case fault.Conflict, fault.Invalid, fault.Forbidden:
			return fmt.Errorf("the network cannot be founded: %w", err)
		}
		p.log.Warn("the ledger does not answer yet; trying again", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(foundPause):
		}
	}
	return nil
}
