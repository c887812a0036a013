package embedded

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
)

// What passes between a served ledger and its clients: gRPC with the messages
// below in the deterministic CBOR of this package, over mutual TLS. The client
// signs proposals itself, so a server, and whoever can reach it, can do no more in
// a member's name than the ledger's operator can.

// Bounds of messages in bytes: of a call, and of what comes back. A block has at
// most maxGroupBytes of transactions, or a single larger one, and its private values.
const (
	maxRemoteCall   = 2*maxProposal + 64<<10
	maxRemoteAnswer = 64 << 20
)

// remoteService is the gRPC service's name.
const remoteService = "vitalveil.ledger.v1.Ledger"

type remoteEmpty struct {
	_ struct{} `cbor:",toarray"`
}

type remoteFrom struct {
	_    struct{} `cbor:",toarray"`
	From uint64
}

type remoteCall struct {
	_    struct{} `cbor:",toarray"`
	Call signedCall
}

type remoteResult struct {
	_      struct{} `cbor:",toarray"`
	Result network.Result
}

// remoteState is what a server says about its ledger.
type remoteState struct {
	_       struct{} `cbor:",toarray"`
	Channel string
	Height  uint64
}

// remoteCodec is the encoding of messages. Messages are not hashed or signed, only
// what is in them, so any encoding of them will do.
type remoteCodec struct{}

func (remoteCodec) Marshal(v any) ([]byte, error)      { return marshal(v) }
func (remoteCodec) Unmarshal(data []byte, v any) error { return decoding.Unmarshal(data, v) }
func (remoteCodec) Name() string                       { return "vitalveil-cbor" }

// remoteCode marks errors that carry a fault's text.
const remoteCode = codes.FailedPrecondition

func toRemote(err error) error {
	var f *fault.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return status.Error(remoteCode, f.Error())
	}
	return status.FromContextError(err).Err()
}

// fromRemote reads an error back. What gRPC itself reports is that the ledger
// cannot be reached, or not in time.
func fromRemote(err error) error {
	st := status.Convert(err)
	switch st.Code() {
	case remoteCode:
		return fault.Parse(st.Message())
	case codes.ResourceExhausted:
		return fault.New(fault.TooLarge, "%s", st.Message())
	case codes.Canceled:
		return fault.New(fault.Unavailable, "%w", context.Canceled)
	case codes.DeadlineExceeded:
		return fault.New(fault.Unavailable, "%w", context.DeadlineExceeded)
	}
	return fault.New(fault.Unavailable, "the ledger cannot be reached: %s", st.Message())
}

// remoteMethods is implemented by the server; gRPC checks it at registration.
type remoteMethods interface {
	submit(context.Context, *remoteCall) (*remoteResult, error)
	evaluate(context.Context, *remoteCall) (*remoteResult, error)
	state(context.Context, *remoteEmpty) (*remoteState, error)
}

// unary adapts a method to gRPC.
func unary[Req, Resp any](name string, f func(remoteMethods, context.Context, *Req) (*Resp, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		req := new(Req)
		if err := dec(req); err != nil {
			return nil, err
		}
		resp, err := f(srv.(remoteMethods), ctx, req)
		if err != nil {
			return nil, toRemote(err)
		}
		return resp, nil
	}}
}

func remoteDescription() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: remoteService,
		HandlerType: (*remoteMethods)(nil),
		Methods: []grpc.MethodDesc{
			unary("Submit", remoteMethods.submit),
			unary("Evaluate", remoteMethods.evaluate),
			unary("State", remoteMethods.state),
		},
		Streams: []grpc.StreamDesc{{
			StreamName: "Blocks", ServerStreams: true,
			Handler: func(srv any, stream grpc.ServerStream) error {
				from := &remoteFrom{}
				if err := stream.RecvMsg(from); err != nil {
					return err
				}
				return toRemote(srv.(*remoteServer).blocks(from.From, stream))
			},
		}},
	}
}

func remotePath(method string) string { return fmt.Sprintf("/%s/%s", remoteService, method) }
