package launch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
)

// What processes may hold before they collect harder, in MiB. With blocks of
// megabytes they would otherwise take twice as much, and a network more than 1 GB.
const (
	peerMemory      = 224
	ordererMemory   = 112
	chaincodeMemory = 48
	keeperMemory    = 32
	caMemory        = 64
)

// Times for ending processes. Fabric stores what it needs before it answers, so
// an end by force loses nothing that was acknowledged.
const (
	gentleEnd = 10 * time.Second
	forcedEnd = 5 * time.Second
)

// command is a process to run: what, with which environment, logging where.
type command struct {
	name string // unique in the network, such as "peer-HospitalA"
	args []string
	env  []string
	// memory is what Go's collector aims to stay below, in MiB, unless the
	// launcher's own environment sets GOMEMLIMIT.
	memory int
}

// pidFile is how a process is found again by a later launcher. Start tells it
// from another process that has been given the same id since.
type pidFile struct {
	PID   int    `json:"pid"`
	Start string `json:"start"`
}

// processes runs the network's processes and keeps their pid files and logs.
type processes struct {
	dir      string
	attached bool
	spawn    *spawner

	mu      sync.Mutex
	running map[string]*child // those that this launcher started
	ending  bool
	watch   sync.WaitGroup
}

// child is a process that this launcher started and must wait for.
type child struct {
	command command
	pid     int
	delay   time.Duration // before it is started again
	done    chan struct{} // closed when it has ended and been waited for
}

func newProcesses(dir string, attached bool) *processes {
	return &processes{dir: dir, attached: attached, spawn: newSpawner(attached), running: map[string]*child{}}
}

func (p *processes) pidPath(name string) string { return filepath.Join(p.dir, "pid", name+".json") }

func (p *processes) logPath(name string) string { return filepath.Join(p.dir, "log", name+".log") }

