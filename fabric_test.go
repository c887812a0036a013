package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/vitalveil/vitalveil/network/fabric/launch/launchtest"
)

// TestOneSiteOnFabric is the transcript of one site, with a Fabric network in the place of
// the embedded ledger. The peers hold Fabric's blocks, so nothing checks them offline.
func TestOneSiteOnFabric(t *testing.T) {
	launchtest.Build(t)
	script, err := os.ReadFile(filepath.Join("cmd", "up", "testdata", "scripts", "site.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "fabric.txtar"), []byte(onFabric(t, string(script))), 0o644); err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{Dir: dir, Setup: func(e *testscript.Env) error {
		e.Setenv("XDG_CACHE_HOME", cache) // Fabric's programs are built there
		return prepare(e)
	}})
}

// onFabric changes the lines of a transcript that are about the embedded ledger.
func onFabric(t *testing.T, script string) string {
	t.Helper()
	for _, c := range [][2]string{
		{"--ledger $LEDGER --operator Patients", "--fabric fabric"},
		{"[short] skip\n", "[short] skip\nexec vitalveil network up --dir fabric --foreground &fabric&\nexec sh fabric-is-up\n"},
		{"exec vitalveil ledger --dir ledger --org c --listen $LEDGER &ledger&\n", ""},
		{"exec vitalveil ledger --dir ledger --org c --listen $LEDGER &ledger2&\n", ""},
		{"kill -KILL ledger\n", ""},
		{"kill -INT ledger2\nwait ledger2\nexec vitalveil verify --state .\nstdout 'claims'\n", "kill -INT fabric\nwait fabric\n"},
		{"-- tick --\n", "-- fabric-is-up --\nfor i in $(seq 600); do test -f fabric/profile.json && exit 0; sleep 1; done; exit 1\n-- tick --\n"},
		{"--msp Patients", "--msp PatientsAssociation"},
		{"--member Patients=", "--member PatientsAssociation="},
		{"--name trial --registrar Patients", "--name vitalveil --registrar PatientsAssociation"},
	} {
		if !strings.Contains(script, c[0]) {
			t.Fatalf("the transcript has no %q", c[0])
		}
		script = strings.ReplaceAll(script, c[0], c[1])
	}
	return script
}
