package demo

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows long steps: a bar on a terminal, one line per step and a line
// every five seconds elsewhere.
type progress struct {
	out   io.Writer
	tty   bool
	start time.Time
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out, start: time.Now()}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.tty = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// line prints one finished fact with the time since the start.
func (p *progress) line(format string, args ...any) {
	fmt.Fprintf(p.out, "[%6.1fs] %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}

// step is one long piece of work of a known size.
type step struct {
	p     *progress
	name  string
	total int
	bar   *progressbar.ProgressBar
	begun time.Time

	mu   sync.Mutex
	done int
	said time.Time
}

func (p *progress) step(name string, total int) *step {
	now := time.Now()
	s := &step{p: p, name: name, total: total, begun: now, said: now}
	if p.tty {
		s.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(p.out), progressbar.OptionSetDescription(name),
			progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	return s
}

// add counts n more as done. It may be called from several goroutines.
func (s *step) add(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done += n
	if s.bar != nil {
		_ = s.bar.Add(n) // a failing terminal must not stop the work
		return
	}
	if time.Since(s.said) > 5*time.Second {
		s.said = time.Now()
		s.p.line("%s: %d of %d", s.name, s.done, s.total)
	}
}

// end closes the step and says how long it took.
func (s *step) end() {
	if s.bar != nil {
		_ = s.bar.Finish()
	}
	s.p.line("%s: %d in %s", s.name, s.done, time.Since(s.begun).Round(time.Millisecond))
}
