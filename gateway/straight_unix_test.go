//go:build unix

package gateway

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/record"
)

// BenchmarkFiveHundredPointers is one bridge after the other that uploads 500 rows of
// their real length with their pointers, from the request to the gateway's index, over
// HTTP, the real contracts and the embedded ledger, all in this process. cpu-ms is the
// processor time of an upload, peak-MB the most memory that was resident meanwhile. With
// VITALVEIL_PROFILE the uploads alone are profiled into that file, so that signatures
// can be told from the rest (docs/performance.md).
func BenchmarkFiveHundredPointers(b *testing.B) {
	const pointers, rowBytes, roundsEach = 500, 1458, 15
	w := newWorld(b)
	ctx := context.Background()
	type round struct {
		of       *device
		id       record.ID
		data     []byte
		pointers []record.SignedPointer
	}
	var rounds []round
	var bridges []*device
	for range (b.N + roundsEach - 1) / roundsEach {
		bridges = append(bridges, w.device())
	}
	w.advance(int64(roundsEach*pointers+1) * 3600)
	for n := range b.N {
		d, from := bridges[n/roundsEach], int64(startHour+n%roundsEach*pointers)
		_, one := d.rows(from, from+1)
		id := one[0].Pointer.Device
		var rows []record.BlobRow
		for h := from; h < from+pointers; h++ {
			rows = append(rows, record.BlobRow{Hour: h, Row: random(rowBytes)})
		}
		data, err := record.EncodeRows(id, rows)
		w.ok(err)
		r := round{of: d, id: id, data: data}
		for _, row := range rows {
			r.pointers = append(r.pointers, d.Pointer(record.Pointer{
				Device: id, Kind: record.KindRow, Index: row.Hour, Blob: record.SumID(data), Commitment: record.SumID(row.Row),
			}))
		}
		rounds = append(rounds, r)
	}
	if path := os.Getenv("VITALVEIL_PROFILE"); path != "" {
		f, err := os.Create(path)
		w.ok(err)
		defer f.Close()
		w.ok(pprof.StartCPUProfile(f))
		defer pprof.StopCPUProfile()
	}
	forgetPeak(b)
	before := cpuTime(b)
	b.ResetTimer()
	for _, r := range rounds {
		c := r.of.client()
		op, err := c.Upload(ctx, r.id, [][]byte{r.data}, r.pointers)
		w.ok(err)
		op, err = c.Wait(ctx, op)
		w.ok(err)
		for i, item := range op.Items {
			if item.Outcome != record.Anchored {
				b.Fatalf("pointer %d: %+v", i, item)
			}
		}
		for w.gw.index.Height() <= op.Block {
			time.Sleep(time.Millisecond)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
	b.ReportMetric(peakMemory(b), "peak-MB")
}

// cpuTime is the processor time of this process.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// forgetPeak makes peakMemory count from now on.
func forgetPeak(b *testing.B) {
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Logf("peak-MB includes the preparations: %v", err)
	}
}

// peakMemory is the most that was resident of this process, in MB; 0 where Linux does
// not tell.
func peakMemory(b *testing.B) float64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	line, _, _ := strings.Cut(after, "\n")
	var kilobytes float64
	if _, err := fmt.Sscanf(line, "%f kB", &kilobytes); err != nil {
		b.Logf("the peak of memory is not known: %v", err)
	}
	return kilobytes / 1000
}