// start runs c unless it runs already.
func (p *processes) start(c command) error {
	if pid, err := p.find(c.name); err != nil || pid != 0 {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.launch(c, firstRestart)
}

// launch starts c; if it dies it is started again after delay. The caller holds
// mu.
func (p *processes) launch(c command, delay time.Duration) error {
	if p.ending {
		return errors.New("the network is being taken down")
	}
	log, err := os.OpenFile(p.logPath(c.name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// Not exec.CommandContext: the process outlives the call that starts it.
	cmd := exec.Command(c.args[0], c.args[1:]...)
	cmd.Env = append(append([]string{fmt.Sprintf("GOMEMLIMIT=%dMiB", c.memory)}, inherited()...), c.env...)
	cmd.Dir = p.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = processAttributes(p.attached)
	if err := p.spawn.do(cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	ch := &child{command: c, pid: cmd.Process.Pid, delay: delay, done: make(chan struct{})}
	p.running[c.name] = ch
	p.watch.Add(1)
	go p.wait(cmd, ch)
	start, err := processStart(ch.pid)
	if err == nil && start != "" {
		err = p.remember(c.name, pidFile{ch.pid, start})
	}
	if err != nil {
		return errors.Join(fmt.Errorf("record %s: %w", c.name, err), signalGroup(ch.pid, true))
	}
	return nil
}

// passed are the variables that processes get from the launcher's environment;
// other ones could change their settings or are none of their business.
var passed = []string{"PATH", "HOME", "TMPDIR", "GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT"}

func inherited() []string {
	var env []string
	for _, name := range passed {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func (p *processes) remember(name string, f pidFile) error {
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return state.WriteFile(p.pidPath(name), data)
}

// Restarts of a process that keeps dying are spread out between these.
const (
	firstRestart = 200 * time.Millisecond
	slowRestart  = 5 * time.Second
	longLife     = 30 * time.Second
	pollEvery    = 20 * time.Millisecond
)

// wait collects the process when it ends and, if the network is attached and
// not on its way down, starts it again.
func (p *processes) wait(cmd *exec.Cmd, ch *child) {
	defer p.watch.Done()
	began := time.Now()
	_ = cmd.Wait() // how it ended is in its log
	close(ch.done)
	if !p.attached {
		return
	}
	next := firstRestart
	if time.Since(began) < longLife {
		next = min(slowRestart, 2*ch.delay)
	}
	for waited := time.Duration(0); waited < ch.delay && !p.isEnding(); waited += pollEvery {
		time.Sleep(pollEvery)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ending && p.running[ch.command.name] == ch {
		_ = p.launch(ch.command, next) // Status shows what is missing
	}
}

func (p *processes) isEnding() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ending
}

// find returns the id of the running process of that name, or 0.
func (p *processes) find(name string) (int, error) {
	data, err := os.ReadFile(p.pidPath(name))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var f pidFile
	if err := record.DecodeJSON(data, 1<<10, &f); err != nil || f.PID <= 1 || f.Start == "" {
		return 0, fmt.Errorf("%s is damaged: end the process by hand and remove the file", p.pidPath(name))
	}
	start, err := processStart(f.PID)
	if err != nil || start != f.Start {
		return 0, err
	}
	return f.PID, nil
}

// died returns an error with the end of the log if a process that this launcher
// started has ended.
func (p *processes) died() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, ch := range p.running {
		select {
		case <-ch.done:
			return fmt.Errorf("%s has ended; the end of its log:\n%s", name, p.tail(name))
		default:
		}
	}
	return nil
}

// tail returns the last lines of a process' log.
func (p *processes) tail(name string) string {
	f, err := os.Open(p.logPath(name))
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > tailSize {
		if _, err := f.Seek(-tailSize, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, tailSize))
	if err != nil {
		return err.Error()
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return "  (empty)"
	}
	return "  " + strings.ReplaceAll(lastLines(string(data), 12), "\n", "\n  ")
}

// names lists the processes that have pid files.
func (p *processes) names() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(p.dir, "pid"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

// end ends the named processes, first by request, then by force, and returns
// when they are gone. It does not end with a context: half a network is worse.
func (p *processes) end(names []string) error {
	targets := map[string]int{}
	for _, name := range names {
		p.forget(name)
		pid, err := p.find(name)
		if err != nil {
			return err
		}
		if pid != 0 {
			targets[name] = pid
		}
	}
	for _, step := range []struct {
		kill bool
		wait time.Duration
	}{{false, gentleEnd}, {true, forcedEnd}} {
		for _, pid := range targets {
			_ = signalGroup(pid, step.kill) // it may just have ended
		}
		if err := p.gone(targets, step.wait); err != nil {
			return err
		}
	}
	if len(targets) > 0 {
		return fmt.Errorf("these processes did not end: %v", targets)
	}
	for _, name := range names {
		if err := os.Remove(p.pidPath(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// forget stops a process from being started again.
func (p *processes) forget(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, name)
}

// gone removes from targets what has ended, until nothing is left or the time
// is over.
func (p *processes) gone(targets map[string]int, wait time.Duration) error {
	for deadline := time.Now().Add(wait); ; {
		for name := range targets {
			pid, err := p.find(name)
			if err != nil {
				return err
			}
			if pid == 0 {
				delete(targets, name)
			}
		}
		if len(targets) == 0 || time.Now().After(deadline) {
			return nil
		}
		time.Sleep(pollEvery)
	}
}

// endSince ends the processes that are not in before, which were there when this
// launcher came.
func (p *processes) endSince(before []string) error {
	if len(before) == 0 {
		return p.endAll()
	}
	names, err := p.names()
	if err != nil {
		return err
	}
	err = p.end(slices.DeleteFunc(names, func(name string) bool { return slices.Contains(before, name) }))
	p.spawn.close()
	return err
}

// endAll ends every process of the network and this launcher's own goroutines.
func (p *processes) endAll() error {
	p.mu.Lock()
	p.ending = true
	p.mu.Unlock()
	names, err := p.names()
	if err != nil {
		return err
	}
	if err := p.end(names); err != nil {
		return err
	}
	p.watch.Wait()
	p.spawn.close()
	return nil
}

// spawner starts processes from one thread that lives as long as the launcher:
// the kernel ends attached processes with the thread that started them, and Go
// ends threads when it likes.
type spawner struct {
	jobs chan func()
	once sync.Once
}

func newSpawner(attached bool) *spawner {
	s := &spawner{}
	if !attached {
		return s
	}
	s.jobs = make(chan func())
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

func (s *spawner) do(start func() error) error {
	if s.jobs == nil {
		return start()
	}
	result := make(chan error, 1)
	s.jobs <- func() { result <- start() }
	return <-result
}

func (s *spawner) close() {
	if s.jobs != nil {
		s.once.Do(func() { close(s.jobs) })
	}
}
