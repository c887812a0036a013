package chaincode

import (
	"fmt"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
)

// move takes one entry of a kind into the next layout: it writes what stands for
// it there, under keys of other kinds. The entry itself is deleted after it. Like
// any contract it decides by the state alone.
type move func(c *call, attrs []string, raw []byte) error

// migration makes the next layout of one. Kinds keep their meaning for ever, so
// that readers of the chain can tell old entries from new ones; a migration
// therefore empties kinds and fills others. What is left of the old kinds is what
// is still to do, and nothing else has to be remembered between steps.
type migration struct {
	kinds []state.Kind // in this order
	moves map[state.Kind]move
}

// layouts are those that this version knows.
type layouts struct {
	current    uint32
	migrations map[uint32]migration // by the layout that they leave
	step       int                  // entries that one transaction moves at most
}

var known = layouts{current: state.LayoutVersion, migrations: nil, step: 200}

func (k layouts) check(l state.Layout) error {
	_, possible := k.migrations[l.Version]
	switch {
	case l.Version > k.current || l.To > k.current:
		return fault.New(fault.Internal, "the ledger's state has layout %d, this version knows %d: upgrade this program and the chaincode",
			max(l.Version, l.To), k.current)
	case l.Version == k.current && l.To == 0:
		return nil
	case possible:
		return fault.New(fault.Unavailable, "the ledger's state has layout %d and this version wants %d: a member repeats Registry:Upgrade until the state is moved",
			l.Version, k.current)
	}
	return fault.New(fault.Internal, "the ledger's state has layout %d, which this version cannot move to its own, %d: run a version in between first, or begin a new network",
		l.Version, k.current)
}

// layout reads what the ledger says of its state.
func (c *call) layout() (state.Layout, error) {
	var l state.Layout
	ok, err := c.get(state.LayoutKey(), &l)
	if err != nil {
		return l, err
	}
	if !ok {
		return l, fault.New(fault.Internal, "the ledger's state has no layout number, so it is older than layout %d and cannot be moved: begin a new network", state.LayoutVersion)
	}
	return l, nil
}

func (c *call) checkLayout() error {
	l, err := c.layout()
	if err != nil {
		return err
	}
	return known.check(l)
}

// GetLayout returns the Layout of the state; the argument is {}. It answers
// whatever the layout is, to any identity of the channel.
func (*Registry) GetLayout(tx transaction, arg string) (string, error) {
	return serve(tx, anyone, untimed, arg, smallArgument, func(c *call, _ struct{}) (state.Layout, error) {
		if err := c.readGenesis(); err != nil {
			return state.Layout{}, err
		}
		return c.layout()
	})
}

// Upgrade moves a bounded part of the state to the layout of this version; the
// argument is {}. It returns the Layout: repeat the call while To is set. On state
// that has the layout already it changes nothing. Any member may call it: which
// chaincode runs, and so what moves, the members have decided before.
func (*Registry) Upgrade(tx transaction, arg string) (string, error) {
	return serve(tx, anyone, untimed, arg, smallArgument, func(c *call, _ struct{}) (state.Layout, error) {
		if err := c.readGenesis(); err != nil {
			return state.Layout{}, err
		}
		if err := c.loadRoster(); err != nil {
			return state.Layout{}, err
		}
		if err := c.admit(member); err != nil {
			return state.Layout{}, err
		}
		return c.upgrade()
	})
}

func (c *call) upgrade() (state.Layout, error) {
	l, err := c.layout()
	if err != nil {
		return l, err
	}
	err = known.check(l)
	if err == nil || fault.Of(err) != fault.Unavailable {
		return l, err
	}
	m := known.migrations[l.Version]
	moved, whole, err := c.migrate(m)
	if err != nil {
		return l, fmt.Errorf("moving layout %d to %d: %w", l.Version, l.Version+1, err)
	}
	l.To, l.Moved = known.current, l.Moved+uint64(moved)
	if whole {
		l.Version++
	}
	if l.Version == known.current {
		l.To = 0
	}
	return l, c.put(state.LayoutKey(), l)
}

// migrate moves entries until none is left or the step is full. It returns how
// many and whether none is left.
func (c *call) migrate(m migration) (int, bool, error) {
	n := 0
	for _, kind := range m.kinds {
		full := false
		err := c.scan(kind, nil, known.step-n+1, func(key string, raw []byte) error {
			if n == known.step {
				full = true
				return nil
			}
			n++
			_, attrs, err := state.ParseKey(key)
			if err != nil {
				return err
			}
			if err := m.moves[kind](c, attrs, raw); err != nil {
				return err
			}
			return c.stub.DelState(key)
		})
		if err != nil || full {
			return n, false, err
		}
	}
	return n, true, nil
}

// begins writes the layout of a new network.
func (c *call) begins() error { return c.put(state.LayoutKey(), state.Layout{Version: known.current}) }
