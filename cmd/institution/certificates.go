package institution

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/site"
)

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
	renewed := 0
	for _, name := range []string{site.IdentityDir, site.LedgerIdentityDir} {
		dir := filepath.Join(c.Dir, name)
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
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
		renewed++
		until, err := next.Expires()
		if err != nil {
			return err
		}
		fmt.Printf("%s: until %s\n", dir, until.UTC().Format(time.DateOnly))
	}
	if renewed == 0 {
		return fmt.Errorf("%s has no identity to renew", c.Dir)
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
