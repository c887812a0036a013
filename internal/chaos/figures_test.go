package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
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
	w.Tick((firstHour + 2000) * hour)
	at := firstHour
	var batches []record.Anchor
	disk := w.disk()
	for tenth := 1; tenth <= 10; tenth++ {
		batches, at = w.batches(people, at, 20)
		begin, cpu := time.Now(), w.usage()
		took := w.anchorAll(batches)
		used := w.usage()
		n := record.MaxBatch * len(batches)
		now := w.disk()
		w.Logf("pointers %6d: %5.0f a second, batch median %v, longest %v; disk %d MB, %d bytes a pointer; %s",
			tenth*n, float64(n)/time.Since(begin).Seconds(), took[len(took)/2].Round(time.Millisecond),
			took[len(took)-1].Round(time.Millisecond), now>>20, (now-disk)/int64(n*tenth), used.since(cpu, n))
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
				res, err := network.SubmitRetry(context.Background(), w.Clients[hospitalA], w.Call(contracts.PointerAnchor, batches[i]))
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

// usage is what the parts of a network have taken: processor time since they
// began and resident memory now. "test" is this process: clients and, if it is
// embedded, the ledger.
type usage struct {
	cpu    map[string]time.Duration
	memory map[string]int64
}

func (w *world) usage() usage {
	u := usage{map[string]time.Duration{}, map[string]int64{}}
	var self syscall.Rusage
	w.ok(syscall.Getrusage(syscall.RUSAGE_SELF, &self))
	u.cpu["test"] = time.Duration(self.Utime.Nano() + self.Stime.Nano())
	if w.fabric == nil {
		return u
	}
	s, err := w.fabric.Status(context.Background())
	w.ok(err)
	for _, p := range s.Processes {
		kind, _, _ := strings.Cut(p.Name, "-")
		u.cpu[kind] += processorTime(p.PID)
		u.memory[kind] += p.Memory
		u.memory["all"] += p.Memory
	}
	return u
}

// processorTime reads what a process has used; 0 where there is no /proc.
func processorTime(pid int) time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 on Linux
}

// since says what n pointers took.
func (u usage) since(before usage, n int) string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(u.cpu)) {
		parts = append(parts, fmt.Sprintf("%s %d us", kind, (u.cpu[kind]-before.cpu[kind]).Microseconds()/int64(n)))
	}
	text := "processor time a pointer: " + strings.Join(parts, ", ")
	parts = nil
	for _, kind := range slices.Sorted(maps.Keys(u.memory)) {
		parts = append(parts, fmt.Sprintf("%s %d MiB", kind, u.memory[kind]>>20))
	}
	return text + "; memory: " + strings.Join(parts, ", ")
}
