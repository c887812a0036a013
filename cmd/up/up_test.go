package up

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/vitalveil/vitalveil/cmd/gateway"
	"github.com/vitalveil/vitalveil/cmd/institution"
	"github.com/vitalveil/vitalveil/cmd/ledger"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network/site"
)

// childVariable makes the test's binary run a command instead of the tests.
const childVariable = "VITALVEIL_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	var c struct {
		Up          Command             `cmd:""`
		Institution institution.Command `cmd:""`
		Ledger      ledger.Command      `cmd:""`
		Gateway     gateway.Command     `cmd:""`
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k := kong.Parse(&c, kong.BindTo(site.Supervised(ctx), (*context.Context)(nil)))
	k.FatalIfErrorf(k.Run())
}

type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// running is a supervisor that a test has started.
type running struct {
	*exec.Cmd
	out  *output
	done chan error
}

func start(t *testing.T, dir string) *running {
	t.Helper()
	r := &running{exec.Command(os.Args[0], "up", "--dir", dir), &output{}, make(chan error, 1)}
	r.Env = append(os.Environ(), childVariable+"=1")
	r.Stdout, r.Stderr = r.out, r.out
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { r.done <- r.Wait() }()
	t.Cleanup(func() {
		r.Process.Kill()
		if t.Failed() {
			t.Log(r.out)
		}
	})
	eventually(t, "the network runs", func() bool { return strings.Contains(r.out.String(), "\"up\" again resumes it") })
	return r
}

// run runs a command to its end.
func run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(4 * time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to be that %s", what)
		}
	}
}

// statuses of the processes in dir, by name.
func statuses(t *testing.T, dir string) map[string]Status {
	t.Helper()
	var all []Status
	if err := (Command{Dir: dir}).control().Call(t.Context(), "status", struct{}{}, &all); err != nil {
		t.Fatal(err)
	}
	named := map[string]Status{}
	for _, s := range all {
		named[s.Name] = s
	}
	return named
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// A killed process is started again, a killed supervisor takes all with it, and what was
// recorded is there when the network is resumed.
func TestANetworkOfOneSiteSurvivesKillsAndIsResumed(t *testing.T) {
	if testing.Short() {
		t.Skip("five processes, started twice")
	}
	dir, err := os.MkdirTemp("", "vv") // short: sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	first := start(t, filepath.Join(dir, "n"))
	n := filepath.Join(dir, "n")
	hospital := filepath.Join(n, "hospital-a")
	run(t, "institution", "study", "--dir", hospital, "heart", "--title", "Hearts", "--metrics", "heart_rate", "--from", "500000", "--until", "500010")

	before := statuses(t, n)
	if len(before) != 5 {
		t.Fatalf("it runs %v", before)
	}
	for _, name := range []string{"hospital-a", "ledger", "gateway"} {
		if err := syscall.Kill(before[name].PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "what was killed runs again", func() bool {
		now := statuses(t, n)
		for _, name := range []string{"hospital-a", "ledger", "gateway"} {
			if now[name].Restarts == 0 || now[name].PID == 0 || now[name].PID == before[name].PID {
				return false
			}
		}
		return now["hospital-b"] == before["hospital-b"]
	})
	run(t, "institution", "status", "--dir", hospital, "--wait", "2m")

	left := statuses(t, n)
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.done
	eventually(t, "no process has outlived the supervisor", func() bool {
		for _, s := range left {
			if alive(s.PID) {
				return false
			}
		}
		return true
	})

	second := start(t, n)
	if out := run(t, "institution", "status", "--dir", hospital, "--wait", "2m"); !strings.Contains(out, "1 studies") {
		t.Errorf("the study is gone: %s", out)
	}
	run(t, "gateway", "status", "--dir", filepath.Join(n, "gateway"), "--wait", "2m")
	cmd := exec.Command(os.Args[0], "up", "--dir", n)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "runs already") {
		t.Errorf("a second supervisor: %v %s", err, out)
	}
	run(t, "up", "--dir", n, "--stop")
	select {
	case err := <-second.done:
		if err != nil {
			t.Errorf("told to stop, it ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("it was told to stop and has not")
	}
}

func TestAProcessIsStartedAgainThreeTimesAMinuteAtMost(t *testing.T) {
	dir := t.TempDir()
	s := &supervisor{dir: dir, exe: os.Args[0], start: time.Now()}
	if err := os.MkdirAll(s.logs(), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv(childVariable, "1")
	c := &child{name: "broken", args: []string{"no-such-command"}}
	s.launch(c)
	defer func() { c.cancel(); <-c.done }()
	ran := func() int {
		b, err := os.ReadFile(s.log(c))
		if err != nil {
			return 0
		}
		return strings.Count(string(b), "no-such-command")
	}
	eventually(t, fmt.Sprintf("it was started %d times", 1+mostRestarts), func() bool { return ran() >= 1+mostRestarts })
	time.Sleep(time.Second)
	if n := ran(); n != 1+mostRestarts {
		t.Errorf("it was started %d times at once", n)
	}
}

func TestADirectoryOfSomethingElseIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "letter.txt"), []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Command{Dir: dir, Name: "pilot", Listen: "127.0.0.1:0", Clock: "wall"}.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("it was taken: %v", err)
	}
}

// TestAttackTwoSupervisorsOfOneDirectory: the second one would take the socket of the
// first, which could not be told to stop any more, and start its processes once more.
func TestAttackTwoSupervisorsOfOneDirectory(t *testing.T) {
	t.Setenv(childVariable, "1")
	dir, err := os.MkdirTemp("", "vv") // short: sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := layout{Network: "pilot", Clock: "wall", Ledger: taken.Addr().String(), Gateway: "127.0.0.1:0", Members: []member{{Dir: "a", Listen: "127.0.0.1:0"}}}
	if err := site.Save(filepath.Join(dir, configFile), l); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for range 2 {
		go func() { ended <- Command{Dir: dir}.Run(ctx) }()
	}
	time.Sleep(time.Second) // each waits for the address, or has been refused
	taken.Close()
	eventually(t, "one runs", func() bool { return Command{Dir: dir}.control().Running() })
	select {
	case err = <-ended:
		if fault.Of(err) != fault.Conflict {
			t.Errorf("one of two ended with: %v", err)
		}
		ended <- nil
	case <-time.After(10 * time.Second):
		t.Error("both run in one directory")
	}
	cancel()
	<-ended
	<-ended
}
