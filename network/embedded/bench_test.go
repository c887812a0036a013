package embedded

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
)

// benchDir returns a directory for a benchmark: VITALVEIL_BENCH_DIR chooses the
// disk, for the temporary directory may be one that never syncs.
func benchDir(b *testing.B) string {
	if base := os.Getenv("VITALVEIL_BENCH_DIR"); base != "" {
		dir, err := os.MkdirTemp(base, "ledger-")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return b.TempDir()
}

func newBenchHarness(b *testing.B) *harness {
	h := &harness{consortium: newConsortium(b)}
	h.cfg = Config{Dir: benchDir(b), Channel: "bench", Roots: h.roots, Chaincode: conformance.Chaincode{}}
	h.open(b)
	b.Cleanup(func() { h.close(b) })
	return h
}

// share runs b.N calls on a number of clients.
func share(b *testing.B, h *harness, clients int, call func(i int64) network.Call) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range clients {
		wg.Go(func() {
			c := h.ledger.Client(h.ids[conformance.OrgA])
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if _, err := c.Submit(context.Background(), call(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
	b.ReportMetric(float64(b.N)/float64(h.ledger.Height()-1), "tx/block")
}

// BenchmarkSmall: one key read and written.
func BenchmarkSmall(b *testing.B) {
	for _, clients := range []int{1, 8, 16} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			share(b, newBenchHarness(b), clients, func(i int64) network.Call {
				return network.Call{Function: "add", Args: []string{fmt.Sprintf("key%08d", i), "1"}}
			})
		})
	}
}

// BenchmarkBatch: 500 keys of 600 bytes, each read and written.
func BenchmarkBatch(b *testing.B) {
	value := strings.Repeat("v", 600)
	for _, clients := range []int{1, 8} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			share(b, newBenchHarness(b), clients, func(i int64) network.Call {
				call := network.Call{Function: "bulk"}
				for k := range 500 {
					call.Args = append(call.Args, fmt.Sprintf("pointer%08d/%03d", i, k), value)
				}
				return call
			})
			b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "keys/s")
		})
	}
}

func BenchmarkEvaluate(b *testing.B) {
	h := newBenchHarness(b)
	c := h.ledger.Client(h.ids[conformance.OrgA])
	for b.Loop() {
		if _, err := c.Evaluate(context.Background(), network.Call{Function: "get", Args: []string{"k"}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	h := newBenchHarness(b)
	c := h.ledger.Client(h.ids[conformance.OrgA])
	for i := range 500 {
		if _, err := c.Submit(context.Background(), network.Call{Function: "put", Args: []string{fmt.Sprint(i), "v"}}); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for b.Loop() {
		verifies(b, h.ledger)
	}
	b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "tx/s")
}
