package institution

import (
	"path/filepath"
	"testing"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network/site"
)

// Who wants to count twice gives the same identifier in another spelling: each looks like
// the first to the one who vouches.
func TestAttackAPersonInAnotherSpelling(t *testing.T) {
	dir := t.TempDir()
	if err := makePersonKey(dir); err != nil {
		t.Fatal(err)
	}
	key := site.Secret(filepath.Join(dir, personKey))
	first, err := pseudonym(key, "trial", "insurance AB-4711")
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range []string{"Insurance ab-4711", "insurance  AB-4711", "insurance AB 4711 ", "insurance AB4711.", "insurance\tAB-4711\n", "insurance ab–4711", "insurance AB-4711\u200b", "insurance\u00a0AB-4711", "insurance \u0410B-4711", "insurance AB-47１１", "insurance AB-4711\x00"} {
		if p, err := pseudonym(key, "trial", again); err == nil && p != first || err != nil && fault.Of(err) != fault.Invalid {
			t.Errorf("%q is another person: %v", again, err)
		}
	}
	if p, err := pseudonym(key, "trial", "insurance AB-4712"); err != nil || p == first {
		t.Errorf("another person is the same: %v", err)
	}
	for _, none := range []string{"", " ", "--", "\n"} {
		if _, err := pseudonym(key, "trial", none); fault.Of(err) != fault.Invalid {
			t.Errorf("%q is a person: %v", none, err)
		}
	}
}
