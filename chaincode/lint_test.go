package chaincode_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Peers that do not compute the same bytes do not endorse the same transaction.
// These rules keep the contracts, and what they decide by, free of
// whatever may differ between two peers or two runs.
func TestContractsAreDeterministic(t *testing.T) {
	exports := exportData(t, ".", "./state", "../consent")
	for _, dir := range []string{".", "state", "../consent"} {
		for _, finding := range lint(t, dir, exports, nil) {
			t.Error(finding)
		}
	}
}

// The rules find what they forbid.
func TestDeterminismRulesFind(t *testing.T) {
	exports := exportData(t, ".", "time", "math/rand", "crypto/rand", "os")
	for name, body := range map[string]string{
		"ranges over a map":     `func f(m map[string]int) { for k := range m { _ = k } }`,
		"ranges over a named":   `type table map[string]int; func f(m table) { for k := range m { _ = k } }`,
		"computes in floats":    `func f(a int) int { return int(float64(a) * 1.5) }`,
		"starts a goroutine":    `func f() { go func() {}() }`,
		"selects":               `func f(c chan int) { select { case <-c: default: } }`,
		"imports time":          `import "time"; func f() int64 { return time.Now().Unix() }`,
		"imports math/rand":     `import "math/rand"; func f() int { return rand.Int() }`,
		"imports crypto/rand":   `import "crypto/rand"; func f(b []byte) { rand.Read(b) }`,
		"imports os":            `import "os"; func f() string { return os.Getenv("X") }`,
		"calls record.RandomID": `import "github.com/vitalveil/vitalveil/internal/record"; func f() record.ID { return record.RandomID() }`,
		"makes a details key":   `import "github.com/vitalveil/vitalveil/internal/details"; func f() details.Key { return details.NewKey() }`,
	} {
		if found := lint(t, ".", exports, []byte("package p\n"+body)); len(found) == 0 {
			t.Errorf("code that %s passes", name)
		}
	}
}

// forbidden packages have clocks, randomness, processes or networks.
var forbidden = []string{"time", "math/rand", "math/rand/v2", "crypto/rand", "os", "os/exec", "net", "net/http", "runtime", "unsafe", "maps"}

// exportData asks the go command for compiled packages, so that types of other
// packages are known exactly.
func exportData(t *testing.T, patterns ...string) map[string]string {
	t.Helper()
	args := append([]string{"list", "-export", "-deps", "-json=ImportPath,Export"}, patterns...)
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	files := map[string]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		err := d.Decode(&p)
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		files[p.ImportPath] = p.Export
	}
}

// lint checks the package in dir, or the one file given as source.
func lint(t *testing.T, dir string, exports map[string]string, source []byte) []string {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	add := func(name string, src any) {
		f, err := parser.ParseFile(fset, name, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	if source != nil {
		add("p.go", source)
	} else {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(names) == 0 {
			t.Fatalf("no source in %s: %v", dir, err)
		}
		for _, name := range names {
			if !strings.HasSuffix(name, "_test.go") {
				add(name, nil)
			}
		}
	}
	look := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", look)}
	if _, err := conf.Check("p", fset, files, info); err != nil {
		t.Fatal(err)
	}
	l := &linter{fset: fset, info: info}
	for _, f := range files {
		ast.Inspect(f, l.visit)
	}
	return l.found
}

type linter struct {
	fset  *token.FileSet
	info  *types.Info
	found []string
}

func (l *linter) report(n ast.Node, what string) {
	l.found = append(l.found, fmt.Sprintf("%s: %s", l.fset.Position(n.Pos()), what))
}

func (l *linter) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ImportSpec:
		path := strings.Trim(n.Path.Value, `"`)
		for _, f := range forbidden {
			if path == f {
				l.report(n, "imports "+path)
			}
		}
	case *ast.RangeStmt:
		if _, ok := l.info.TypeOf(n.X).Underlying().(*types.Map); ok {
			l.report(n, "ranges over a map")
		}
	case *ast.GoStmt:
		l.report(n, "starts a goroutine")
	case *ast.SelectStmt:
		l.report(n, "selects")
	case *ast.Ident:
		if o := l.info.Uses[n]; o != nil && slices.Contains([]string{"RandomID", "NewKey", "SealBoxes"}, o.Name()) {
			l.report(n, "is random")
		}
	}
	if e, ok := n.(ast.Expr); ok {
		if tv, ok := l.info.Types[e]; ok {
			if b, ok := tv.Type.Underlying().(*types.Basic); ok && b.Info()&(types.IsFloat|types.IsComplex) != 0 {
				l.report(n, "is a floating-point number")
			}
		}
	}
	return true
}
