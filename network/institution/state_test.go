package institution

import (
	"path/filepath"
	"strings"
	"testing"
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
