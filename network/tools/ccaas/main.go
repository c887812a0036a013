// Command ccaas is a peer's external builder for chaincode that runs as a
// service of its own: nothing is compiled, the peer only learns where to connect.
//
// One program serves all three steps and looks at the name it was called by:
//
//	detect SOURCE METADATA          succeeds for packages of type "ccaas"
//	build SOURCE METADATA OUTPUT    puts connection.json into OUTPUT
//	release OUTPUT RELEASE          hands it to the peer
//
// Where to connect is the peer operator's business and part of it is secret (the
// key of the peer's side of mutual TLS), so it does not come from the package,
// which all organisations share and approve by its hash. It comes from the file
// that the environment variable CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG names, the
// one variable that Fabric's own configuration lets through. A package that
// brings a connection.json is refused.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// configEnv names the file that holds the connection.
const configEnv = "CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG"

const connectionFile = "connection.json"

// maxFile bounds what is read, in bytes.
const maxFile = 64 << 10

func main() {
	if err := run(filepath.Base(os.Args[0]), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ccaas:", err)
		os.Exit(1)
	}
}

func run(step string, args []string) error {
	want := map[string]int{"detect": 2, "build": 3, "release": 2}
	n, ok := want[step]
	if !ok {
		return fmt.Errorf("called as %q: the names are detect, build and release", step)
	}
	if len(args) != n {
		return fmt.Errorf("%s takes %d directories", step, n)
	}
	switch step {
	case "detect":
		return detect(args[1])
	case "build":
		return build(args[0], args[2])
	default:
		return release(args[0], args[1])
	}
}

func detect(metadata string) error {
	b, err := read(filepath.Join(metadata, "metadata.json"))
	if err != nil {
		return err
	}
	var m struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	if m.Type != "ccaas" {
		return fmt.Errorf("the package is of type %q", m.Type)
	}
	return nil
}

func build(source, output string) error {
	if _, err := os.Lstat(filepath.Join(source, connectionFile)); !errors.Is(err, os.ErrNotExist) {
		return errors.New("the package brings its own connection.json; the peer's operator decides where it connects")
	}
	path := os.Getenv(configEnv)
	if path == "" {
		return fmt.Errorf("%s does not name the connection file", configEnv)
	}
	b, err := read(path)
	if err != nil {
		return err
	}
	if err := check(b); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(filepath.Join(output, connectionFile), b, 0o600)
}

// check refuses connections that anybody on the machine could answer or make.
func check(b []byte) error {
	var c struct {
		Address    string `json:"address"`
		TLS        bool   `json:"tls_required"`
		ClientAuth bool   `json:"client_auth_required"`
		Key        string `json:"client_key"`
		Cert       string `json:"client_cert"`
		Root       string `json:"root_cert"`
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return err
	}
	if c.Address == "" {
		return errors.New("no address")
	}
	if !c.TLS || !c.ClientAuth || c.Key == "" || c.Cert == "" || c.Root == "" {
		return errors.New("mutual TLS is not configured")
	}
	return nil
}

func release(output, release string) error {
	b, err := read(filepath.Join(output, connectionFile))
	if err != nil {
		return err
	}
	dir := filepath.Join(release, "chaincode", "server")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, connectionFile), b, 0o600)
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return b, nil
}
