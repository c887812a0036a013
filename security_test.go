package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSecurityNamesTestsThatExist: every attack and accident that SECURITY.md says is
// replayed is, in the package that it names.
func TestSecurityNamesTestsThatExist(t *testing.T) {
	page, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	named := 0
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		dir := ""
		for _, m := range quoted.FindAllStringSubmatch(line, -1) {
			if !strings.HasPrefix(m[1], "Test") {
				dir = m[1]
				continue
			}
			named++
			if !slices.Contains(declared(t, dir), m[1]) {
				t.Errorf("there is no %s in %q", m[1], dir)
			}
		}
	}
	if named < 40 {
		t.Errorf("SECURITY.md names %d tests of attacks", named)
	}
}

// TestCommandsInTheDocsRunTests: what the pages say to run, to see that something
// holds, is there to run: in each folder some test or benchmark has the name.
func TestCommandsInTheDocsRunTests(t *testing.T) {
	command := regexp.MustCompile("go test (\\\\\\||[^`\n|])*")
	pattern := regexp.MustCompile(`-(run|bench) ('[^']*'|\S+)`)
	folder := regexp.MustCompile(` \./([\w/]+)`)
	seen := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range command.FindAllString(string(text), -1) {
			line = strings.ReplaceAll(line, `\|`, "|")
			for _, p := range pattern.FindAllStringSubmatch(line, -1) {
				name, err := regexp.Compile(strings.SplitN(strings.Trim(p[2], "'"), "/", 2)[0])
				if err != nil {
					t.Errorf("%s: %s: %v", page, line, err)
					continue
				}
				for _, dir := range folder.FindAllStringSubmatch(line, -1) {
					if p[2] == "'^$'" {
						continue
					}
					seen++
					if !slices.ContainsFunc(declared(t, dir[1]), name.MatchString) {
						t.Errorf("%s: %q runs nothing in %s", page, strings.TrimSpace(line), dir[1])
					}
				}
			}
		}
	}
	if seen < 15 {
		t.Errorf("only %d commands were found", seen)
	}
}

// pages are the documents for people.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, glob := range []string{"*.md", "docs/*.md", "docs/design/*.md"} {
		found, err := filepath.Glob(glob)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

var declaration = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)

// declared returns the names of a folder's tests, benchmarks and fuzz tests.
func declared(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range declaration.FindAllStringSubmatch(string(b), -1) {
			names = append(names, f[1])
		}
	}
	return names
}
