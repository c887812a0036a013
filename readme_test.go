package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestThePilotOfTheREADME runs the lines by which the README shows a pilot at one site, with
// another port.
func TestThePilotOfTheREADME(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Running the roles separately")
	section, _, _ = strings.Cut(section, "[A test](readme_test.go)")
	script, lines := "", 0
	for line := range strings.Lines(section) {
		command, shown := strings.CutPrefix(line, "    ")
		if !shown {
			continue
		}
		lines++
		command, _, _ = strings.Cut(command, "        #")
		script += transcript(strings.TrimSpace(command))
	}
	if lines < 15 {
		t.Fatalf("the README shows %d lines", lines)
	}
	script += fmt.Sprintf("-- readings.csv --\ntime,metric,value\n%d,heart_rate,64\n", time.Now().Unix()-1)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pilot.txtar"), []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{Dir: dir, Setup: prepare})
}

// transcript is a line of the README as a transcript has it: what stays runs in the
// background, what is read off the screen or typed comes from files.
func transcript(line string) string {
	line = strings.ReplaceAll(line, "http://127.0.0.1:8080", "http://$GATEWAY")
	switch {
	case line == "vitalveil up --dir pilot":
		return "exec vitalveil up --dir pilot --listen $GATEWAY &up&\nexec sh -c 'for i in $(seq 600); do test -f pilot/network.json && vitalveil gateway status --dir pilot/gateway --wait 1s && exit 0; sleep 0.2; done; exit 1'\n"
	case strings.Contains(line, "patient init"):
		return "exec " + line + "\ncp stdout code\n"
	case strings.Contains(line, "patient confirm"):
		return "stdin code\nexec " + line + "\n"
	case strings.Contains(line, "patient request"):
		return "exec " + line + "\nexec sh -c 'vitalveil patient show --dir anna --offline | sed \"s/patient \\([0-9a-f]*\\) .*/\\1/\" > id'\n"
	case strings.Contains(line, " ID "):
		return "exec sh -c '" + strings.Replace(line, " ID ", " $(cat id) ", 1) + "'\n"
	case strings.Contains(line, "bridge run"):
		return "exec " + line + " &hub&\n"
	case strings.Contains(line, "up --dir pilot --stop"):
		return "kill -INT hub\nwait hub\nexec " + line + "\nwait up\n"
	}
	return "exec " + line + "\n"
}

// TestCommandsInTheDocsExist: each command that a page shows has its name, and each flag.
func TestCommandsInTheDocsExist(t *testing.T) {
	var c commands
	p, err := kong.New(&c, kong.Name("vitalveil"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		joined := regexp.MustCompile(`\\\n\s*`).ReplaceAllString(string(text), " ")
		for line := range strings.Lines(joined) {
			line, shown := strings.CutPrefix(line, "    ")
			line = strings.Replace(line, "go run . ", "vitalveil ", 1)
			line, _, _ = strings.Cut(line, "   ") // what it is for stands behind it
			words := strings.Fields(line)
			if !shown || len(words) < 2 || words[0] != "vitalveil" {
				continue
			}
			seen++
			node := p.Model.Node
			for _, w := range words[1:] {
				if next := child(node, w); next != nil {
					node = next
					continue
				}
				if name, is := strings.CutPrefix(w, "--"); is && !hasFlag(node, strings.SplitN(name, "=", 2)[0]) {
					t.Errorf("%s: %q has no flag --%s: %s", page, node.FullPath(), name, strings.TrimSpace(line))
				}
			}
			if node == p.Model.Node {
				t.Errorf("%s: there is no such command: %s", page, strings.TrimSpace(line))
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d commands were found", seen)
	}
}

func child(n *kong.Node, name string) *kong.Node {
	for _, c := range n.Children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func hasFlag(n *kong.Node, name string) bool {
	for _, group := range n.AllFlags(false) {
		for _, f := range group {
			if f.Name == name {
				return true
			}
		}
	}
	return false
}
