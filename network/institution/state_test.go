package institution

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/network/institution/store"
)

func TestStateServesOneMemberOnly(t *testing.T) {
	w := newWorld(t)
	w.down(hospitalA)
	cfg := w.config(hospitalB)
	cfg.Dir = filepath.Join(w.dir, "0")
	if in, err := New(cfg); err == nil || !strings.Contains(err.Error(), "another member") {
		in.Close()
		t.Errorf("got %v", err)
	}
}

func openedStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}
