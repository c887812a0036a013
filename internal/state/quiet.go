package state

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/cockroachdb/pebble/v2"
)

// Quiet is the logger of a database below a state directory: it drops the
// database's chatter and passes on what does not come back to a caller as an error.
type Quiet struct{}

// Infof drops it.
func (Quiet) Infof(string, ...any) {}

// Errorf tells of work in the background that failed and is tried again.
func (Quiet) Errorf(format string, args ...any) {
	slog.Error("database", "error", fmt.Sprintf(format, args...))
}

// Fatalf is called when the database cannot go on without losing what it
// promised, such as a full disk while it writes its log: only a start anew can tell
// what is there. So the process ends, at once, whoever called: a panic would end the
// one request that met it, and leave the others waiting for ever.
func (Quiet) Fatalf(format string, args ...any) {
	slog.Error("a database failed and this process ends: mend its disk, or make room on it, and start again", "error", fmt.Sprintf(format, args...))
	os.Exit(1)
}

// Listener is how a database takes damage that it finds: whoever reads what is
// damaged gets the error, and the rest goes on.
func (Quiet) Listener() *pebble.EventListener {
	return &pebble.EventListener{DataCorruption: func(info pebble.DataCorruptionInfo) {
		slog.Error("database: a file is damaged", "path", info.Path, "error", fmt.Sprint(info.Details))
	}}
}
