package chaincode

import (
	"fmt"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
)

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

// clip keeps words from outside short in error texts.
func clip(s string) string { return fault.Clip(s, 80) }
