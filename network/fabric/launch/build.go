package launch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// Version is the Fabric release that the launcher builds and runs.
const Version = "3.1.1"

// fabricModule is the Go module that the release is in.
const fabricModule = "github.com/hyperledger/fabric"

// toolFiles are copies of network/tools and network/tools/ca, modules of their
// own: a module cannot embed files of another one, and an installed binary has
// no source tree.
//
//go:generate cp ../../tools/go.mod tools/go.mod.txt
//go:generate cp ../../tools/go.sum tools/go.sum.txt
//go:generate cp ../../tools/ccaas/main.go tools/ccaas.go.txt
//go:generate cp ../../tools/ca/go.mod tools/ca.mod.txt
//go:generate cp ../../tools/ca/go.sum tools/ca.sum.txt
//go:embed tools/go.mod.txt tools/go.sum.txt tools/ccaas.go.txt tools/ca.mod.txt tools/ca.sum.txt
var toolFiles embed.FS

// source is a module that programs are built from.
type source struct {
	label string // for people, such as "Fabric 3.1.1"
	name  string // of the directory in the cache, before what distinguishes builds
	// files are those of toolFiles that go into the build directory, and where.
	files [][2]string
	cgo   bool // whether a C compiler is needed
	// make builds into the directory, from the module that g works on.
	make func(ctx context.Context, b Binaries, g goTool) error
}

var fabricSource = source{
	label: "Fabric " + Version, name: "fabric-" + Version,
	files: [][2]string{
		{"tools/go.mod.txt", "go.mod"},
		{"tools/go.sum.txt", "go.sum"},
		{"tools/ccaas.go.txt", filepath.Join("ccaas", "main.go")},
	},
	make: makeFabric,
}

// recipe is part of what names a build: raise it when build steps change.
const recipe = "1"

// buildTimeout bounds a build: about two minutes on two free cores, but the
// sources may have to come first and the cores may be busy.
const buildTimeout = 40 * time.Minute

var (
	// ErrNoGo says that there is no Go command to build Fabric with. Install Go.
	ErrNoGo = errors.New("building Fabric needs the Go command (https://go.dev/dl); it is not on the PATH")
	// ErrModules says that Fabric's sources could not be had. Check GOPROXY and
	// the network, then try again: what has arrived is kept.
	ErrModules = errors.New("the Go module proxy could not serve Fabric's sources")
)

// Binaries is a finished build of Fabric.
type Binaries struct {
	Dir string // bin/, ccaas/bin/ and config/ are in it
}

func (b Binaries) program(name string) string { return filepath.Join(b.Dir, "bin", name) }

// builder is the directory that core.yaml names as the external builder.
func (b Binaries) builder() string { return filepath.Join(b.Dir, "ccaas") }

// sample returns one of Fabric's own configuration files, to be edited.
func (b Binaries) sample(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(b.Dir, "config", name))
}

// Build returns Fabric's binaries from the user's cache, building them first if
// they are not there. Builds of several processes wait for each other. Progress
// goes to log, which may be nil.
func Build(ctx context.Context, log io.Writer) (Binaries, error) {
	return fabricSource.build(ctx, log)
}

func (s source) build(ctx context.Context, log io.Writer) (Binaries, error) {
	if log == nil {
		log = io.Discard
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return Binaries{}, err
	}
	name, err := s.buildName()
	if err != nil {
		return Binaries{}, err
	}
	b := Binaries{Dir: filepath.Join(cache, "vitalveil", name)}
	if b.complete() {
		return b, nil
	}
	if err := os.MkdirAll(filepath.Dir(b.Dir), 0o700); err != nil {
		return Binaries{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	unlock, err := lockFile(ctx, b.Dir+".lock", func() {
		fmt.Fprintf(log, "another process is building %s: waiting for it\n", s.label)
	})
	if err != nil {
		return Binaries{}, err
	}
	defer unlock()
	if b.complete() {
		return b, nil
	}
	return b, s.buildInto(ctx, b, log)
}

// buildName names a build by everything that goes into it but the compilers.
func (s source) buildName() (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, recipe, runtime.GOOS, runtime.GOARCH)
	for _, f := range s.files {
		data, err := toolFiles.ReadFile(f[0])
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, f[0], len(data))
		h.Write(data)
	}
	return s.name + "-" + hex.EncodeToString(h.Sum(nil))[:16], nil
}

// doneFile exists once a build is whole.
const doneFile = "done"

func (b Binaries) complete() bool {
	_, err := os.Stat(filepath.Join(b.Dir, doneFile))
	return err == nil
}

func (s source) buildInto(ctx context.Context, b Binaries, log io.Writer) error {
	goCommand, err := exec.LookPath("go")
	if err != nil {
		return ErrNoGo
	}
	start := time.Now()
	fmt.Fprintf(log, "building %s, once: this takes minutes\n", s.label)
	if err := os.RemoveAll(b.Dir); err != nil {
		return err
	}
	src := filepath.Join(b.Dir, "src")
	if err := s.write(src); err != nil {
		return err
	}
	g := goTool{command: goCommand, dir: src, label: s.label, cgo: s.cgo, log: log}
	if err := g.run(ctx, "mod", "download"); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(b.Dir, "bin"), 0o700); err != nil {
		return err
	}
	if err := s.make(ctx, b, g); err != nil {
		return err
	}
	fmt.Fprintf(log, "%s is built (%s, in %s)\n", s.label, time.Since(start).Round(time.Second), b.Dir)
	return os.WriteFile(filepath.Join(b.Dir, doneFile), nil, 0o600)
}

