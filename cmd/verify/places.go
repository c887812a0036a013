package verify

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/vitalveil/vitalveil/cmd/gateway"
	"github.com/vitalveil/vitalveil/cmd/institution"
	"github.com/vitalveil/vitalveil/internal/state"
	organisation "github.com/vitalveil/vitalveil/network/site"
)

// places are where a network's state lies.
type places struct {
	ledger, journal, blobs string
	members                []member
}

// member is where a member's state lies, and the key file of its vault; "" stands for the
// one in the state.
type member struct{ msp, dir, key string }

// find looks for the state of a demo, or of a site: in a site each directory with an
// institution.json is a member, gateway the gateway.
func find(dir string) (places, error) {
	p := places{
		ledger: filepath.Join(dir, "ledger"), journal: filepath.Join(dir, "gateway", "journal"), blobs: filepath.Join(dir, "gateway", "blobs"),
	}
	_, err := os.Stat(filepath.Join(dir, "gateway", gateway.ConfigFile))
	if errors.Is(err, fs.ErrNotExist) {
		return p, errors.Join(state.Check(dir, knownVersion), p.findDemo(filepath.Join(dir, "institutions")))
	}
	if err != nil {
		return p, err
	}
	cfg, err := gateway.Load(filepath.Join(dir, "gateway"))
	if err != nil {
		return p, err
	}
	u, err := url.Parse(cfg.Blobs)
	if err != nil || u.Scheme != "file" {
		return p, fmt.Errorf("the gateway's blobs are in %s: copy them into a directory and name that in gateway.json", cfg.Blobs)
	}
	p.journal, p.blobs = filepath.Join(string(cfg.State), "journal"), filepath.FromSlash(u.Path)
	return p, p.findSite(dir)
}

func (p *places) findDemo(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		p.members = append(p.members, member{msp: e.Name(), dir: filepath.Join(dir, e.Name())})
	}
	return nil
}

func (p *places) findSite(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		at := filepath.Join(dir, e.Name())
		if _, err := os.Stat(filepath.Join(at, institution.ConfigFile)); err != nil {
			continue
		}
		cfg, err := institution.Load(at)
		if err != nil {
			return err
		}
		k, err := organisation.LoadKeys(at)
		if err != nil {
			return err
		}
		key, err := cfg.VaultKey.Path()
		if err != nil {
			return err
		}
		p.members = append(p.members, member{k.Identity.MSP, filepath.Join(at, institution.StateDir), key})
	}
	return nil
}

// plain refuses places outside of the directory, which files in it may name, as the
// directory itself is refused.
func (p places) plain() error {
	named := []string{p.journal, p.blobs}
	for _, m := range p.members {
		named = append(named, cmp.Or(m.key, m.dir))
	}
	for _, path := range named {
		if err := state.Plain(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
