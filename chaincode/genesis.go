package chaincode

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Init records the network's genesis (record.Genesis), once, for ever, and the
// layout of the state that begins with it. The caller is one of its members.
func (*Registry) Init(tx transaction, arg string) (string, error) {
	return serve(tx, anyone, untimed, arg, largeArgument, initialize)
}

func initialize(c *call, g record.Genesis) (record.Genesis, error) {
	if err := state.CheckGenesis(g); err != nil {
		return g, fault.New(fault.Invalid, "genesis: %w", err)
	}
	if id := c.stub.GetChannelID(); g.Network != id {
		return g, fault.New(fault.Invalid, "genesis: the network is named %q, it has the name of its channel, %q", clip(g.Network), clip(id))
	}
	if !slices.ContainsFunc(g.Members, func(m record.Member) bool { return m.MSP == c.msp }) {
		return g, fault.New(fault.Forbidden, "%s is not a member of the network that it starts", clip(c.msp))
	}
	raw, err := json.Marshal(g)
	if err != nil {
		return g, err
	}
	recorded, err := c.stub.GetState(state.GenesisKey())
	switch {
	case err != nil:
		return g, err
	case recorded != nil && !bytes.Equal(recorded, raw):
		return g, fault.New(fault.Conflict, "the network has another genesis already, which cannot change")
	case recorded != nil:
		return g, c.checkLayout()
	}
	if err := c.begins(); err != nil {
		return g, err
	}
	return g, c.stub.PutState(state.GenesisKey(), raw)
}

// GetGenesis returns the network's genesis; the argument is {}. Any identity of
// the channel may read it.
func (*Registry) GetGenesis(tx transaction, arg string) (string, error) {
	return serve(tx, anyone, untimed, arg, smallArgument, func(c *call, _ struct{}) (*record.Genesis, error) {
		if err := c.loadGenesis(); err != nil {
			return nil, err
		}
		return c.genesis, nil
	})
}
