package api

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/institution"
)

// Desk is what the interface needs of the institution that serves it.
type Desk interface {
	MSP() string
	Index() *index.Index
	// Next is closed when the next block has been read.
	Next() <-chan struct{}
	// Status says how the institution is.
	Status(ctx context.Context) Status
	// Schema is the network's rows, and Pieces how many add noise to an answer.
	Schema() *privacy.Schema
	Pieces() int

	CreateStudy(ctx context.Context, s record.Study) error
	Pose(ctx context.Context, key record.ID, ask record.Ask) (record.QueryState, error)
	Opened(query string) (*institution.Answer, error)
	Progress(query string) (institution.Progress, <-chan struct{}, error)
	Abandon(ctx context.Context, query, reason string) error
	Confirm(ctx context.Context, query string) (record.QueryState, error)

	AskPredicate(ctx context.Context, ask record.AskPredicate) (string, error)
	Predicate(ctx context.Context, id string) (record.PredicateState, error)

	VoteQuarantine(ctx context.Context, v record.VoteQuarantine) error
	FlagDevice(ctx context.Context, f record.FlagDevice) (record.DeviceFlag, error)
}

// Config says where the interface is and who may use it.
type Config struct {
	// Certificate is what the server shows.
	Certificate func() (*tls.Certificate, error)
	// Roots are the authorities of callers' certificates (PEM).
	Roots []byte
	// Callers is the path of the callers' file.
	Callers string
	Tokens  *TokenConfig // nil: no token counts
	// Hosts are the names that the server answers to, with or without a port.
	Hosts []string
	// Origins are those of pages that may use the interface; none by default.
	Origins []string
	Log     *slog.Logger
	Clock   func() time.Time // nil: time.Now

	header time.Duration // to send a header in; 0 stands for headerTime
}

// Server is the interface.
type Server struct {
	desk   Desk
	cfg    Config
	gate   *gate
	mux    *http.ServeMux
	huma   huma.API
	routes map[string]route // by the pattern of mux
	order  []route

	strangers, pace *limits
	under, streams  *places
	draining        chan struct{}
}

// Bounds of a connection.
const (
	headerTime  = 5 * time.Second
	bodyTime    = 10 * time.Second
	answerTime  = 60 * time.Second // a question waits for a block, at most for the institution's patience
	writeTime   = 10 * time.Second // of a part of an answer that somebody does not take
	idleTime    = time.Minute
	drainTime   = 10 * time.Second
	maxHeader   = 16 << 10
	maxBody     = 64 << 10
	mostConns   = 1024
	ofOneCaller = 128 // connections of one address
)

// New checks the configuration.
func New(cfg Config, desk Desk) (*Server, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.header == 0 {
		cfg.header = headerTime
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	pool := x509.NewCertPool()
	if len(cfg.Roots) > 0 && !pool.AppendCertsFromPEM(cfg.Roots) {
		return nil, errors.New("api: the authority of callers is no certificate")
	}
	if len(cfg.Roots) == 0 && cfg.Tokens == nil {
		return nil, errors.New("api: nobody could call: name an authority of callers' certificates, or an issuer of tokens")
	}
	if len(cfg.Hosts) == 0 {
		return nil, errors.New("api: the names that it answers to are needed")
	}
	for _, o := range cfg.Origins {
		if u, err := url.Parse(o); err != nil || u.Scheme != "https" || u.Host == "" || o != u.Scheme+"://"+u.Host {
			return nil, fmt.Errorf("api: %q is not an origin such as https://desk.example.org", o)
		}
	}
	s := &Server{desk: desk, cfg: cfg, draining: make(chan struct{})}
	s.gate = &gate{table: &table{path: cfg.Callers}, roots: pool, clock: cfg.Clock}
	if cfg.Tokens != nil {
		if err := cfg.Tokens.Check(); err != nil {
			return nil, fmt.Errorf("api: %w", err)
		}
		s.gate.tokens = newTokens(*cfg.Tokens, cfg.Clock)
	}
	if _, err := s.gate.table.now(); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	s.strangers, s.pace = newLimits(strangerRate, strangerMax), newLimits(callerRate, callerBurst)
	s.under, s.streams = newPlaces(callerAtOnce), newPlaces(callerStreams)
	s.register()
	return s, nil
}

// Serve answers on l until ctx ends; what is under way then may end within seconds.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: http.HandlerFunc(s.door), ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: s.cfg.header, ReadTimeout: s.cfg.header + bodyTime, WriteTimeout: answerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS13, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: s.gate.roots,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.cfg.Certificate() },
		},
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		close(s.draining)
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		if err := srv.Shutdown(late); err != nil {
			_ = srv.Close()
		}
	})
	err := srv.ServeTLS(&bounded{Listener: l, places: newPlaces(ofOneCaller), all: make(chan struct{}, mostConns)}, "", "")
	if stop() { // nobody has told it to stop
		return err
	}
	<-ended
	return nil
}

// bounded refuses connections beyond a number, of one address and of all.
type bounded struct {
	net.Listener
	places *places
	all    chan struct{}
}

// Accept returns the next connection that has a place.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		if !b.places.take(host) {
			c.Close()
			continue
		}
		select {
		case b.all <- struct{}{}:
			return &placed{Conn: c, leave: func() { b.places.leave(host); <-b.all }}, nil
		default:
			b.places.leave(host)
			c.Close()
		}
	}
}

