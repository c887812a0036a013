package embedded

import (
	"context"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
)

// The newest block with a purge, and the newest block up to which purged bytes
// have left the tables.
var (
	keyPurged   = []byte("mpurged")
	keyScrubbed = []byte("mscrubbed")
)

// scrubPending reports whether purged bytes may still be in the tables.
func scrubPending(r pebble.Reader) (bool, error) {
	var purged, scrubbed uint64
	if found, err := decodeStored(r, keyPurged, &purged); err != nil || !found {
		return false, err
	}
	_, err := decodeStored(r, keyScrubbed, &scrubbed)
	return scrubbed < purged, err
}

// scrubLoop rewrites the tables that hold private data after each purge. The
// store's logs keep purged bytes until they are reused, or deleted when the
// ledger is next opened.
func (l *Ledger) scrubLoop() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stopped := make(chan struct{})
	defer func() { <-stopped }()
	go func() {
		defer close(stopped)
		<-l.closing
		cancel()
	}()
	for {
		select {
		case <-l.closing:
			return
		case <-l.scrub:
		}
		if err := l.scrubOnce(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("purged data has not left the tables yet; the next start tries again", "err", err)
		}
	}
}

func (l *Ledger) scrubOnce(ctx context.Context) error {
	upTo, _ := l.Tip()
	if err := l.db.Flush(); err != nil {
		return err
	}
	for _, space := range []byte{spacePrivate, spaceValues} {
		if err := l.db.Compact(ctx, []byte{space}, []byte{space + 1}, false); err != nil {
			return err
		}
	}
	data, err := marshal(upTo)
	if err != nil {
		return err
	}
	return l.db.Set(keyScrubbed, data, pebble.NoSync)
}
