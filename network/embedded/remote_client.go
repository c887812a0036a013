package embedded

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// RemoteConfig says how to reach a ledger that another process serves.
type RemoteConfig struct {
	Address  string // host:port on loopback
	Operator string // the MSP whose identity the server shows
	Channel  string
	Identity network.Identity  // who signs, and the TLS client
	Roots    map[string][]byte // root certificates (PEM) by MSP
}

// Remote is one identity's access to a ledger that another process serves.
type Remote struct {
	cfg    RemoteConfig
	conn   *grpc.ClientConn
	mu     sync.Mutex
	reader reader
}

var _ network.Client = (*Remote)(nil)

// Bounds of a call to a served ledger, where the caller's context has none.
const (
	remoteSubmitTime   = time.Minute
	remoteEvaluateTime = 20 * time.Second
)

// Connect makes a client of a served ledger. It connects when it is first used, so
// it succeeds while the ledger is down. Close it in the end.
func Connect(cfg RemoteConfig) (*Remote, error) {
	trust, err := network.NewTrust(cfg.Roots)
	if err != nil {
		return nil, err
	}
	tls, err := network.ClientTLS(cfg.Identity, cfg.Roots, cfg.Operator)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("passthrough:///"+cfg.Address, grpc.WithTransportCredentials(credentials.NewTLS(tls)),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(remoteCodec{}), grpc.MaxCallRecvMsgSize(maxRemoteAnswer), grpc.MaxCallSendMsgSize(maxRemoteCall)),
		grpc.WithDisableServiceConfig(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 3 * time.Second,
		}))
	if err != nil {
		return nil, err
	}
	return &Remote{cfg: cfg, conn: conn, reader: reader{cfg: cfg, trust: trust}}, nil
}

// Close ends the connection.
func (r *Remote) Close() error { return r.conn.Close() }

// Submit implements network.Client. The transaction id is known before the call
// leaves, so also an error whose outcome is unknown carries it.
func (r *Remote) Submit(ctx context.Context, call network.Call) (network.Result, error) {
	s, id, err := r.sign(call)
	if err != nil {
		return network.Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, remoteSubmitTime)
	defer cancel()
	out := &remoteResult{}
	if err := r.conn.Invoke(ctx, remotePath("Submit"), &remoteCall{Call: *s}, out); err != nil {
		err = fromRemote(err)
		if fault.Of(err) == fault.Unavailable {
			return network.Result{TxID: id.String()}, fault.New(fault.Unavailable, "transaction %s may or may not be committed: %w", id, err)
		}
		return network.Result{}, err
	}
	if out.Result.TxID != id.String() {
		return network.Result{}, fault.New(fault.Internal, "the ledger answered about transaction %q instead of %s", out.Result.TxID, id)
	}
	return out.Result, nil
}

// Evaluate implements network.Client.
func (r *Remote) Evaluate(ctx context.Context, call network.Call) ([]byte, error) {
	s, _, err := r.sign(call)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, remoteEvaluateTime)
	defer cancel()
	out := &remoteResult{}
	if err := r.conn.Invoke(ctx, remotePath("Evaluate"), &remoteCall{Call: *s}, out); err != nil {
		return nil, fromRemote(err)
	}
	return out.Result.Payload, nil
}

func (r *Remote) sign(call network.Call) (*signedCall, record.ID, error) {
	if err := call.Check(); err != nil {
		return nil, record.ID{}, err
	}
	s, err := signCall(r.cfg.Identity, r.cfg.Channel, call, time.Now())
	if err != nil {
		return nil, record.ID{}, fault.New(fault.Invalid, "cannot sign the call: %w", err)
	}
	p, err := parseProposal(r.cfg.Channel, s.Recorded)
	if err != nil {
		return nil, record.ID{}, fault.New(fault.Invalid, "the call does not make a proposal: %w", err)
	}
	return s, p.id, nil
}

// Height returns how many blocks the ledger has.
func (r *Remote) Height(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, remoteEvaluateTime)
	defer cancel()
	out := &remoteState{}
	if err := r.conn.Invoke(ctx, remotePath("State"), &remoteEmpty{}, out); err != nil {
		return 0, fromRemote(err)
	}
	if out.Channel != r.cfg.Channel {
		return 0, fault.New(fault.Conflict, "the ledger at %s is %q, not %q", r.cfg.Address, out.Channel, r.cfg.Channel)
	}
	return out.Height, nil
}

// Blocks implements network.Client. Every block is checked: that it follows the one
// before, the operator's signature of it, its transactions against the header, and of
// each who has submitted it. A block that does not hold is fault.Internal.
func (r *Remote) Blocks(ctx context.Context, from uint64) iter.Seq2[*network.Block, error] {
	return func(yield func(*network.Block, error) bool) {
		check, err := r.checker(ctx)
		if err == nil {
			var last *network.Block
			number := from
			err = r.served(ctx, from, func(m *remoteBlock) (bool, error) {
				b, err := check.block(m, number)
				if err == nil && last != nil && b.Previous != last.Hash {
					err = errors.New("it does not follow the block before it")
				}
				if err != nil {
					return false, fault.New(fault.Internal, "block %d of the ledger at %s: %w", number, r.cfg.Address, err)
				}
				last, number = b, number+1
				return yield(b, nil), nil
			})
		}
		if err != nil && ctx.Err() == nil {
			yield(nil, err)
		}
	}
}

// checker returns what checks blocks. It reads block 0 once.
func (r *Remote) checker(ctx context.Context) (*reader, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reader.operator != nil {
		return &r.reader, nil
	}
	err := r.served(ctx, 0, func(m *remoteBlock) (bool, error) {
		if err := r.reader.found(m); err != nil {
			return false, fault.New(fault.Internal, "the ledger at %s: %w", r.cfg.Address, err)
		}
		return false, nil
	})
	if err == nil && r.reader.operator == nil {
		err = fault.New(fault.Unavailable, "the ledger at %s has no blocks", r.cfg.Address)
	}
	return &r.reader, err
}

// served gives blocks to take as they are served, until it wants no more or refuses
// one, or the stream ends, which is an error.
func (r *Remote) served(ctx context.Context, from uint64, take func(*remoteBlock) (bool, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := r.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, remotePath("Blocks"))
	if err == nil {
		err = stream.SendMsg(&remoteFrom{From: from})
	}
	if err == nil {
		err = stream.CloseSend()
	}
	for err == nil {
		m := &remoteBlock{}
		if err = stream.RecvMsg(m); err != nil {
			break
		}
		more, err := take(m)
		if err != nil || !more {
			return err
		}
	}
	return fromRemote(err)
}
