package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"vitalveil": main}) }

// TestCommandLine runs the transcripts of all programs, each of which reads like a shell
// session.
func TestCommandLine(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join("cmd", "*", "testdata", "scripts"))
	if err != nil || len(dirs) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, dir := range dirs {
		t.Run(strings.Split(dir, string(filepath.Separator))[1], func(t *testing.T) {
			testscript.Run(t, testscript.Params{Dir: dir, Setup: prepare, Cmds: map[string]func(*testscript.TestScript, bool, []string){"site": siteCommand(t)}})
		})
	}
}

// prepare gives a transcript free addresses on loopback: A, B, C, LEDGER and GATEWAY.
func prepare(e *testscript.Env) error {
	e.Values[siteKey{}] = new(*consortiumSite)
	for _, name := range []string{"A", "B", "C", "LEDGER", "GATEWAY", "METRICS"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		e.Setenv(name, l.Addr().String())
	}
	return nil
}

const module = "github.com/vitalveil/vitalveil/"

// floors of the house, lowest first. docs/design/layout.md says why.
var floors = [][]string{
	{"internal", "wearable"}, {"consent", "he", "zk"}, {"chaincode"}, {"network"}, {"gateway"}, {"bridge"}, {"cmd"},
}

func floor(name string) int {
	top, _, _ := strings.Cut(name, "/")
	return slices.IndexFunc(floors, func(f []string) bool { return slices.Contains(f, top) })
}

type listed struct {
	ImportPath string
	Imports    []string
	Name       string
}

// own returns the packages of this module that p imports.
func (p listed) own() []string {
	var names []string
	for _, imp := range p.Imports {
		if name, ok := strings.CutPrefix(imp, module); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// packages returns what this module has below its root.
func packages(t *testing.T) map[string]listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Name", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string]listed{}
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
		if name, below := strings.CutPrefix(p.ImportPath, module); below {
			all[name] = p
		}
	}
}

// layout is what docs/design/layout.md says of each package: what it imports, or
// nothing for programs and for what only tests need.
type layout struct{ parts, programs, tests map[string][]string }

func readLayout(t *testing.T) layout {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("docs", "design", "layout.md"))
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("`([^`]+)`")
	table := func(title string) map[string][]string {
		_, section, found := strings.Cut(string(b), "\n## "+title+"\n")
		if !found {
			t.Fatalf("docs/design/layout.md has no section %q", title)
		}
		section, _, _ = strings.Cut(section, "\n## ")
		rows := map[string][]string{}
		for line := range strings.Lines(section) {
			cells := strings.Split(line, "|")
			if len(cells) < 4 || !strings.HasPrefix(cells[1], " `") {
				continue
			}
			imports := []string{}
			for _, m := range code.FindAllStringSubmatch(strings.Join(cells[3:], ""), -1) {
				imports = append(imports, m[1])
			}
			slices.Sort(imports)
			rows[strings.Trim(cells[1], " `")] = imports
		}
		return rows
	}
	return layout{table("Packages of the system"), table("Programs"), table("For tests alone")}
}

func TestTheLayoutIsExactBothWays(t *testing.T) {
	l, all := readLayout(t), packages(t)
	for name, p := range all {
		imports, part := l.parts[name]
		_, program := l.programs[name]
		_, tests := l.tests[name]
		if !part && !program && !tests {
			t.Errorf("%s is not in the layout: say in docs/design/layout.md what it owns", name)
		}
		if part && !slices.Equal(imports, p.own()) {
			t.Errorf("docs/design/layout.md says that %s imports\n  %s\nand it imports\n  `%s`", name, strings.Join(imports, ", "), strings.Join(p.own(), "`, `"))
		}
		for _, own := range p.own() {
			if _, ok := l.tests[own]; ok && !tests {
				t.Errorf("%s imports %s, which is for tests alone", name, own)
			}
		}
	}
	for name := range merge(l.parts, l.programs, l.tests) {
		if _, ok := all[name]; !ok {
			t.Errorf("the layout lists %s, which does not exist", name)
		}
	}
}

func merge(tables ...map[string][]string) map[string][]string {
	all := map[string][]string{}
	for _, t := range tables {
		maps.Copy(all, t)
	}
	return all
}

func TestNoImportGoesUp(t *testing.T) {
	tests := readLayout(t).tests
	for name, p := range packages(t) {
		if _, ok := tests[name]; ok {
			continue
		}
		if floor(name) < 0 {
			t.Errorf("%s stands on no floor", name)
		}
		for _, own := range p.own() {
			if floor(own) > floor(name) {
				t.Errorf("%s imports %s, which is above it", name, own)
			}
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

// TestReadersOfTheLedgerLinkNoContract: whoever reads the ledger or calls the contracts
// shares their documents and rules, not their code.
func TestReadersOfTheLedgerLinkNoContract(t *testing.T) {
	for _, reader := range []string{"gateway", "network/index", "network/institution", "cmd/verify"} {
		out, err := exec.Command("go", "list", "-deps", "./"+reader).Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		deps := strings.Fields(string(out))
		if slices.Contains(deps, module+"chaincode") || strings.Contains(string(out), "/fabric-contract-api-go/") {
			t.Errorf("%s links the contracts", reader)
		}
		if !slices.Contains(deps, module+"chaincode/state") {
			t.Errorf("%s does not read by chaincode/state", reader)
		}
	}
}

// TestDirectRequirementsHaveReasons: whatever this module asks for itself is in one
// list, each with the reason why it is there. What only tests of peers need has a
// module of its own.
func TestDirectRequirementsHaveReasons(t *testing.T) {
	const most = 39
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

// crowded are the types that still have more methods than one idea needs. A type that
// has fewer by now must not be here.
var crowded = []string{"chaincode.call", "network/fabric/launch.Network"}

// TestNoTypeIsACrowd: of a hundred methods on one type, each can reach every field, and
// none keeps a promise. What a type embeds is not counted; generated code is not ours.
func TestNoTypeIsACrowd(t *testing.T) {
	const most = 70
	methods := map[string]int{}
	files, err := exec.Command("git", "ls-files", "*.go").Output()
	if err != nil {
		t.Skipf("git: %v", err)
	}
	for name := range strings.Lines(string(files)) {
		name = strings.TrimSpace(name)
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		if ast.IsGenerated(f) {
			continue
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
				methods[path.Dir(name)+"."+receiver(fn.Recv.List[0].Type)]++
			}
		}
	}
	for name, n := range methods {
		if n > most && !slices.Contains(crowded, name) {
			t.Errorf("%s has %d methods, at most %d are allowed: find the parts in it", name, n, most)
		}
	}
	for _, name := range crowded {
		if methods[name] <= most {
			t.Errorf("%s has %d methods: take it off the list", name, methods[name])
		}
	}
}

// receiver is the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}
