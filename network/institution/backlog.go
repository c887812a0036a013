package institution

import (
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
)

// backlog keeps what could not be done yet and hands it out again after pauses
// that double, so that a blob that never comes neither holds up what is new nor
// is asked for all the time.
type backlog[T any] struct {
	items []T
	pause time.Duration
	due   time.Time
}

// take returns everything that is to be tried now: fresh, and the rest if it is
// due.
func (b *backlog[T]) take(fresh []T) []T {
	if len(b.items) == 0 || time.Now().Before(b.due) {
		return fresh
	}
	todo := append(b.items, fresh...)
	b.items = nil
	return todo
}

// keep puts back what was not done.
func (b *backlog[T]) keep(items []T) {
	if len(items) == 0 {
		if len(b.items) == 0 {
			b.pause = 0
		}
		return
	}
	// Only what was handed out and came back moves the date: a stream of new
	// items must not put off the old ones for ever.
	if len(b.items) == 0 {
		b.pause = min(max(2*b.pause, firstPause), mostPause)
		b.due = time.Now().Add(b.pause)
	}
	b.items = append(b.items, items...)
}

// err says that something waits, so that the duty is called again in time.
func (b *backlog[T]) err(what string) error {
	if len(b.items) == 0 {
		return nil
	}
	return fault.New(fault.Unavailable, "%s: %d could not be done yet", what, len(b.items))
}
