package demo

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress tells what is done, and of long steps every five seconds how far they are.
type progress struct {
	out   io.Writer
	start time.Time
}

func newProgress(out io.Writer) *progress { return &progress{out: out, start: time.Now()} }

// line prints one finished fact with the time since the start.
func (p *progress) line(format string, args ...any) {
	fmt.Fprintf(p.out, "[%6.1fs] %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}

// step is one long piece of work of a known size.
type step struct {
	p     *progress
	name  string
	total int
	begun time.Time

	mu   sync.Mutex
	done int
	said time.Time
}

func (p *progress) step(name string, total int) *step {
	now := time.Now()
	return &step{p: p, name: name, total: total, begun: now, said: now}
}

// add counts n more as done. It may be called from several goroutines.
func (s *step) add(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done += n
	if time.Since(s.said) > 5*time.Second {
		s.said = time.Now()
		s.p.line("%s: %d of %d", s.name, s.done, s.total)
	}
}

// end closes the step and says how long it took.
func (s *step) end() {
	s.p.line("%s: %d in %s", s.name, s.done, time.Since(s.begun).Round(time.Millisecond))
}
