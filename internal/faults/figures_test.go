package faults

import (
	"context"
	"encoding/json"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// inFlight is how many batches the gateway has under way at once.
const inFlight = 4

// TestFigures measures both ledgers: pointers a second in full batches, memory
// and disk as the state grows. It asserts that everything was anchored.
func TestFigures(t *testing.T) {
	if !soaking() {
		t.Skip("SKIPPED: measures for some minutes; set VITALVEIL_SOAK=1")
	}
	t.Run("embedded", func(t *testing.T) { onEmbedded(t).growth() })
	t.Run("fabric", func(t *testing.T) { onFabric(t, "raft1").growth() })
}

// growth anchors ten times the same number of batches and shows what each tenth
// took and left.
func (w *world) growth() {
	people := w.enrol(250)
	w.tick((firstHour + 2000) * hour)
	at := firstHour
	var batches []record.Anchor
	disk := w.disk()
	for tenth := 1; tenth <= 10; tenth++ {
		batches, at = w.batches(people, at, 20)
		begin := time.Now()
		took := w.anchorAll(batches)
		n := record.MaxBatch * len(batches)
		now := w.disk()
		w.Logf("pointers %6d: %5.0f a second, batch median %v, longest %v; disk %d MB, %d bytes a pointer; memory %d MiB",
			tenth*n, float64(n)/time.Since(begin).Seconds(), took[len(took)/2].Round(time.Millisecond),
			took[len(took)-1].Round(time.Millisecond), now>>20, (now-disk)/int64(n*tenth), w.memory()>>20)
	}
}

// anchorAll submits batches as the gateway does, some at once, and returns how
// long each took, in order.
func (w *world) anchorAll(batches []record.Anchor) []time.Duration {
	var next atomic.Int64
	var wg sync.WaitGroup
	took := make([]time.Duration, len(batches))
	for range inFlight {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(batches); i = int(next.Add(1)) - 1 {
				begin := time.Now()
				res, err := network.SubmitRetry(context.Background(), w.clients[hospitalA], w.call("Pointer:Anchor", batches[i]))
				took[i] = time.Since(begin)
				if err != nil {
					w.Error(err)
					return
				}
				w.allAnchored(res)
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took
}

func (w *world) allAnchored(res network.Result) {
	var r record.AnchorResult
	if err := json.Unmarshal(res.Payload, &r); err != nil {
		w.Error(err)
	}
	for _, item := range r.Items {
		if item.Outcome != record.Anchored {
			w.Errorf("%+v", item)
			return
		}
	}
}

// disk is what the ledger's directory holds, in bytes.
func (w *world) disk() int64 {
	var sum int64
	err := filepath.WalkDir(w.dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	w.ok(err)
	return sum
}

// memory is what the network's processes hold, in bytes; 0 for the embedded
// ledger, which is part of this one.
func (w *world) memory() int64 {
	if w.fabric == nil {
		return 0
	}
	s, err := w.fabric.Status(context.Background())
	w.ok(err)
	return s.Memory()
}
