package site

import (
	"context"
	"io"
	"os"
)

// SupervisedVariable is set in the environment of a process whose standard input is held
// open by its supervisor.
const SupervisedVariable = "VITALVEIL_SUPERVISED"

// Supervised ends a process when its supervisor is gone, however that ended. Without a
// supervisor it is ctx.
func Supervised(ctx context.Context) context.Context {
	if os.Getenv(SupervisedVariable) == "" {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		io.Copy(io.Discard, os.Stdin)
	}()
	return ctx
}
