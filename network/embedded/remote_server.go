package embedded

import (
	"context"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
)

// maxRemoteStreams bounds the calls that one connection has open.
const maxRemoteStreams = 256

// Serve gives members the ledger over mutual TLS until ctx ends, which is no
// error. id is the server's identity, of one of the MSPs in the ledger's roots.
// Everybody with a certificate of one of them may read all blocks, as on a Fabric
// channel.
func (l *Ledger) Serve(ctx context.Context, listener net.Listener, id network.Identity) error {
	tls, err := network.ServerTLS(id, l.Roots())
	if err != nil {
		return err
	}
	srv := grpc.NewServer(grpc.Creds(credentials.NewTLS(tls)), grpc.ForceServerCodec(remoteCodec{}),
		grpc.MaxRecvMsgSize(maxRemoteCall), grpc.MaxSendMsgSize(maxRemoteAnswer),
		grpc.MaxConcurrentStreams(maxRemoteStreams), grpc.ConnectionTimeout(10*time.Second),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}))
	srv.RegisterService(remoteDescription(), &remoteServer{l})
	stop := context.AfterFunc(ctx, srv.Stop)
	defer stop()
	err = srv.Serve(listener)
	if ctx.Err() != nil {
		srv.Stop() // returns once all handlers have
		return nil
	}
	return err
}

type remoteServer struct{ ledger *Ledger }

func (s *remoteServer) submit(ctx context.Context, c *remoteCall) (*remoteResult, error) {
	r, err := s.ledger.submit(ctx, &c.Call)
	if err != nil {
		return nil, err
	}
	return &remoteResult{Result: r}, nil
}

func (s *remoteServer) evaluate(ctx context.Context, c *remoteCall) (*remoteResult, error) {
	out, err := s.ledger.evaluate(ctx, &c.Call)
	if err != nil {
		return nil, err
	}
	return &remoteResult{Result: network.Result{Payload: out}}, nil
}

func (s *remoteServer) state(context.Context, *remoteEmpty) (*remoteState, error) {
	return &remoteState{Channel: s.ledger.Channel(), Height: s.ledger.Height()}, nil
}

func (s *remoteServer) blocks(from uint64, stream grpc.ServerStream) error {
	for number := from; ; number++ {
		ok, err := s.ledger.await(stream.Context(), number)
		if err != nil || !ok {
			return errors.Join(err, stream.Context().Err())
		}
		b, err := s.ledger.remoteBlock(number)
		if err != nil {
			return fault.New(fault.Internal, "%w", err)
		}
		if err := stream.SendMsg(b); err != nil {
			return err
		}
	}
}
