package institution

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/vitalveil/vitalveil/network/site"
)

// A file that an earlier version has made goes on loading, whatever later ones add.
func TestTheFirstInstitutionFileGoesOnLoading(t *testing.T) {
	old, err := os.ReadFile(filepath.Join("testdata", "institution-v1.json"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ConfigFile), old, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := site.LedgerConfig{Address: "127.0.0.1:7500", Operator: "Patients"}
	if c.Ledger != want || c.Blobs.Gateway != "http://127.0.0.1:8080" || c.VaultKey != "/run/credentials/vitalveil/vault" ||
		string(c.Network) != filepath.Join(filepath.Dir(dir), "network.json") || c.Patience != 45 || len(c.Members) != 2 {
		t.Errorf("it was read as %+v", c)
	}
}
