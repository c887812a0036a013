package fabric

import (
	"context"
	"errors"
	"os"

	"github.com/vitalveil/vitalveil/network/fabric/launch"
)

// keepCommand is "vitalveil network keep", which up leaves running.
type keepCommand struct{ dirFlag }

// Run runs the command.
func (c keepCommand) Run(ctx context.Context) error {
	dir, err := c.path()
	if err != nil {
		return err
	}
	return launch.Keep(ctx, launch.Options{Dir: dir, Log: os.Stderr})
}

// keeper is the command that keeps the network in dir.
func keeper(dir string) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, errors.New("this program does not know its own path, so nothing can keep the network: use --foreground")
	}
	return []string{self, "network", "keep", "--dir", dir}, nil
}