// placed gives its place back once.
type placed struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close closes the connection.
func (p *placed) Close() error {
	p.once.Do(p.leave)
	return p.Conn.Close()
}

type callerKey struct{}

// callerOf is who makes a request.
func callerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// door is what every request passes, in this order: the name that it is for, the page that
// it comes from, the route, who calls, whether that may, and its pace. Only then its
// body is read.
func (s *Server) door(w http.ResponseWriter, r *http.Request) {
	start := s.cfg.Clock()
	id := rand.Text()
	seen := &watched{ResponseWriter: w}
	h := w.Header()
	h.Set("X-Request-Id", id)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	caller, pattern, problem := s.pass(seen, r)
	if problem != nil {
		problem.Instance = "urn:vitalveil:request:" + id
		problem.write(seen)
	}
	s.cfg.Log.Info("request", "id", id, "route", pattern, "caller", caller.Name, "status", seen.status, "ms", s.cfg.Clock().Sub(start).Milliseconds())
}

func (s *Server) pass(w http.ResponseWriter, r *http.Request) (Caller, string, *Problem) {
	if !s.named(r.Host) {
		return Caller{}, "", newProblem(Misdirected, "this server does not answer to the name that the request is for; its configuration lists those that it does")
	}
	if answered, problem := s.crossed(w, r); answered || problem != nil {
		return Caller{}, "", problem
	}
	route, pattern, problem := s.route(r)
	if problem != nil {
		return Caller{}, pattern, problem
	}
	caller, problem := s.admit(r, route)
	if problem != nil {
		return caller, pattern, problem
	}
	if caller.Name != "" {
		if !s.under.take(caller.Name) {
			return caller, pattern, limited("%d requests of %s are under way already", callerAtOnce, caller.Name)
		}
		defer s.under.leave(caller.Name)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
	return caller, pattern, nil
}

// admit tells who calls, and whether that may call this route now.
func (s *Server) admit(r *http.Request, to route) (Caller, *Problem) {
	address, _, _ := net.SplitHostPort(r.RemoteAddr)
	if len(to.roles) == 0 {
		if !s.strangers.limiter("open "+address).AllowN(s.cfg.Clock(), 1) {
			return Caller{}, limited("too many requests")
		}
		return Caller{}, nil
	}
	caller, err := s.gate.who(r.Context(), r)
	if err != nil { // only these are slowed down by strangers at the same address
		if !s.strangers.limiter(address).AllowN(s.cfg.Clock(), 1) {
			return Caller{}, limited("too many requests by nobody who is known")
		}
		p := newProblem(Unauthenticated, err.Error())
		p.header.Set("WWW-Authenticate", `Bearer realm="`+s.desk.MSP()+`"`)
		return Caller{}, p
	}
	if !s.pace.limiter(caller.Name).AllowN(s.cfg.Clock(), 1) {
		return caller, limited("%s has asked more than %d times a second", caller.Name, callerRate)
	}
	if !slices.Contains(to.roles, caller.Role) {
		return caller, newProblem(fault.Forbidden, fmt.Sprintf("%s has the role %s; this needs %s", caller.Name, caller.Role, to.who()))
	}
	return caller, nil
}

func limited(format string, args ...any) *Problem {
	p := newProblem(RateLimited, fmt.Sprintf(format, args...))
	p.header.Set("Retry-After", "1")
	return p
}

// named reports whether the server answers to a name: a page that had another name point
// here (DNS rebinding) is told nothing.
func (s *Server) named(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	return slices.ContainsFunc(s.cfg.Hosts, func(h string) bool {
		return strings.EqualFold(h, host) || strings.EqualFold(h, strings.Trim(name, "[]"))
	})
}

// crossed lets pages of the configured origins in and no other. It answers the question
// that browsers ask first.
func (s *Server) crossed(w http.ResponseWriter, r *http.Request) (bool, *Problem) {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return false, nil
	}
	if len(origins) > 1 || !slices.Contains(s.cfg.Origins, origins[0]) {
		return false, newProblem(fault.Forbidden, "pages of this origin may not use the interface")
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origins[0])
	h.Set("Access-Control-Expose-Headers", "ETag, Location, Retry-After, X-Request-Id")
	h.Add("Vary", "Origin")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false, nil
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, If-None-Match")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true, nil
}

// route is the one that a request is for.
func (s *Server) route(r *http.Request) (route, string, *Problem) {
	_, pattern := s.mux.Handler(r)
	if to, ok := s.routes[pattern]; ok && r.Method == to.method {
		return to, pattern, nil
	}
	for _, to := range s.order {
		probe := r.Clone(r.Context())
		probe.Method = to.method
		if _, p := s.mux.Handler(probe); p == to.method+" "+to.path {
			problem := newProblem(NoSuchMethod, "the resource has no method "+fault.Clip(r.Method, 16))
			problem.header.Add("Allow", to.method)
			return route{}, "", problem
		}
	}
	return route{}, "", newProblem(fault.NotFound, "there is no such resource; /openapi.json lists those that there are")
}

// watched remembers the status of an answer.
type watched struct {
	http.ResponseWriter
	status int
}

func (w *watched) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *watched) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets deadlines and flushes through.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }
