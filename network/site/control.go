package site

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Bounds of a control socket.
const (
	maxControl     = 64 << 10 // bytes of a request
	maxControlBack = 8 << 20  // bytes of an answer
	headerTime     = 10 * time.Second
	// maxSocketPath is how long the path of a Unix socket may be on every system that Go
	// supports (sun_path has 104 bytes on some, with a zero at the end).
	maxSocketPath = 103
)

// Control is how the program of a role that runs in a directory is told what to do: JSON
// over HTTP on a socket in the directory, for its owner only. Errors are faults as text.
type Control struct {
	Role string // as in "vitalveil ROLE run"
	Dir  string
}

// Check makes sure, before anybody has keys, that the socket can be made.
func (c Control) Check() error {
	path, err := filepath.Abs(c.path())
	if err != nil {
		return err
	}
	if len(path) > maxSocketPath {
		return fmt.Errorf("--dir is too long: the path of its control socket would have %d bytes, and a socket's has at most %d. Choose a shorter one", len(path), maxSocketPath)
	}
	return nil
}

func (c Control) path() string { return filepath.Join(c.Dir, socketFile) }

// Listen takes the socket. One that a process left which was killed is replaced; the
// lock of the role's state keeps two processes out of one directory.
func (c Control) Listen() (net.Listener, error) {
	if err := os.Remove(c.path()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", c.path())
	if err != nil {
		return nil, fmt.Errorf("control socket (its path has at most some 100 characters): %w", err)
	}
	return l, os.Chmod(c.path(), 0o600)
}

// Running reports whether a program answers in the directory.
func (c Control) Running() bool {
	conn, err := net.Dial("unix", c.path())
	return err == nil && conn.Close() == nil
}

// Commands answers calls, by what was called: Handle makes them.
type Commands map[string]http.HandlerFunc

// Serve answers calls on the socket until ctx ends.
func (c Commands) Serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	for what, h := range c {
		mux.HandleFunc("POST /"+what, h)
	}
	return serveUntil(ctx, l, mux)
}

// serveUntil serves until ctx ends, and cuts off what is under way then.
func serveUntil(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: headerTime, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

// Handle is a command of a control socket: f gets the request and its answer is sent.
func Handle[Req, Resp any](f func(context.Context, *Req) (Resp, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxControl))
		req := new(Req)
		if err == nil {
			err = record.DecodeJSON(body, maxControl, req)
		}
		if err != nil {
			refuse(w, fault.New(fault.Invalid, "request: %w", err))
			return
		}
		resp, err := f(r.Context(), req)
		if err != nil {
			refuse(w, err)
			return
		}
		if err := json.NewEncoder(w).Encode(resp); err != nil {
			refuse(w, err)
		}
	}
}

func refuse(w http.ResponseWriter, err error) {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		f = fault.New(fault.Internal, "%w", err)
	}
	http.Error(w, f.Error(), http.StatusConflict)
}

// Call asks the program that runs in the directory. result may be nil.
func (c Control) Call(ctx context.Context, what string, request, result any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", c.path())
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.Role+"/"+what, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil && ctx.Err() != nil {
		return fault.New(fault.Unavailable, "the call was ended (%w) before the %s in %s had answered; what it was asked to do it may still do", ctx.Err(), c.Role, c.Dir)
	}
	if err != nil {
		return fault.New(fault.Unavailable, "no %s answers in %s (start it with \"vitalveil %s run --dir %s\"): %w", c.Role, c.Dir, c.Role, c.Dir, err)
	}
	defer resp.Body.Close()
	back, err := io.ReadAll(io.LimitReader(resp.Body, maxControlBack))
	if err != nil {
		return fault.New(fault.Unavailable, "the %s in %s went away: %w", c.Role, c.Dir, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fault.Parse(string(bytes.TrimSpace(back)))
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(back, result)
}

// awaitPause is how long Await waits before it asks again.
const awaitPause = 50 * time.Millisecond

// Await asks until there is no error, ctx ends or the wait is over.
func Await[T any](ctx context.Context, wait time.Duration, ask func(context.Context) (T, error)) (T, error) {
	for deadline := time.Now().Add(wait); ; {
		v, err := ask(ctx)
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return v, err
		}
		time.Sleep(awaitPause)
	}
}
