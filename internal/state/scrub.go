package state

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Remover deletes the files of a database that are of no more use, its logs as well,
// which a database by default keeps to write over them later: until then they have
// what was deleted long ago. Give it to every database that holds what may have to be
// erased.
type Remover struct {
	pebble.DeleteCleaner
	reads
}

// reads marks a cleaner as one that wants the files as they were, so that none is used
// again. Its own methods are hidden by those of DeleteCleaner.
type reads struct{ pebble.ArchiveCleaner }

// scrubTime is how long the files that are of no more use may take to go.
const scrubTime = 10 * time.Second

// Span is a range of names: From is in it and Before is not.
type Span struct{ From, Before []byte }

// Scrub returns when what was deleted in some ranges of a database in dir, opened
// with a Remover, is in none of its files any more: the log is closed and dropped,
// and the tables with these names are written anew.
func Scrub(ctx context.Context, db *pebble.DB, dir string, spans ...Span) error {
	ctx, cancel := context.WithTimeout(ctx, scrubTime)
	defer cancel()
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return err
	}
	if err := db.Flush(); err != nil {
		return err
	}
	for _, s := range spans {
		if err := db.Compact(ctx, s.From, s.Before, false); err != nil {
			return err
		}
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		m := db.Metrics()
		if m.Table.ObsoleteCount == 0 && m.Table.ZombieCount == 0 && !slices.ContainsFunc(logs, there) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("a database still has files with what was deleted; it is tried again")
		case <-time.After(pause):
		}
	}
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
