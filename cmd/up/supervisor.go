package up

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/site"
)

const (
	// A process is started again at most so many times in so long.
	mostRestarts  = 3
	restartPeriod = time.Minute
	// endTime is how long a process may take to end before it is killed.
	endTime = 20 * time.Second
	// freeTime is how long processes of an earlier run may take to end.
	freeTime = 30 * time.Second
	// readyTime is how long all may take to be ready.
	readyTime = 3 * time.Minute
	// maxLog is when a log makes room for a new one, in bytes; one old one is kept.
	maxLog = 16 << 20
)

// child is a process of the network.
type child struct {
	name  string
	args  []string
	ready func(context.Context) error

	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	status Status
}

// Status is what is said of a process.
type Status struct {
	Name     string `json:"name"`
	PID      int    `json:"pid"` // 0: it does not run at the moment
	Restarts int    `json:"restarts"`
}

func (c *child) note(change func(*Status)) Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.status)
	return c.status
}

// supervisor keeps the processes of a network running.
type supervisor struct {
	dir      string
	layout   *layout
	exe      string
	children []*child // in the order in which they are started, and the other way round ended
	start    time.Time

	mu  sync.Mutex // of standard output
	end context.CancelFunc
}

func newSupervisor(dir string, l *layout) (*supervisor, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &supervisor{dir: dir, layout: l, exe: exe, start: time.Now()}
	s.children = append(s.children, &child{
		name: "ledger", ready: func(ctx context.Context) error { return dial(ctx, l.Ledger) },
		args: []string{
			"ledger", "--dir", filepath.Join(dir, "ledger"), "--network", filepath.Join(dir, "network.json"),
			"--org", filepath.Join(dir, l.registrar().Dir), "--listen", l.Ledger,
		},
	})
	for _, m := range l.Members {
		s.children = append(s.children, s.role("institution", m.Dir))
	}
	s.children = append(s.children, s.role("gateway", "gateway"))
	return s, nil
}

// role is a process that says by its control socket whether it is ready.
func (s *supervisor) role(role, name string) *child {
	dir := filepath.Join(s.dir, name)
	return &child{name: name, args: []string{role, "run", "--dir", dir}, ready: func(ctx context.Context) error {
		var status struct {
			Ready   bool   `json:"ready"`
			Read    uint64 `json:"blocks_read"`
			Height  uint64 `json:"ledger_height"`
			Problem string `json:"problem"`
		}
		err := site.Control{Role: role, Dir: dir}.Call(ctx, "status", struct{}{}, &status)
		// Without anybody who posts a time, a gateway takes no writes: it is up all the same.
		if s.layout.Clock == record.ClockSimulated && status.Read >= status.Height {
			return err
		}
		if err == nil && !status.Ready {
			err = fault.New(fault.Unavailable, "%d of %d blocks read %s", status.Read, status.Height, status.Problem)
		}
		return err
	}}
}

func dial(ctx context.Context, address string) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return c.Close()
}

// say prints a line with the time since the start.
func (s *supervisor) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Printf("[%6.1fs] %s\n", time.Since(s.start).Seconds(), fmt.Sprintf(format, args...))
}

// run keeps the network until ctx ends or somebody says stop.
func (s *supervisor) run(ctx context.Context, control site.Control) error {
	ctx, s.end = context.WithCancel(ctx)
	defer s.end()
	if err := s.free(ctx); err != nil {
		return err
	}
	l, err := control.Listen()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.logs(), 0o700); err != nil {
		return errors.Join(err, l.Close())
	}
	// The socket goes last, so that who has said stop sees when all have ended.
	listening, closeSocket := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- s.commands().Serve(listening, l) }()
	for _, c := range s.children {
		s.launch(c)
	}
	err = s.await(ctx)
	if err == nil {
		s.nextSteps()
		<-ctx.Done()
	}
	s.stopAll()
	closeSocket()
	return errors.Join(err, <-served)
}

func (s *supervisor) commands() site.Commands {
	return site.Commands{
		"stop": site.Handle(func(context.Context, *struct{}) (struct{}, error) {
			s.say("told to stop")
			s.end()
			return struct{}{}, nil
		}),
		"status": site.Handle(func(context.Context, *struct{}) ([]Status, error) {
			var all []Status
			for _, c := range s.children {
				all = append(all, c.note(func(st *Status) { st.Name = c.name }))
			}
			return all, nil
		}),
	}
}

