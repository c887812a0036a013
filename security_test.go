package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityNamesTestsThatExist: every attack that SECURITY.md says is replayed is,
// in the package that it names.
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
			if !strings.HasPrefix(m[1], "TestAttack") {
				dir = m[1]
				continue
			}
			named++
			if !declares(t, dir, m[1]) {
				t.Errorf("there is no %s in %q", m[1], dir)
			}
		}
	}
	if named < 40 {
		t.Errorf("SECURITY.md names %d tests of attacks", named)
	}
}

// declares reports whether a test file of the folder has the function.
func declares(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
