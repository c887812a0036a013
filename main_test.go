package main

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"vitalveil": main}) }

// TestCommandLine runs the transcripts, each of which reads like a shell session.
func TestCommandLine(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("internal", "demo", "testdata", "scripts"),
		// A, B, C and LEDGER are free addresses on loopback.
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"A", "B", "C", "LEDGER"} {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				defer l.Close()
				e.Setenv(name, l.Addr().String())
			}
			return nil
		},
	})
}

const module = "github.com/vitalveil/vitalveil/"

// mayImport lists, for each package, the packages of this module that its
// non-test code may import. docs/design/layout.md says why.
var mayImport = map[string][]string{
	"wearable":            {},
	"wearable/virtual":    {"wearable"},
	"he/privacy":          {"wearable", "internal/record"},
	"he/opening":          {"internal/record"},
	"he":                  {"he/privacy", "he/opening", "internal/record"},
	"zk/verifier":         {"wearable", "internal/record"},
	"zk":                  {"wearable", "zk/verifier", "internal/record"},
	"consent":             {"wearable", "zk/verifier", "internal/record"},
	"chaincode":           {"consent", "zk/verifier", "he/privacy", "he/opening", "wearable", "internal/record", "internal/details", "internal/fault"},
	"network":             {"internal/state", "internal/record", "internal/fault"},
	"network/embedded":    {"network", "internal/record", "internal/fault"},
	"network/fabric":      {"network", "chaincode", "internal/state", "internal/details", "internal/record", "internal/fault"},
	"network/conformance": {"network", "internal/record", "internal/fault"},
	"network/index":       {"network", "chaincode", "consent", "he/opening", "he/privacy", "wearable", "internal/details", "internal/record", "internal/fault"},
	"network/institution": {"network", "network/index", "he", "he/opening", "he/privacy", "consent", "chaincode", "gateway/api", "gateway/api/v1", "wearable", "internal/details", "internal/state", "internal/vault", "internal/record", "internal/fault"},
	"bridge":              {"wearable", "he", "he/privacy", "zk", "zk/verifier", "consent", "gateway/api", "internal/state", "internal/vault", "internal/record", "internal/fault"},
	"gateway":             {"consent", "network", "network/index", "chaincode", "gateway/api", "gateway/api/v1", "gateway/web", "internal/blob", "internal/details", "internal/state", "internal/record", "internal/fault"},
	"gateway/api":         {"gateway/api/v1", "consent", "internal/record", "internal/fault"},
	"gateway/api/v1":      {},
	"gateway/web":         {},
	"internal/record":     {},
	"internal/state":      {},
	"internal/vault":      {"internal/state"},
	"internal/fault":      {},
	"internal/blob":       {"internal/record", "internal/fault"},
	"internal/details":    {"internal/record", "internal/fault"},

	"network/conformance/forgery":  {"network", "chaincode", "consent", "he", "he/privacy", "internal/details/detailstest", "internal/record", "internal/fault"},
	"network/institution/process":  {"network", "network/embedded", "network/fabric", "network/index", "network/institution", "chaincode", "gateway/api", "he", "he/privacy", "internal/blob", "internal/details", "internal/state", "internal/record", "internal/fault"},
	"internal/details/detailstest": {"internal/details", "internal/record"},
	"internal/faults":              {}, // tests alone
}

// anything may be imported by these, and these by main alone.
var wiring = []string{"internal/demo", "internal/verify"}

type listed struct {
	ImportPath string
	Imports    []string
	Name       string
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Name", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	d := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		err := d.Decode(&p)
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImportsGoOneWay(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range packages(t) {
		name, inside := strings.CutPrefix(p.ImportPath, module)
		if !inside || p.Name == "main" || slices.Contains(wiring, name) {
			continue
		}
		seen[name] = true
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("%s is not in the layout: say in docs/design/layout.md what it owns, and list it here", name)
			continue
		}
		for _, imp := range p.Imports {
			if own, ok := strings.CutPrefix(imp, module); ok && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s, which the layout does not allow", name, own)
			}
		}
	}
	for name := range mayImport {
		if !seen[name] {
			t.Errorf("the layout lists %s, which does not exist", name)
		}
	}
}

func TestFabricsSDKStaysOutOfTheMainBinary(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, bad := range []string{"github.com/hyperledger/fabric-sdk-go", "github.com/hyperledger/fabric/"} {
		if strings.Contains(string(out), bad) {
			t.Errorf("the main binary links %s, whose protobuf registrations panic beside the v2 stack", bad)
		}
	}
}

// TestDirectRequirementsHaveReasons: whatever this module asks for itself is in one
// list, each with the reason why it is there. What only tests of peers need has a
// module of its own.
func TestDirectRequirementsHaveReasons(t *testing.T) {
	const most = 32
	file, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(file), "require (\n")
	list, _, _ = strings.Cut(list, "\n)")
	direct := strings.Split(list, "\n")
	if len(direct) < 10 || len(direct) > most {
		t.Errorf("%d direct requirements, at most %d are allowed: one more needs a good reason", len(direct), most)
	}
	for _, line := range direct {
		if _, reason, ok := strings.Cut(line, " // "); !ok || reason == "indirect" {
			t.Errorf("no reason stands beside %s", strings.TrimSpace(line))
		}
	}
}
