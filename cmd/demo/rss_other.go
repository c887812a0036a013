//go:build !unix

package demo

// peakRSS is not known on this system.
func peakRSS() int64 { return 0 }
