package state

import (
	"fmt"
	"io/fs"
	"path/filepath"
)

// Plain refuses a directory in which a link leads somewhere else, or something is neither
// a file nor a directory: who opens what somebody else has made would change files of
// their own, for a database takes its lock by emptying a file, or wait for a pipe. A
// socket is let be, since nothing opens it as a file.
func Plain(dir string) error {
	dir, err := filepath.EvalSymlinks(dir) // it is what the caller has named
	if err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if kind := e.Type(); err == nil && kind != 0 && kind != fs.ModeDir && kind != fs.ModeSocket {
			err = fmt.Errorf("%w: %s is neither a file nor a directory (%s): put a copy of what it stands for in its place", ErrForeign, path, kind)
		}
		return err
	})
}
