package launch_test

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/vitalveil/vitalveil/network/fabric/launch"
	"github.com/vitalveil/vitalveil/network/fabric/launch/launchtest"
)

// TestMain stands outside of the package, which launchtest imports.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "keep" {
		launchtest.Exit(keep(os.Args[2]))
	}
	launchtest.Main(m)
}

// keep keeps a network with the suite's chaincode.
func keep(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return launch.Keep(ctx, launch.Options{Dir: dir, Chaincode: []string{os.Args[0], launchtest.Conformance}, Log: os.Stderr})
}
