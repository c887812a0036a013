package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestUnitsForSystemdAreValidAndConfined: every unit in the docs, where there is systemd.
func TestUnitsForSystemdAreValidAndConfined(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("SKIPPED: no systemd-analyze on this machine; the units in docs/systemd are not checked")
	}
	units, err := filepath.Glob(filepath.Join("docs", "systemd", "*.service"))
	if err != nil || len(units) == 0 {
		t.Fatal("no units", err)
	}
	self, err := os.Executable() // a unit whose program is not installed is no valid one
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile(`/usr/(local/)?bin/vitalveil`)
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), filepath.Base(unit))
		if err := os.WriteFile(file, program.ReplaceAll(text, []byte(self)), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"verify", file}, {"security", "--offline=true", "--threshold=25", file}} {
			if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
				t.Errorf("%s: systemd-analyze %s: %v\n%s", unit, args[0], err, out)
			}
		}
	}
}
