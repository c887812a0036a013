package bridge

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// flusher syncs the store in the background: devices write closed minutes
// without waiting, and one sync then covers whatever all of them have written.
type flusher struct {
	wake chan struct{}
	quit chan struct{}
	done sync.WaitGroup
}

func startFlusher(db *pebble.DB) *flusher {
	f := &flusher{wake: make(chan struct{}, 1), quit: make(chan struct{})}
	f.done.Go(func() {
		for {
			select {
			case <-f.quit:
				return
			case <-f.wake:
			}
			// A record in the log that is synced makes everything before it
			// durable. An error shows at the next write as well, and there it
			// reaches a caller.
			_ = db.LogData(nil, pebble.Sync)
		}
	})
	return f
}

// nudge asks for a sync soon; it does not wait.
func (f *flusher) nudge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *flusher) stop() {
	close(f.quit)
	f.done.Wait()
}