// free waits for processes of an earlier supervisor, which end when they see that it is
// gone.
func (s *supervisor) free(ctx context.Context) error {
	addresses := []string{s.layout.Ledger, s.layout.Gateway}
	for _, m := range s.layout.Members {
		addresses = append(addresses, m.Listen)
	}
	_, err := site.Await(ctx, freeTime, func(context.Context) (struct{}, error) {
		for _, a := range addresses {
			l, err := net.Listen("tcp", a)
			if err != nil {
				return struct{}{}, fault.New(fault.Conflict, "%s is taken by another program: end it, or change the address in %s and in the files that name it: %w", a, configFile, err)
			}
			if err := l.Close(); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return errors.Join(err, ctx.Err())
}

// launch starts a process and keeps it running until its cancel is called.
func (s *supervisor) launch(c *child) {
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(context.Background())
	c.done = make(chan struct{})
	go func() {
		defer close(c.done)
		s.keep(ctx, c)
	}()
}

// keep starts a process again whenever it ends, at most so many times in a while.
func (s *supervisor) keep(ctx context.Context, c *child) {
	var starts []time.Time // again, within the last period
	for {
		err := s.process(ctx, c)
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		for len(starts) > 0 && now.Sub(starts[0]) > restartPeriod {
			starts = starts[1:]
		}
		wait := time.Duration(0)
		if len(starts) == mostRestarts {
			wait = restartPeriod - now.Sub(starts[0])
			starts = starts[1:]
		}
		s.say("%s ended (%v); starting it again in %s, its log is %s", c.name, err, wait.Round(time.Second), s.log(c))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		starts = append(starts, time.Now())
		c.note(func(st *Status) { st.Restarts++ })
	}
}

func (s *supervisor) logs() string        { return filepath.Join(s.dir, "log") }
func (s *supervisor) log(c *child) string { return filepath.Join(s.logs(), c.name+".log") }

// process runs a process to its end. Its standard input is a pipe that only the
// supervisor holds, so that it sees when the supervisor is gone.
func (s *supervisor) process(ctx context.Context, c *child) error {
	path := s.log(c)
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, s.exe, c.args...)
	cmd.Env = append(os.Environ(), site.SupervisedVariable+"=1")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = apart()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = endTime
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	defer lifeline.Close()
	if err := cmd.Start(); err != nil {
		return err
	}
	c.note(func(st *Status) { st.PID = cmd.Process.Pid })
	defer c.note(func(st *Status) { st.PID = 0 })
	return cmd.Wait()
}

// await waits until all are ready, and tells of each.
func (s *supervisor) await(ctx context.Context) error {
	until := time.Now().Add(readyTime)
	for _, c := range s.children {
		_, err := site.Await(ctx, time.Until(until), func(ctx context.Context) (struct{}, error) { return struct{}{}, c.ready(ctx) })
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s is not ready, its log is %s: %w", c.name, s.log(c), err)
		}
		s.say("%s is ready", c.name)
	}
	return nil
}

// stopAll ends the processes, those first that need others.
func (s *supervisor) stopAll() {
	for i := range s.children {
		c := s.children[len(s.children)-1-i]
		c.cancel()
		<-c.done
		s.say("%s has ended", c.name)
	}
}

// nextSteps says where everything is and what to do first.
func (s *supervisor) nextSteps() {
	in := func(name string) string { return filepath.Join(s.dir, name) }
	a, registrar := s.layout.Members[0], s.layout.registrar()
	var members strings.Builder
	for _, m := range s.layout.Members {
		fmt.Fprintf(&members, "  %-12s %s (%s), %s\n", m.MSP, in(m.Dir), m.Name, m.Listen)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Printf(`
The network %q runs. Its gateway is http://%s, its document %s.
%sNext:
  vitalveil patient init --help                       a patient's keys, and what the association needs to enrol the patient
  vitalveil institution --help                        what members may do; %s vouches for patients: --dir %s
  vitalveil institution study --dir %s --help         a study, then "ask"
  vitalveil bridge init --network %s --gateway http://%s --help
Keep the authorities (%s-ca and so on) where no server runs.
"vitalveil up --dir %s --stop" ends it, "up" again resumes it.
`, s.layout.Network, s.layout.Gateway, in("network.json"), members.String(), registrar.MSP, in(registrar.Dir), in(a.Dir),
		in("network.json"), s.layout.Gateway, in(a.Dir), s.dir)
}
