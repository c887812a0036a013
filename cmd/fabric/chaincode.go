package fabric

import (
	"context"
	"fmt"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/network/fabric/service"
)

// Chaincode is "vitalveil chaincode".
type Chaincode struct {
	Config      string `help:"The service's file, see docs/samples/chaincode.json." required:"" type:"existingfile" placeholder:"FILE"`
	CheckConfig bool   `help:"Read and check the file and what it names, say what would run, and end."`
}

// Help says who needs it.
func (Chaincode) Help() string {
	return `A peer of Fabric endorses what the contracts do, and connects to this service to have
them run. "vitalveil network up" starts one for each peer of its own. For a peer that is
run otherwise, install the chaincode as a service ("ccaas") and name the package id that
the peer calculates in the file. Each organisation runs its own: who runs the contracts
for a peer decides what that peer signs.`
}

// Run serves the contracts until it is interrupted.
func (c Chaincode) Run(ctx context.Context) error {
	config, err := service.Load(c.Config)
	if err != nil {
		return err
	}
	if c.CheckConfig {
		return explain(config)
	}
	var keys details.Source
	if config.Details != "" {
		keys = details.NewClient(string(config.Details))
	}
	contracts, err := chaincode.New(keys)
	if err != nil {
		return err
	}
	return config.Serve(ctx, contracts)
}

func explain(c service.Config) error {
	if _, err := c.TLS(); err != nil {
		return err
	}
	what := "no consents are taken or read, as no institution's socket is named"
	if c.Details != "" {
		what = fmt.Sprintf("keys of consent details come from %s", c.Details)
	}
	_, err := fmt.Printf("the contracts as %s for peers with a certificate of %s, on %s; %s\n", c.ID, c.ClientCA, c.Listen, what)
	return err
}
