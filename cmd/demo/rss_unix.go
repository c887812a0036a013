//go:build unix

package demo

import (
	"runtime"
	"syscall"
)

// peakRSS returns the largest resident size of this process so far, in MB.
func peakRSS() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" { // bytes there, kilobytes elsewhere
		return u.Maxrss >> 20
	}
	return u.Maxrss >> 10
}
