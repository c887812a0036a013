package fabric

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"go.uber.org/goleak"

	"github.com/vitalveil/vitalveil/network/conformance"
)

// The words by which the test program serves chaincode instead of running
// tests: networks under test start it once for each organisation.
const (
	serveContracts   = "serve-contracts"
	serveConformance = "serve-conformance"
	keepNetwork      = "keep" // then the directory: calls Keep with the conformance chaincode
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == keepNetwork {
		if err := keep(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "serve-") {
		if err := serveChaincode(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func keep(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return Keep(ctx, Options{Dir: dir, Chaincode: []string{os.Args[0], serveConformance}, Log: os.Stderr})
}

func serveChaincode(which string, args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var command ServiceCommand
	parser, err := kong.New(&command)
	if err != nil {
		return err
	}
	if _, err := parser.Parse(args); err != nil {
		return err
	}
	var cc shim.Chaincode = conformance.Chaincode{}
	if which == serveContracts {
		if cc, err = command.Contracts(); err != nil {
			return err
		}
	}
	return command.Serve(ctx, cc)
}
