//go:build unix

package gateway

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/record"
)

// victimFiles is, for the victim, the size in bytes beyond which no file grows: to
// the database below its journal that is a full disk.
const victimFiles = "VITALVEIL_TEST_GATEWAY_FILES"

func limitFiles(t *testing.T) {
	t.Helper()
	n, err := strconv.ParseUint(os.Getenv(victimFiles), 10, 64)
	if err != nil {
		return // unlimited
	}
	signal.Ignore(syscall.SIGXFSZ) // the write returns an error instead
	limit := syscall.Rlimit{Cur: n, Max: n}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
}

// TestAFullDiskEndsTheGatewayAndLosesNothingAccepted: the process ends, at once and by
// itself, and no caller waits for it.
func TestAFullDiskEndsTheGatewayAndLosesNothingAccepted(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	w.advance(400 * 3600)
	w.stop()
	victim, address := w.victim(d, victimFiles+"="+strconv.Itoa(48<<10))
	c := api.NewClient(address, w.Genesis.Network, &api.Signer{Party: api.DeviceParty(d.ID), Key: d.Key})
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	var mu sync.Mutex
	var accepted []*api.Operation
	var callers sync.WaitGroup
	for n := range 4 {
		callers.Go(func() {
			for h := int64(startHour + 100*n); h < int64(startHour+100*(n+1)); h += 5 {
				data, pointers := d.rows(h, h+5)
				op, err := c.Upload(ctx, d.ID, [][]byte{data}, pointers)
				if err != nil {
					// The same once more: it must not wait for what never comes.
					_, _ = c.Upload(ctx, d.ID, [][]byte{data}, pointers)
					return
				}
				mu.Lock()
				accepted = append(accepted, op)
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	if ctx.Err() != nil {
		t.Fatal("callers waited for a gateway whose disk is full")
	}
	ended := make(chan error, 1)
	go func() { ended <- victim.Wait() }()
	select {
	case err := <-ended:
		var exit *exec.ExitError
		if exit, _ = err.(*exec.ExitError); exit == nil || exit.ExitCode() != 1 || !strings.Contains(w.logged.String(), "make room on it") {
			t.Errorf("it ended with %v: %s", err, w.logged)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a gateway whose journal cannot be written goes on")
	}
	if len(accepted) == 0 {
		t.Fatal("the disk was full from the beginning")
	}
	w.startGateway() // with room
	for i, op := range accepted {
		if got := w.done(op, nil); got.Items[0].Outcome != record.Anchored {
			t.Errorf("upload %d: %+v", i, got.Items[0])
		}
	}
}
