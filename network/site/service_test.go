package site

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestMetricsAndReadinessAreServedUntilTheEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	var ready atomic.Bool
	go func() {
		done <- Service{Metrics: address}.Observe(ctx, NewRegistry(), func(context.Context) error {
			if !ready.Load() {
				return errors.New("3 of 5 blocks read")
			}
			return nil
		})
	}()
	get := func(path string) (int, string) {
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			resp, err := http.Get("http://" + address + path)
			if err == nil {
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				return resp.StatusCode, string(body)
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	if code, body := get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "3 of 5") {
		t.Errorf("not ready: %d %s", code, body)
	}
	ready.Store(true)
	if code, body := get("/readyz"); code != http.StatusOK {
		t.Errorf("ready: %d %s", code, body)
	}
	if code, body := get("/metrics"); code != http.StatusOK || !strings.Contains(body, "go_goroutines") {
		t.Errorf("metrics: %d %.200s", code, body)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := (Service{}).Observe(t.Context(), NewRegistry(), nil); err != nil {
		t.Errorf("without an address nothing is served: %v", err)
	}
}
