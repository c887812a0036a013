package launch

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The copies that the binary carries are network/tools, to the byte.
func TestEmbeddedToolsAreCurrent(t *testing.T) {
	origin := map[string]string{}
	for _, f := range fabricSource.files {
		origin[f[0]] = f[1]
	}
	for _, f := range caSource.files {
		origin[f[0]] = filepath.Join("ca", f[1])
	}
	for name, path := range origin {
		want, err := os.ReadFile(filepath.Join("..", "..", "tools", path))
		if err != nil {
			t.Fatal(err)
		}
		got, err := toolFiles.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not network/tools/%s: run go generate ./network/fabric/launch", name, path)
		}
	}
}

func TestBuildErrorsSayWhatToDo(t *testing.T) {
	ctx := context.Background()
	proxy := "go: github.com/x/y@v1.0.0: reading https://proxy.example/x: 403 Forbidden"
	if err := goError(ctx, "mod", proxy, errors.New("exit status 1")); !errors.Is(err, ErrModules) || !strings.Contains(err.Error(), "403") {
		t.Errorf("refused module: %v", err)
	}
	if err := goError(ctx, "build", "x.go:1: undefined: y", errors.New("exit status 1")); errors.Is(err, ErrModules) || !strings.Contains(err.Error(), "undefined: y") {
		t.Errorf("compile error: %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := goError(canceled, "build", proxy, errors.New("killed")); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestBuildNeedsTheGoCommand(t *testing.T) {
	t.Setenv("PATH", "")
	b := Binaries{Dir: filepath.Join(t.TempDir(), "fabric")}
	if err := fabricSource.buildInto(context.Background(), b, os.Stderr); !errors.Is(err, ErrNoGo) {
		t.Errorf("build without Go: %v", err)
	}
}

// builderStep calls the external builder as the peer does.
func builderStep(t *testing.T, b Binaries, config, step string, args ...string) error {
	t.Helper()
	c := exec.Command(filepath.Join(b.builder(), "bin", step), args...)
	c.Env = []string{"CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG=" + config}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Logf("%s: %v: %s", step, err, out)
	}
	return err
}

const tlsConnection = `{"address":"127.0.0.1:1","tls_required":true,"client_auth_required":true,"client_key":"k","client_cert":"c","root_cert":"r"}`

func TestBuilderTakesTheOperatorsConnection(t *testing.T) {
	b := fabricBinaries(t)
	dir := t.TempDir()
	source, meta, output, release := filepath.Join(dir, "source"), filepath.Join(dir, "meta"), filepath.Join(dir, "out"), filepath.Join(dir, "release")
	for _, d := range []string{source, meta, output, release} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "connection.json")
	write := func(path, data string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	metadata := filepath.Join(meta, "metadata.json")
	write(metadata, `{"type":"golang"}`)
	if builderStep(t, b, config, "detect", source, meta) == nil {
		t.Error("a Go package is taken for a service")
	}
	write(metadata, `{"type":"ccaas","label":"x"}`)
	if err := builderStep(t, b, config, "detect", source, meta); err != nil {
		t.Error("a service is not recognised")
	}
	if builderStep(t, b, "", "build", source, meta, output) == nil {
		t.Error("built without a connection")
	}
	for _, open := range []string{`{}`, `{"address":"127.0.0.1:1"}`, strings.Replace(tlsConnection, `"client_auth_required":true`, `"client_auth_required":false`, 1), "not JSON"} {
		write(config, open)
		if builderStep(t, b, config, "build", source, meta, output) == nil {
			t.Errorf("connection %s is accepted", open)
		}
	}
	write(config, tlsConnection)
	if builderStep(t, b, config, "build", source, meta, output) != nil || builderStep(t, b, config, "release", output, release) != nil {
		t.Fatal("a good connection is refused")
	}
	got, err := os.ReadFile(filepath.Join(release, "chaincode", "server", "connection.json"))
	if err != nil || string(got) != tlsConnection {
		t.Errorf("released %q, %v", got, err)
	}
	onlyOwner(t, release)
	if builderStep(t, b, config, "run", output, release) == nil {
		t.Error("an unknown step succeeds")
	}
}

// All organisations approve one package; it must not say where their peers connect.
func TestAttackPackageBringsItsOwnConnection(t *testing.T) {
	b := fabricBinaries(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "operator.json")
	if err := os.WriteFile(config, []byte(tlsConnection), 0o600); err != nil {
		t.Fatal(err)
	}
	evil := strings.Replace(tlsConnection, "127.0.0.1:1", "attacker.example:1", 1)
	if err := os.WriteFile(filepath.Join(dir, "connection.json"), []byte(evil), 0o600); err != nil {
		t.Fatal(err)
	}
	if builderStep(t, b, config, "build", dir, dir, t.TempDir()) == nil {
		t.Error("a package decides where the peer connects")
	}
}
