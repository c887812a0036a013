package gateway

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"buf.build/go/protovalidate"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
)

// callTimeout bounds one call of a service.
const callTimeout = 30 * time.Second

const eventStream = "text/event-stream"

// plainJSON is how messages are written.
var plainJSON = &runtime.JSONPb{
	MarshalOptions: protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true},
}

// newMux puts the services behind the REST front, as the annotations of the .proto
// files say. They are called directly: what runs around every method is around.
// Streams are served by watch.
func newMux(g *Gateway) (http.Handler, error) {
	noHeader := func(string) (string, bool) { return "", false }
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.HTTPBodyMarshaler{Marshaler: inPlace{plainJSON}}),
		runtime.WithErrorHandler(restError),
		runtime.WithIncomingHeaderMatcher(noHeader),
		runtime.WithOutgoingHeaderMatcher(noHeader),
		runtime.WithForwardResponseOption(accepted),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
	)
	ctx := context.Background()
	return mux, errors.Join(
		apiv1.RegisterNetworkHandlerServer(ctx, mux, apiv1.NetworkAround(networkService{g: g}, g.door.around)),
		apiv1.RegisterPatientsHandlerServer(ctx, mux, apiv1.PatientsAround(patientsService{g: g}, g.door.around)),
		apiv1.RegisterConsentsHandlerServer(ctx, mux, apiv1.ConsentsAround(consentsService{g: g}, g.door.around)),
		apiv1.RegisterErasuresHandlerServer(ctx, mux, apiv1.ErasuresAround(erasuresService{g: g}, g.door.around)),
		apiv1.RegisterDevicesHandlerServer(ctx, mux, apiv1.DevicesAround(devicesService{g: g}, g.door.around)),
		apiv1.RegisterBlobsHandlerServer(ctx, mux, apiv1.BlobsAround(blobsService{g: g}, g.door.around)),
		apiv1.RegisterOperationsHandlerServer(ctx, mux, apiv1.OperationsAround(operationsService{g: g}, g.door.around)))
}

// callerOf is what the front found out about a request.
func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// accepted answers writes with 202, or 200 when they were done before.
func accepted(ctx context.Context, w http.ResponseWriter, m proto.Message) error {
	op, isOperation := m.(*apiv1.Operation)
	if !isOperation || !callerOf(ctx).accepts {
		return nil
	}
	w.Header().Set("Location", "/v1/operations/"+op.Id)
	if !op.Done {
		w.WriteHeader(http.StatusAccepted)
	}
	return nil
}

// around runs a method of a service: it validates the request, bounds the time and
// codes the error.
func (d *door) around(ctx context.Context, method string, request proto.Message, next func(context.Context) error) error {
	if err := protovalidate.Validate(request, protovalidate.WithFailFast()); err != nil {
		var broken *protovalidate.ValidationError
		if errors.As(err, &broken) {
			return broken
		}
		return d.coded(method, err)
	}
	leave, err := d.calls.enter()
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	if err := d.guard(method, func() error { return next(ctx) }); err != nil {
		return d.coded(method, err)
	}
	return nil
}

func (d *door) coded(method string, err error) error {
	f := asFault(err)
	if f.Code == fault.Internal {
		d.log.Error("request failed", "method", method, "error", err)
	}
	return f
}

// guard turns a panic, which is a mistake in the program, into an error of the
// one request that met it.
func (d *door) guard(method string, f func() error) error {
	var err error
	returned := false
	func() {
		defer func() {
			if p := recover(); p != nil {
				d.log.Error("request panicked", "method", method, "stack", string(debug.Stack()))
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

// gate counts the calls that run, so that none does once it is closed.
type gate struct {
	mu     sync.RWMutex // read while a call runs
	closed bool
}

// enter begins a call. The function that it returns ends it.
func (c *gate) enter() (func(), error) {
	c.mu.RLock()
	if c.closed {
		c.mu.RUnlock()
		return nil, fault.New(fault.Unavailable, "the gateway is closed")
	}
	return c.mu.RUnlock, nil
}

// close waits for the calls that run and lets no other begin.
func (c *gate) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// streamLife bounds a stream; its client asks again.
const streamLife = 45 * time.Second

// watch writes an operation now and at every change until it is done: as server-sent
// events, or one JSON object with a result a line. Once it has begun, an error can only
// end it.
func (d *door) watch(w http.ResponseWriter, r *http.Request) error {
	leave, err := d.calls.enter()
	if err != nil {
		return err
	}
	defer leave()
	id := streamID(r)
	state, changed, err := d.ops.get(id)
	if err != nil {
		return err
	}
	kind, before, after := "application/json", `{"result":`, "}\n"
	if accepts(r.Header, eventStream) {
		kind, before, after = eventStream, "data: ", "\n\n"
	}
	w.Header().Set("Content-Type", kind)
	if r.Method == http.MethodHead { // a stream has no end that could be waited for
		return nil
	}
	life := time.NewTimer(streamLife)
	defer life.Stop()
	for {
		b, err := plainJSON.Marshal(state)
		if err != nil {
			return d.coded("watch", err)
		}
		if _, err := w.Write(append(append([]byte(before), b...), after...)); err != nil || state.Done {
			return nil
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return nil
		}
		select {
		case <-changed:
		case <-life.C:
			return nil
		case <-d.drain:
			return nil
		case <-r.Context().Done():
			return nil
		}
		if state, changed, err = d.ops.get(id); err != nil {
			d.log.Error("a stream ended early", "error", err)
			return nil
		}
	}
}
