package institution

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/network/institution/api"
)

// pageLines are the command lines of the page, in order.
func pageLines(t *testing.T) []string {
	t.Helper()
	page := must(os.ReadFile(filepath.Join("..", "..", "docs", "institution-api.md")))
	_, section, _ := strings.Cut(string(page), "## From nothing to an answer, with curl")
	section, _, _ = strings.Cut(section, "\n## ")
	var out []string
	for line := range strings.Lines(section) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			out = append(out, strings.TrimSpace(command))
		}
	}
	return out
}

// TestAHospitalsDeveloperGetsFromThePageToAnAnswerWithCurlOnly runs the lines of
// docs/institution-api.md as they stand there, in institutions that are processes. The one that is asked is
// killed with -9 as soon as it has acknowledged the question.
func TestAHospitalsDeveloperGetsFromThePageToAnAnswerWithCurlOnly(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("SKIPPED: there is no curl, with which the page's lines are run")
	}
	if testing.Short() {
		t.Skip("processes")
	}
	if out, _ := exec.Command(curl, "--help", "all").CombinedOutput(); !strings.Contains(string(out), "--json") {
		t.Skip("SKIPPED: curl is older than its --json, which the page uses")
	}
	w := newWorld(t, 6)
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	address := l.Addr().String()
	w.check(l.Close())
	folder := t.TempDir()
	w.check(os.Symlink(w.member(hospitalA), filepath.Join(folder, "a")))
	// vitalveil is this binary, which is told where the interface listens.
	script := "#!/bin/sh\n[ \"$2\" = caller ] && set -- \"$@\" --listen " + address + "\nexec env " + childVariable + "=1 " + os.Args[0] + " \"$@\"\n"
	w.check(os.WriteFile(filepath.Join(folder, "vitalveil"), []byte(script), 0o700))
	_, port, _ := net.SplitHostPort(address)
	run := func(line string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := exec.CommandContext(ctx, "sh", "-c", strings.ReplaceAll(line, "localhost:7443", "localhost:"+port))
		c.Dir = folder
		c.Env = append(os.Environ(), "PATH="+folder+":"+os.Getenv("PATH"))
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s\n%v: %s", line, err, out)
		}
		return string(out)
	}
	lines := pageLines(t)
	if len(lines) < 8 {
		t.Fatalf("the page has %d lines of commands", len(lines))
	}
	run(lines[0])
	w.startAll()
	w.enrol(11)
	w.measure()
	said := ""
	for _, line := range lines[1:] {
		out := run(line)
		said += out
		if !strings.Contains(line, "Idempotency-Key") {
			continue
		}
		w.members[hospitalA].kill()
		w.up(hospitalA)
		w.ready(hospitalA)
		var first, again api.Query
		w.check(json.Unmarshal([]byte(out), &first))
		w.check(json.Unmarshal([]byte(run(line)), &again))
		if first.ID == "" || first.ID != again.ID {
			t.Errorf("after a kill the same key has query %s, not %s", again.ID, first.ID)
		}
	}
	for _, want := range []string{`"ready":true`, "event: end", "heart_rate,2025-01-01T00:00:00Z", `"resourceType":"MeasureReport"`, `"worth_of":`} {
		if !strings.Contains(said, want) {
			t.Errorf("the page's lines do not say %s:\n%s", want, said)
		}
	}
	consortium.Eventually(t, 20*time.Second, "the study's budget", func() bool {
		out := run("curl -K curl.conf https://localhost:7443/v1/studies/heart")
		return strings.Contains(out, `"spent":1,`)
	})
}
