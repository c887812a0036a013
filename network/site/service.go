package site

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Service is what every role's file may say, embedded in its type.
type Service struct {
	// Metrics is a host:port on loopback with /metrics for Prometheus and /readyz; empty:
	// neither is served.
	Metrics string `json:"metrics,omitempty"`
	// Log is the form of the log on standard error: "text", which is also the default, or
	// "json".
	Log string `json:"log,omitempty"`
}

// Check refuses what nobody could serve, or anybody could read.
func (s Service) Check() error {
	if s.Log != "" && s.Log != "text" && s.Log != "json" {
		return fmt.Errorf("log is \"text\" or \"json\", not %q", s.Log)
	}
	if s.Metrics == "" {
		return nil
	}
	if err := CheckLoopback(s.Metrics); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// CheckLoopback refuses an address that others than this machine may reach: it is an IP
// address of loopback with a port.
func CheckLoopback(address string) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil || !a.Addr().IsLoopback() {
		return fmt.Errorf("%q is not an address on loopback such as 127.0.0.1:9100", address)
	}
	return nil
}

// Logger is the service's log on standard error.
func (s Service) Logger(verbose bool) *slog.Logger {
	o := &slog.HandlerOptions{}
	if verbose {
		o.Level = slog.LevelDebug
	}
	if s.Log == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}

// NewRegistry is where a role enters its metrics, with those of its process in it.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Observe serves metrics, and whether the service is ready, until ctx ends, where the
// file names an address for them. ready says what is missing.
func (s Service) Observe(ctx context.Context, metrics prometheus.Gatherer, ready func(context.Context) error) error {
	if s.Metrics == "" {
		return nil
	}
	l, err := net.Listen("tcp", s.Metrics)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := ready(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	return serveUntil(ctx, l, mux)
}
