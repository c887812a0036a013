// Package detailstest is the old name of what package consortium has.
package detailstest

import (
	"testing"

	"github.com/vitalveil/vitalveil/internal/consortium"
)

// Keys is consortium.Details.
type Keys = consortium.Details

// Serve brings the keys to a socket until the test ends.
func Serve(t testing.TB, keys *Keys, path string) { keys.Serve(t, path) }