// compile builds packages into the build's bin directory.
func (b Binaries) compile(ctx context.Context, g goTool, packages ...string) error {
	bin := filepath.Join(b.Dir, "bin") + string(filepath.Separator)
	return g.run(ctx, append([]string{"build", "-v", "-p", "2", "-trimpath", "-ldflags", "-s -w", "-o", bin}, packages...)...)
}

func makeFabric(ctx context.Context, b Binaries, g goTool) error {
	err := b.compile(ctx, g, fabricModule+"/cmd/peer", fabricModule+"/cmd/orderer", fabricModule+"/cmd/configtxgen", "./ccaas")
	if err != nil {
		return err
	}
	return b.collect(ctx, g)
}

// write writes the module to build into dir.
func (s source) write(dir string) error {
	for _, f := range s.files {
		data, err := toolFiles.ReadFile(f[0])
		if err != nil {
			return err
		}
		path := filepath.Join(dir, f[1])
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// collect sets up the external builder's three names and copies the sample
// configuration of the release out of the module cache, which may be cleaned.
func (b Binaries) collect(ctx context.Context, g goTool) error {
	steps := filepath.Join(b.builder(), "bin")
	if err := os.MkdirAll(steps, 0o700); err != nil {
		return err
	}
	for _, step := range []string{"detect", "build", "release"} {
		if err := os.Symlink(filepath.Join("..", "..", "bin", "ccaas"), filepath.Join(steps, step)); err != nil {
			return err
		}
	}
	module, err := g.output(ctx, "list", "-m", "-f", "{{.Dir}}", fabricModule)
	if err != nil {
		return err
	}
	config := filepath.Join(b.Dir, "config")
	if err := os.MkdirAll(config, 0o700); err != nil {
		return err
	}
	for _, name := range []string{coreFile, ordererFile} {
		data, err := os.ReadFile(filepath.Join(module, "sampleconfig", name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(config, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// goTool runs the Go command on the tools module and on nothing else.
type goTool struct {
	command, dir, label string
	cgo                 bool
	log                 io.Writer
}

func (g goTool) prepare(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, g.command, args...)
	if nice, err := exec.LookPath("nice"); err == nil {
		c = exec.CommandContext(ctx, nice, append([]string{"-n", "10", g.command}, args...)...)
	}
	c.Dir = g.dir
	cgo := "CGO_ENABLED=0"
	if g.cgo {
		cgo = "CGO_ENABLED=1"
	}
	c.Env = append(os.Environ(), cgo, "GOWORK=off", "GOFLAGS=-mod=readonly", "GOOS=", "GOARCH=", "PWD="+g.dir)
	ownGroup(c)
	return c
}

func (g goTool) run(ctx context.Context, args ...string) error {
	c := g.prepare(ctx, args...)
	p := &progress{log: g.log, label: g.label, what: args[0], next: time.Now().Add(progressEvery)}
	c.Stdout, c.Stderr = p, p
	if err := c.Run(); err != nil {
		return goError(ctx, args[0], p.tail.String(), err)
	}
	return nil
}

func (g goTool) output(ctx context.Context, args ...string) (string, error) {
	c := g.prepare(ctx, args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return "", goError(ctx, args[0], stderr.String(), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// fetching matches what the Go command says when sources cannot be had.
var fetching = regexp.MustCompile(`(?i)(proxy|forbidden|dial tcp|no such host|i/o timeout|connection refused|TLS handshake|unexpected EOF|module lookup disabled|reading https?://)`)

func goError(ctx context.Context, what, tail string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("go %s: %w", what, ctx.Err())
	}
	if fetching.MatchString(tail) {
		return fmt.Errorf("%w: %s", ErrModules, lastLines(tail, 5))
	}
	return fmt.Errorf("go %s: %w\n%s", what, err, lastLines(tail, 15))
}

// progressEvery is how often a running build says how far it is.
const progressEvery = 5 * time.Second

// progress counts the lines of the Go command (one for each package or module)
// and keeps the last ones for the error message.
type progress struct {
	log   io.Writer
	label string
	what  string
	tail  tailBuffer
	lines int
	next  time.Time
}

// Write is called by one goroutine of os/exec at a time, as Stdout and Stderr
// are the same writer.
func (p *progress) Write(b []byte) (int, error) {
	p.tail.add(b)
	p.lines += bytes.Count(b, []byte("\n"))
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(progressEvery)
		unit := "packages compiled"
		if p.what != "build" {
			unit = "modules"
		}
		fmt.Fprintf(p.log, "  %s: %d %s\n", p.label, p.lines, unit)
	}
	return len(b), nil
}

// tailBuffer keeps the last few kB written to it.
type tailBuffer struct{ data []byte }

const tailSize = 8 << 10

func (t *tailBuffer) add(b []byte) {
	t.data = append(t.data, b...)
	if extra := len(t.data) - tailSize; extra > 0 {
		t.data = append(t.data[:0], t.data[extra:]...)
	}
}

func (t *tailBuffer) String() string { return string(t.data) }

// lastLines returns the last n lines of text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
