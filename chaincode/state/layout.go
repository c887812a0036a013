package state

import (
	"encoding/json"
	"fmt"
)

// LayoutVersion is the layout of the state that this version reads and writes.
const LayoutVersion uint32 = 2

// firstLayout is the first that ledgers record, with consents off-chain.
const firstLayout uint32 = 2

// Layout says how the state is laid out: which kinds there are and what they mean.
type Layout struct {
	Version uint32 `json:"version"`
	// To is the layout that the state is being moved to; until it is there, every
	// other call is refused. 0: it is not being moved.
	To uint32 `json:"to,omitempty"`
	// Moved counts the entries that have been moved so far. It makes each step
	// change the document, which every call reads: what was simulated on the state
	// before a step does not commit after it.
	Moved uint64 `json:"moved,omitempty"`
}

// ParseLayout reads a value under LayoutKey for those who follow the chain: they
// meet every layout that the ledger ever had. It refuses those that this version
// does not know.
func ParseLayout(raw []byte) (Layout, error) {
	var l Layout
	if err := json.Unmarshal(raw, &l); err != nil {
		return l, err
	}
	if newest := max(l.Version, l.To); newest > LayoutVersion {
		return l, fmt.Errorf("the ledger's state has layout %d, this version reads up to %d: upgrade this program", newest, LayoutVersion)
	}
	if l.Version < firstLayout {
		return l, fmt.Errorf("the ledger's state had layout %d, this version reads %d and later ones", l.Version, firstLayout)
	}
	return l, nil
}
