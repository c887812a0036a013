package institution

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution/api"
	"github.com/vitalveil/vitalveil/network/site"
)

// APIConfig has the institution serve its own interface to its own people and programs.
// Without it none is served.
type APIConfig struct {
	Listen string `json:"listen"` // host:port
	// Certificate is the directory with cert.pem and key.pem that the server shows.
	Certificate site.Path `json:"certificate"`
	// Authority is the file with the root certificate of callers' certificates; empty: none counts.
	Authority site.Path `json:"authority,omitempty"`
	// Callers is the file with the table of callers.
	Callers site.Path        `json:"callers"`
	Tokens  *api.TokenConfig `json:"tokens,omitempty"`
	// Hosts are the names that callers use; Origins the pages that may call.
	Hosts   []string `json:"hosts"`
	Origins []string `json:"origins,omitempty"`
}

// maxAuthority bounds the file of the authority, in bytes.
const maxAuthority = 64 << 10

func (c *APIConfig) check() error {
	if c == nil {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("api.listen: %w", err)
	}
	if c.Certificate == "" || c.Callers == "" || len(c.Hosts) == 0 {
		return errors.New("api needs certificate, callers and hosts (\"vitalveil institution caller\" makes them)")
	}
	if c.Authority == "" && c.Tokens == nil {
		return errors.New("api needs an authority of callers' certificates, or tokens of an issuer")
	}
	if c.Tokens != nil {
		if err := c.Tokens.Check(); err != nil {
			return fmt.Errorf("api.tokens: %w", err)
		}
	}
	return nil
}

// openAPI makes the interface ready, where the configuration has one.
func (p *Process) openAPI(c *APIConfig) error {
	if c == nil {
		return nil
	}
	id, err := network.FollowIdentity(string(c.Certificate))
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	p.ids[string(c.Certificate)] = id
	params, err := he.ForNetwork(p.genesis)
	if err != nil {
		return err
	}
	cfg := api.Config{
		Certificate: func() (*tls.Certificate, error) { return id.Show() }, Callers: string(c.Callers), Tokens: c.Tokens, Hosts: c.Hosts, Origins: c.Origins, Log: p.log,
	}
	if c.Authority != "" {
		if cfg.Roots, err = state.ReadFile(string(c.Authority), maxAuthority); err != nil {
			return fmt.Errorf("api: %w", err)
		}
	}
	if p.api, err = api.New(cfg, desk{p, params}); err != nil {
		return err
	}
	p.apiListen, err = net.Listen("tcp", c.Listen)
	return err
}

// serveAPI serves the interface until ctx ends.
func (p *Process) serveAPI(ctx context.Context) error {
	if p.api == nil {
		return nil
	}
	return p.api.Serve(ctx, p.apiListen)
}

// desk is the institution as its interface needs it.
type desk struct {
	*Process
	params *he.Params
}

// Schema is the network's.
func (d desk) Schema() *privacy.Schema { return d.params.Schema() }

// Pieces is how many add noise to an answer.
func (d desk) Pieces() int { return d.params.Sharing().Pieces() }

// Status is the process's, without what tells how many have consented.
func (d desk) Status(ctx context.Context) api.Status {
	s := d.status(ctx)
	out := api.Status{
		Member: s.Member, Network: s.Network, LedgerTime: time.Unix(s.Time, 0).UTC(), LedgerHeight: s.Height, BlocksRead: s.Read, Ready: s.Ready, Problem: s.Problem,
		Devices: s.Counts.Devices, DevicesReady: s.Counts.Ready, Rows: s.Counts.Pointers, RowsReady: s.Counts.Available, Certificates: []api.Certificate{},
	}
	for _, c := range s.Certificates {
		out.Certificates = append(out.Certificates, api.Certificate{Of: c.Of, Until: time.Unix(c.Until, 0).UTC(), Problem: c.Problem})
	}
	return out
}

// FlagDevice says on the ledger what was seen of a device.
func (d desk) FlagDevice(ctx context.Context, f record.FlagDevice) (record.DeviceFlag, error) {
	return submit(ctx, d.Process, contracts.RegistryFlagDevice, f)
}
