package institution

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/vitalveil/vitalveil/network"
)

// warnEvery is how often a process says that a certificate ends soon.
const warnEvery = 24 * time.Hour

// Certificate is until when one of a process's certificates serves.
type Certificate struct {
	Of      string `json:"of"`                // directory, for people
	Until   int64  `json:"until"`             // Unix seconds
	Problem string `json:"problem,omitempty"` // it ends soon, or a renewed one is of no use
}

// certificateOf says until when an identity in use serves, and what is wrong with that.
func certificateOf(of string, id network.Identity, now time.Time) Certificate {
	c := Certificate{Of: of}
	unused := id.Renewal()
	until, err := id.Expires()
	if err != nil {
		return Certificate{Of: of, Problem: err.Error()}
	}
	c.Until = until.Unix()
	switch left := until.Sub(now); {
	case left <= 0:
		c.Problem = "it has ended: others refuse it. Renew it with \"vitalveil institution certificate\""
	case left <= network.WarnBefore:
		c.Problem = fmt.Sprintf("it ends in %d days. Renew it with \"vitalveil institution certificate\"; nothing has to stop for that", int(left/(24*time.Hour)))
	}
	if unused != nil {
		c.Problem = fmt.Sprintf("what took its place is not used: %v", unused)
	}
	return c
}

func (p *Process) certificates() []Certificate {
	var all []Certificate
	for _, dir := range slices.Sorted(maps.Keys(p.ids)) {
		all = append(all, certificateOf(dir, p.ids[dir], time.Now()))
	}
	return all
}

// warnOf says now and every day what is wrong with certificates, until ctx ends.
func warnOf(ctx context.Context, log *slog.Logger, look func() []Certificate) error {
	t := time.NewTicker(warnEvery)
	defer t.Stop()
	for {
		for _, c := range look() {
			if c.Problem != "" {
				log.Warn("certificate", "of", c.Of, "until", time.Unix(c.Until, 0).UTC(), "problem", c.Problem)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// certificateCommand renews certificates with the organisation's authority.
type certificateCommand struct {
	dirFlag
	CA   string `name:"ca" help:"The authority's directory, that \"init\" made. Default: DIR-ca." type:"path"`
	Days int    `help:"How many days the new ones serve, at most 730." default:"730"`
}

// Help says when to use it.
func (certificateCommand) Help() string {
	return `Makes new certificates, for the same keys, of the institution in --dir and of a ledger
that its organisation runs. Running processes go on with them within seconds; nobody
else has to be told. The authority's directory is needed for this and for nothing
else: keep it where no server runs, and bring --dir to it or it to --dir.`
}

// Run renews them.
func (c certificateCommand) Run() error {
	if c.Days < 1 {
		return errors.New("--days is at least 1")
	}
	ca, err := network.LoadCA(authorityOf(c.CA, c.Dir))
	if err != nil {
		return err
	}
	for _, name := range []string{tlsDir, ledgerDir} {
		dir := filepath.Join(c.Dir, name)
		id, err := network.LoadIdentity(dir)
		if err != nil {
			return err
		}
		next, err := ca.Renew(id, time.Duration(c.Days)*24*time.Hour)
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		if err := next.Save(dir); err != nil {
			return err
		}
		until, err := next.Expires()
		if err != nil {
			return err
		}
		fmt.Printf("%s: until %s\n", dir, until.UTC().Format(time.DateOnly))
	}
	return nil
}

// authorityOf is where an organisation's authority is kept: beside its institution's
// directory, never in it.
func authorityOf(dir, institution string) string {
	if dir != "" {
		return dir
	}
	return filepath.Clean(institution) + "-ca"
}

// checkApart makes sure that a running institution never opens its authority's key.
func checkApart(ca, institution string) error {
	if rel, err := filepath.Rel(institution, ca); err == nil && filepath.IsLocal(rel) {
		return fmt.Errorf("the authority's directory %s lies in the institution's; whoever breaks into the running institution would make members", ca)
	}
	return nil
}

// maxSocketPath is how long the path of a Unix socket may be on every system that Go
// supports (sun_path has 104 bytes on some, with a zero at the end).
const maxSocketPath = 103

// checkSocket makes sure, before anybody has the keys, that the control socket can be
// made in a directory.
func checkSocket(dir string) error {
	path, err := filepath.Abs(filepath.Join(dir, socketFile))
	if err != nil {
		return err
	}
	if len(path) > maxSocketPath {
		return fmt.Errorf("--dir is too long: the path of its control socket would have %d bytes, and a socket's has at most %d. Choose a shorter one", len(path), maxSocketPath)
	}
	return nil
}
