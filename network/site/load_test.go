package site

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type house struct {
	Service
	Roof  Path            `json:"roof"`
	Rooms []Path          `json:"rooms,omitempty"`
	Doors map[string]Path `json:"doors,omitempty"`
	Key   Secret          `json:"key,omitempty"`
	Name  string          `json:"name,omitempty"`
}

func (h house) Check() error {
	if h.Name == "haunted" {
		return errors.New("nobody lives here")
	}
	return h.Service.Check()
}

// loaded is what Load makes of a text in DIR/house.json.
func loaded(t *testing.T, text string) (house, string, error) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "house.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var h house
	err := Load(path, &h)
	return h, dir, err
}

func TestPathsBeginAtTheFile(t *testing.T) {
	h, dir, err := loaded(t, `{"roof": "red", "rooms": ["a", "/b"], "doors": {"front": "../c"}, "key": "k", "name": "rel"}`)
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[Path]string{h.Roof: "red", h.Rooms[0]: "a", h.Doors["front"]: "../c", Path(h.Key): "k"} {
		if string(got) != filepath.Join(dir, want) {
			t.Errorf("%s became %s", want, got)
		}
	}
	if h.Rooms[1] != "/b" || h.Name != "rel" {
		t.Errorf("changed: %+v", h)
	}
	if h, _, err = loaded(t, `{"roof": ""}`); err != nil || h.Roof != "" || h.Key != "" {
		t.Errorf("what is empty stays so: %+v, %v", h, err)
	}
}

func TestAFileIsReadStrictly(t *testing.T) {
	for says, text := range map[string]string{
		"surprise":           `{"roof": "r", "surprise": 1}`,
		"unknown field":      `{"ROOF": "r"}`,
		"duplicate":          `{"roof": "r", "roof": "s"}`,
		"after top-level":    `{"roof": "r"} {}`,
		"house.json: nobody": `{"roof": "r", "name": "haunted"}`,
		"loopback":           `{"roof": "r", "metrics": "0.0.0.0:9100"}`,
		"such as 127":        `{"roof": "r", "metrics": "localhost:9100"}`,
		"log is":             `{"roof": "r", "log": "xml"}`,
		"more than":          `{"roof": "` + strings.Repeat("r", maxDocument) + `"}`,
	} {
		if _, _, err := loaded(t, text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q, got %v", says, err)
		}
	}
}

func TestASecretComesFromAFileOfItsOwnerOrFromSystemd(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	write := func(mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte("s3"), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	write(0o600)
	if b, err := Secret(path).Read(8); err != nil || string(b) != "s3" {
		t.Errorf("read %q, %v", b, err)
	}
	if _, err := Secret(path).Read(1); err == nil {
		t.Error("a secret that is too long was read")
	}
	write(0o640)
	if _, err := Secret(path).Read(8); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("others may read it: %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := Secret("credential:secret").Read(8); err == nil || !strings.Contains(err.Error(), "LoadCredential=secret:") {
		t.Errorf("without systemd: %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if b, err := Secret("credential:secret").Read(8); err != nil || string(b) != "s3" {
		t.Errorf("systemd's: %q, %v", b, err)
	}
	write(0o644)
	if _, err := Secret("credential:secret").Read(8); err == nil {
		t.Error("a credential that everybody may read was taken")
	}
	for _, name := range []string{"credential:", "credential:../secret", "credential:a/b", "credential:.."} {
		if _, err := Secret(name).Path(); err == nil {
			t.Errorf("%q names a file", name)
		}
	}
}
