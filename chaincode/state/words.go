package state

import (
	"unicode/utf8"

	"github.com/vitalveil/vitalveil/internal/fault"
)

// MaxName bounds names, titles and reasons, in bytes.
const MaxName = 100

// ValidName accepts 1 to MaxName bytes of text for people: no control
// characters, and none that change the direction or place of others. The ranges
// are written out, because Unicode tables grow with Go versions and all peers
// must agree.
func ValidName(s string) bool {
	if len(s) == 0 || len(s) > MaxName || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		switch {
		case r < 0x20, r >= 0x7f && r <= 0x9f, // control characters
			r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, // invisible, separators, directions
			r >= 0x2060 && r <= 0x206f, r == 0xfeff, r == utf8.RuneError:
			return false
		}
	}
	return true
}

// clip keeps words from outside short in error texts.
func clip(s string) string { return fault.Clip(s, 80) }
