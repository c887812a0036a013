package gateway

import (
	"context"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"buf.build/go/protovalidate"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
)

// Bounds of calls inside the process.
const (
	callTimeout = 30 * time.Second
	maxMessage  = 16 << 20
	stopTimeout = 5 * time.Second
)

const eventStream = "text/event-stream"

// Metadata by which the front tells the services who calls. No header of the
// caller becomes metadata, so nobody outside can set these.
const (
	metaKind = "vitalveil-party-kind"
	metaName = "vitalveil-party-name"
	metaKey  = "vitalveil-idempotency-key"
	metaFrom = "vitalveil-address"
)

// rest is the services behind the REST front, connected inside the process.
type rest struct {
	mux    http.Handler
	server *grpc.Server
	conn   *grpc.ClientConn
	done   chan error
}

func newREST(g *Gateway) (*rest, error) {
	pipe := bufconn.Listen(1 << 20)
	conn, err := grpc.NewClient("passthrough:///gateway",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // memory only
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage), grpc.WaitForHandlers(true),
		grpc.UnaryInterceptor(g.serveUnary), grpc.StreamInterceptor(g.serveStream))
	apiv1.RegisterNetworkServer(server, networkService{g: g})
	apiv1.RegisterPatientsServer(server, patientsService{g: g})
	apiv1.RegisterConsentsServer(server, consentsService{g: g})
	apiv1.RegisterErasuresServer(server, erasuresService{g: g})
	apiv1.RegisterDevicesServer(server, devicesService{g: g})
	apiv1.RegisterBlobsServer(server, blobsService{g: g})
	apiv1.RegisterOperationsServer(server, operationsService{g: g})
	r := &rest{server: server, conn: conn, done: make(chan error, 1)}
	go func() { r.done <- server.Serve(pipe) }()
	if r.mux, err = newMux(g, conn); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// close ends the services; none runs once it has returned.
func (r *rest) close() {
	force := time.AfterFunc(stopTimeout, r.server.Stop)
	r.server.GracefulStop()
	force.Stop()
	r.conn.Close()
	<-r.done
}

func newMux(g *Gateway, conn *grpc.ClientConn) (http.Handler, error) {
	plain := &runtime.JSONPb{
		MarshalOptions: protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true},
	}
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.HTTPBodyMarshaler{Marshaler: inPlace{plain}}),
		runtime.WithMarshalerOption(eventStream, &events{JSONPb: plain}),
		runtime.WithErrorHandler(restError),
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithOutgoingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithMetadata(callerMetadata),
		runtime.WithForwardResponseOption(accepted),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
	)
	ctx := context.Background() // registration does not outlive conn
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		apiv1.RegisterNetworkHandler, apiv1.RegisterPatientsHandler, apiv1.RegisterConsentsHandler, apiv1.RegisterErasuresHandler,
		apiv1.RegisterDevicesHandler, apiv1.RegisterBlobsHandler, apiv1.RegisterOperationsHandler,
	} {
		if err := register(ctx, mux, conn); err != nil {
			return nil, err
		}
	}
	return mux, nil
}

// events writes a stream as server-sent events.
type events struct{ *runtime.JSONPb }

// ContentType implements runtime.Marshaler.
func (*events) ContentType(any) string { return eventStream }

// StreamContentType implements runtime.StreamContentType.
func (*events) StreamContentType(any) string { return eventStream }

// Delimiter implements runtime.Delimited.
func (*events) Delimiter() []byte { return []byte("\n\n") }

// Marshal implements runtime.Marshaler; protojson writes one line.
func (e *events) Marshal(v any) ([]byte, error) {
	if m, ok := v.(map[string]any); ok && m["result"] != nil {
		v = m["result"]
	}
	b, err := e.JSONPb.Marshal(v)
	return append([]byte("data: "), b...), err
}

// callerMetadata hands on what the front found out.
func callerMetadata(ctx context.Context, _ *http.Request) metadata.MD {
	c, _ := ctx.Value(callerKey{}).(caller)
	return metadata.Pairs(metaKind, c.party.Kind, metaName, c.party.Name, metaKey, c.key, metaFrom, c.address)
}

// callerOf is what callerMetadata handed on.
func callerOf(ctx context.Context) caller {
	md, _ := metadata.FromIncomingContext(ctx)
	one := func(key string) string {
		if v := md.Get(key); len(v) == 1 {
			return v[0]
		}
		return ""
	}
	return caller{party: api.Party{Kind: one(metaKind), Name: one(metaName)}, address: one(metaFrom), key: one(metaKey)}
}

// accepted answers writes with 202, or 200 when they were done before.
func accepted(ctx context.Context, w http.ResponseWriter, m proto.Message) error {
	op, isOperation := m.(*apiv1.Operation)
	c, _ := ctx.Value(callerKey{}).(caller)
	if !isOperation || !c.accepts {
		return nil
	}
	w.Header().Set("Location", "/v1/operations/"+op.Id)
	if !op.Done {
		w.WriteHeader(http.StatusAccepted)
	}
	return nil
}

// serveUnary validates a request, bounds its time and codes its errors.
func (g *Gateway) serveUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := protovalidate.Validate(req.(proto.Message), protovalidate.WithFailFast()); err != nil {
		return nil, violationStatus(err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var resp any
	err := g.guard(info.FullMethod, func() error {
		var err error
		resp, err = next(ctx, req)
		return err
	})
	if err != nil {
		return nil, g.coded(info.FullMethod, err)
	}
	return resp, nil
}

// serveStream is serveUnary for streams; these bound themselves.
func (g *Gateway) serveStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	err := g.guard(info.FullMethod, func() error { return next(srv, validating{stream}) })
	if err != nil {
		return g.coded(info.FullMethod, err)
	}
	return nil
}

// validating checks each message that comes in.
type validating struct{ grpc.ServerStream }

// RecvMsg implements grpc.ServerStream.
func (v validating) RecvMsg(m any) error {
	if err := v.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if err := protovalidate.Validate(m.(proto.Message), protovalidate.WithFailFast()); err != nil {
		return fault.New(fault.Invalid, "%s", err)
	}
	return nil
}

func (g *Gateway) coded(method string, err error) error {
	f := asFault(err)
	if f.Code == fault.Internal {
		g.log.Error("request failed", "method", method, "error", err)
	}
	return toStatus(f)
}

// guard turns a panic, which is a mistake in the program, into an error of the
// one request that met it.
func (g *Gateway) guard(method string, f func() error) error {
	var err error
	returned := false
	func() {
		defer func() {
			if p := recover(); p != nil {
				g.log.Error("request panicked", "method", method, "stack", string(debug.Stack()))
			}
		}()
		err = f()
		returned = true
	}()
	if !returned {
		return fault.New(fault.Internal, "the gateway failed; see its log")
	}
	return err
}
