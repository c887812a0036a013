//go:build !unix

package main

import "time"

var began = time.Now()

// processorTime is time on the wall where the system counts no other, as in js/wasm.
func processorTime() time.Duration { return time.Since(began) }
