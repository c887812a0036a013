package chaincode

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// validName accepts 1 to maxName bytes of text for people: no control
// characters, and none that change the direction or place of others. The ranges
// are written out, because Unicode tables grow with Go versions and all peers
// must agree.
func validName(s string) bool {
	if len(s) == 0 || len(s) > maxName || !utf8.ValidString(s) {
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

// validSlug accepts 1 to 64 of a-z, 0-9 and hyphens.
func validSlug(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func checkMetrics(keys []string) error {
	if len(keys) == 0 || len(keys) > wearable.Slots || record.Repeats(keys) {
		return errors.New("metrics names each metric once and at least one")
	}
	for _, k := range keys {
		if _, ok := wearable.ByKey(k); !ok {
			return fmt.Errorf("metric %q is unknown", clip(k))
		}
	}
	return nil
}

func checkPurpose(code string) error {
	if _, ok := consent.PurposeByCode(code); !ok {
		return fmt.Errorf("purpose %q is unknown", clip(code))
	}
	return nil
}

// checkHours checks a span of data hours [from, until).
func checkHours(from, until int64) error {
	if from >= until || from < -consent.MaxHour || until > consent.MaxHour {
		return fmt.Errorf("hours [%d, %d) are empty or out of bounds", from, until)
	}
	return nil
}
