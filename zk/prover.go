package zk

import (
	"context"
	"fmt"
	"sync"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Prover proves statements of every class that a network accepts. It reads a class's
// keys when they are first needed and keeps those of one class at a time, since they
// are what proving needs memory for. Safe for concurrent use; it makes one proof after
// the other, since each takes all processors.
type Prover struct {
	dir      string
	circuits []record.Circuit

	mu   sync.Mutex
	keys *Keys
}

// NewProver returns a prover with the keys that are in dir, for a network's circuits.
func NewProver(dir string, circuits []record.Circuit) *Prover {
	return &Prover{dir: dir, circuits: circuits}
}

// Prove is Keys.Prove with the keys of the class that has as many days as there are
// openings. Keys that the network did not accept are refused: their proofs would count
// for nothing.
func (p *Prover) Prove(ctx context.Context, s verifier.Statement, openings []*Opening) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if p.keys == nil || p.keys.Class.Days != len(openings) {
		p.keys = nil // before others are read
		keys, err := p.read(len(openings))
		if err != nil {
			return nil, err
		}
		p.keys = keys
	}
	return p.keys.Prove(ctx, s, openings)
}

func (p *Prover) read(days int) (*Keys, error) {
	for _, c := range p.circuits {
		class, err := verifier.ClassByName(c.Class)
		if err != nil || class.Days != days {
			continue
		}
		keys, err := ReadKeys(p.dir, c.Class)
		if err == nil && keys.Hash != c.Hash {
			err = fmt.Errorf("the proving keys of class %s in %s are not those that the network accepted: a proof by them would count for nothing", c.Class, p.dir)
		}
		return keys, err
	}
	return nil, fmt.Errorf("the network has no circuit for %d days", days)
}
