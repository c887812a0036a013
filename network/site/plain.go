package site

import (
	"strings"
	"unicode"
)

// Plain is a text of somebody else's for a terminal: what could move the cursor, hide or
// change what else is shown is shown as a mark.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
