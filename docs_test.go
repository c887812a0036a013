package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^)#\s]+)`)

// TestLinksInTheDocsLead to files of this tree; those to other places are not followed.
func TestLinksInTheDocsLead(t *testing.T) {
	seen := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			seen++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d links were found", seen)
	}
}

// TestTheTourNamesWhatItsFilesHave: each stop links to a file, and each name in it is
// declared there.
func TestTheTourNamesWhatItsFilesHave(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("docs", "tour.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, tour, _ := strings.Cut(string(text), "\n## One reading, ten files\n")
	stops := regexp.MustCompile(`(?m)^\d+\. `).Split(tour, -1)[1:]
	if len(stops) != 10 {
		t.Errorf("the tour has %d stops", len(stops))
	}
	name := regexp.MustCompile("`(\\w+)`")
	for _, stop := range stops {
		file := link.FindStringSubmatch(stop)
		if file == nil {
			t.Fatalf("a stop without a link: %s", stop)
		}
		declared := names(t, filepath.Join("docs", file[1]))
		named := name.FindAllStringSubmatch(stop, -1)
		if len(named) == 0 {
			t.Errorf("%s: the tour names nothing in it", file[1])
		}
		for _, m := range named {
			if !declared[m[1]] {
				t.Errorf("%s has no %s", file[1], m[1])
			}
		}
	}
}

// TestTheTourShowsTheTree: every folder in the picture exists.
func TestTheTourShowsTheTree(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("docs", "tour.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, tree, _ := strings.Cut(string(text), "```\n")
	tree, _, _ = strings.Cut(tree, "```")
	top := ""
	for line := range strings.Lines(tree) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			continue
		}
		path := strings.TrimSuffix(strings.TrimSpace(name), "/")
		if strings.HasPrefix(line, " ") {
			path = filepath.Join(top, path)
		} else {
			top = path
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the tour shows %s, which is not there", path)
		}
	}
}

// names are what a file declares at its top level, methods included.
func names(t *testing.T, path string) map[string]bool {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			all[d.Name.Name] = true
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if s, ok := s.(*ast.TypeSpec); ok {
					all[s.Name.Name] = true
				}
			}
		}
	}
	return all
}
