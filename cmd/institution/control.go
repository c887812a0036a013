package institution

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
	"github.com/vitalveil/vitalveil/network/index"
	role "github.com/vitalveil/vitalveil/network/institution"
)

// A running institution is told what to do in JSON over HTTP on a socket in its
// directory. Errors are faults as text.

// Bounds of the control socket.
const (
	maxControl     = 64 << 10 // bytes of a request
	maxControlBack = 8 << 20  // bytes of an answer
	headerTime     = 10 * time.Second
	tickTime       = 30 * time.Second // to post a clock, which is a second on a ledger that works
)

// Status is what an institution says about itself.
type Status struct {
	Member  string `json:"member"`
	Network string `json:"network"`
	Time    int64  `json:"ledger_time"` // Unix seconds; 0 before there is one
	Height  uint64 `json:"ledger_height"`
	Read    uint64 `json:"blocks_read"`
	Problem string `json:"problem,omitempty"` // with the ledger
	// Stalled is since when nothing that the institution submits is ordered, in Unix
	// seconds, and Stall what was said last; 0 while all is well.
	Stalled int64        `json:"stalled,omitempty"`
	Stall   string       `json:"stall,omitempty"`
	Clock   string       `json:"clock,omitempty"` // why no clock is posted
	Ready   bool         `json:"ready"`           // the whole ledger was read, and it is this network's
	Counts  index.Counts `json:"counts"`
	// Certificates says until when those in use serve, and warns from 60 days on.
	Certificates []Certificate `json:"certificates"`
}

// staller is a ledger that may be read while it orders nothing.
type staller interface{ Stalled() (time.Time, error) }

// fetchRequest names a query of the past.
type fetchRequest struct {
	Query string `json:"query"`
}

// listenControl takes the socket. One that a process left which was killed is
// replaced; the state's lock keeps two institutions out of one directory.
func listenControl(dir string) (net.Listener, error) {
	path := filepath.Join(dir, socketFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket (its path has at most some 100 characters): %w", err)
	}
	return l, os.Chmod(path, 0o600)
}

// control serves the socket until ctx ends.
func (p *Process) control(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ask", handle(func(ctx context.Context, a *record.Ask) (*role.Answer, error) { return p.Ask(ctx, *a) }))
	mux.HandleFunc("POST /fetch", handle(func(ctx context.Context, f *fetchRequest) (*role.Answer, error) {
		return p.Fetch(ctx, f.Query)
	}))
	mux.HandleFunc("POST /abandon", handle(func(ctx context.Context, a *record.Abandon) (struct{}, error) {
		return struct{}{}, p.Abandon(ctx, a.Query, a.Reason)
	}))
	mux.HandleFunc("POST /confirm", handle(func(ctx context.Context, f *fetchRequest) (record.QueryState, error) {
		return p.Confirm(ctx, f.Query)
	}))
	mux.HandleFunc("POST /quarantine", handle(func(ctx context.Context, v *record.VoteQuarantine) (struct{}, error) {
		return struct{}{}, p.VoteQuarantine(ctx, *v)
	}))
	mux.HandleFunc("POST /call", handle(func(ctx context.Context, c *callRequest) (json.RawMessage, error) {
		return p.Submit(ctx, c.Function, c.Document)
	}))
	mux.HandleFunc("POST /study", handle(func(ctx context.Context, s *record.Study) (struct{}, error) {
		return struct{}{}, p.CreateStudy(ctx, *s)
	}))
	mux.HandleFunc("POST /tick", handle(func(ctx context.Context, t *record.Tick) (struct{}, error) {
		ctx, cancel := context.WithTimeout(ctx, tickTime)
		defer cancel()
		return struct{}{}, p.Tick(ctx, t.Time)
	}))
	mux.HandleFunc("POST /accept-clock", handle(func(_ context.Context, t *record.Tick) (struct{}, error) {
		return struct{}{}, p.AcceptClock(t.Time)
	}))
	mux.HandleFunc("POST /clock-reset", handle(func(ctx context.Context, t *record.Tick) (record.ClockState, error) {
		return p.ResetClock(ctx, t.Time)
	}))
	mux.HandleFunc("POST /newest", handle(func(ctx context.Context, _ *struct{}) (role.Block, error) { return p.Newest(ctx) }))
	mux.HandleFunc("POST /accept-ledger", handle(func(ctx context.Context, b *role.Block) (struct{}, error) {
		return struct{}{}, p.AcceptLedger(ctx, *b)
	}))
	mux.HandleFunc("POST /status", handle(func(ctx context.Context, _ *struct{}) (Status, error) { return p.status(ctx), nil }))
	s := &http.Server{Handler: mux, ReadHeaderTimeout: headerTime, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

func (p *Process) status(ctx context.Context) Status {
	s := Status{Member: p.MSP(), Network: p.genesis.Network, Time: p.Index().Time(), Read: p.Index().Height(), Counts: p.Index().Counts(), Certificates: p.certificates()}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var err error
	if s.Height, err = p.ledger.Height(ctx); err != nil {
		s.Problem = err.Error()
	}
	s.Stalled, s.Stall = stall(p.ledger)
	_, founded := p.Index().Genesis()
	if stopped := p.Stopped(); stopped != nil {
		s.Problem = stopped.Error()
	}
	if problem := p.ClockProblem(); problem != nil {
		s.Clock = problem.Error()
	}
	s.Ready = s.Problem == "" && founded && s.Read >= s.Height
	return s
}

// stall is since when a ledger orders nothing, and why.
func stall(l ledger) (int64, string) {
	s, ok := l.(staller)
	if !ok {
		return 0, "" // an embedded ledger orders, or is not reached at all
	}
	since, why := s.Stalled()
	if since.IsZero() || why == nil {
		return 0, ""
	}
	return since.Unix(), why.Error()
}

func handle[Req, Resp any](f func(context.Context, *Req) (Resp, error)) http.HandlerFunc {
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

// Call asks the institution that runs in dir. result may be nil.
func Call(ctx context.Context, dir, what string, request, result any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, socketFile))
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://institution/"+what, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil && ctx.Err() != nil {
		return fault.New(fault.Unavailable, "the call was ended (%w) before the institution in %s had answered; what it was asked to do it may still do", ctx.Err(), dir)
	}
	if err != nil {
		return fault.New(fault.Unavailable, "no institution answers in %s (start it with \"vitalveil institution run --dir %s\"): %w", dir, dir, err)
	}
	defer resp.Body.Close()
	back, err := io.ReadAll(io.LimitReader(resp.Body, maxControlBack))
	if err != nil {
		return fault.New(fault.Unavailable, "the institution in %s went away: %w", dir, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fault.Parse(string(bytes.TrimSpace(back)))
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(back, result)
}
