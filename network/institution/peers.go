package institution

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/institution/share"
)

// peers keeps one connection to each other member.
type peers struct {
	addresses map[string]string
	tls       map[string]*tls.Config

	mu    sync.Mutex
	conns map[string]*grpc.ClientConn
}

func newPeers(cfg Config) (*peers, error) {
	p := &peers{addresses: maps.Clone(cfg.Peers), tls: map[string]*tls.Config{}, conns: map[string]*grpc.ClientConn{}}
	for i, m := range cfg.Genesis.Members {
		if i == cfg.Member {
			continue
		}
		c, err := network.ClientTLS(cfg.Identity, cfg.Roots, m.MSP)
		if err != nil {
			return nil, err
		}
		p.tls[m.MSP] = c
	}
	return p, nil
}

// detailsKey asks a member for a patient's details key.
func (p *peers) detailsKey(ctx context.Context, msp string, patient record.ID) ([]byte, error) {
	conn, err := p.conn(msp)
	if err != nil {
		return nil, err
	}
	r, err := share.NewInstitutionsClient(conn).GetDetailsKey(ctx, &share.GetDetailsKeyRequest{Patient: patient.String()})
	if err != nil {
		return nil, fromStatus(err)
	}
	return r.GetKey(), nil
}

// share asks a member for its shares.
func (p *peers) share(ctx context.Context, msp, query string, attempt int) (*share.GetShareResponse, error) {
	conn, err := p.conn(msp)
	if err != nil {
		return nil, err
	}
	r, err := share.NewInstitutionsClient(conn).GetShare(ctx, &share.GetShareRequest{Query: query, Attempt: uint32(attempt)})
	if err != nil {
		return nil, fromStatus(err)
	}
	return r, nil
}

// probe asks a member for its shares of a part of a failed query's devices.
func (p *peers) probe(ctx context.Context, msp, query string, part int) (*share.GetProbeResponse, error) {
	conn, err := p.conn(msp)
	if err != nil {
		return nil, err
	}
	r, err := share.NewInstitutionsClient(conn).GetProbe(ctx, &share.GetProbeRequest{Query: query, Part: uint32(part)})
	if err != nil {
		return nil, fromStatus(err)
	}
	return r, nil
}

func (p *peers) conn(msp string) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.conns[msp]; c != nil {
		return c, nil
	}
	address := p.addresses[msp]
	if address == "" {
		return nil, fault.New(fault.Unavailable, "no address is configured for %s", msp)
	}
	c, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(credentials.NewTLS(p.tls[msp])),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)), grpc.WithDisableServiceConfig(),
		// A member that was restarted is found again soon.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 3 * time.Second,
		}))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "%s: %w", msp, err)
	}
	p.conns[msp] = c
	return c, nil
}

// close ends every connection; later calls make new ones.
func (p *peers) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	for msp, c := range p.conns {
		err = errors.Join(err, c.Close())
		delete(p.conns, msp)
	}
	return err
}
