package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
)

// caVersion is the release of fabric-ca that the launcher builds and runs.
const caVersion = "1.5.15"

// caPackage is the server's Go package. Its data base is SQLite in C.
const caPackage = "github.com/hyperledger/fabric-ca/cmd/fabric-ca-server"

// ErrNoCompiler says that there is no C compiler to build fabric-ca with. Install
// one, or use the launcher's own authority (without --ca).
var ErrNoCompiler = errors.New("building fabric-ca needs a C compiler, such as gcc")

var caSource = source{
	label: "fabric-ca " + caVersion, name: "fabric-ca-" + caVersion,
	files: [][2]string{
		{"tools/ca.mod.txt", "go.mod"},
		{"tools/ca.sum.txt", "go.sum"},
	},
	cgo: true,
	make: func(ctx context.Context, b Binaries, g goTool) error {
		compiler, err := g.output(ctx, "env", "CC")
		if err != nil {
			return err
		}
		words := strings.Fields(compiler)
		if len(words) == 0 {
			return ErrNoCompiler
		}
		if _, err := exec.LookPath(words[0]); err != nil {
			return fmt.Errorf("%w: %w", ErrNoCompiler, err)
		}
		return b.compile(ctx, g, caPackage)
	},
}

// buildCA is Build for fabric-ca; it returns the server.
func buildCA(ctx context.Context, log io.Writer) (string, error) {
	b, err := caSource.build(ctx, log)
	if err != nil {
		return "", err
	}
	return filepath.Join(b.Dir, "bin", "fabric-ca-server"), nil
}
