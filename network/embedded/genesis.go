package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// genesis is what block 0 commits to: it fixes for the life of the ledger whose
// transactions count and whose key signs blocks.
type genesis struct {
	_        struct{} `cbor:",toarray"`
	Channel  string
	Roots    []mspRoot // by MSP
	Operator []byte    // compressed P-256 key that signs blocks
}

type mspRoot struct {
	_   struct{} `cbor:",toarray"`
	MSP string
	PEM []byte
}

// tip names the last block.
type tip struct {
	_      struct{} `cbor:",toarray"`
	Number uint64
	Hash   record.ID
}

func sortedRoots(roots map[string][]byte) []mspRoot {
	var out []mspRoot
	for _, msp := range slices.Sorted(maps.Keys(roots)) {
		out = append(out, mspRoot{MSP: msp, PEM: roots[msp]})
	}
	return out
}

func (g *genesis) roots() map[string][]byte {
	out := map[string][]byte{}
	for _, r := range g.Roots {
		out[r.MSP] = r.PEM
	}
	return out
}

// match checks that a configuration is for this ledger.
func (g *genesis) match(cfg Config) error {
	if cfg.Channel != "" && cfg.Channel != g.Channel {
		return fmt.Errorf("the ledger in %s is channel %q, not %q", cfg.Dir, g.Channel, cfg.Channel)
	}
	if cfg.Roots == nil {
		return nil
	}
	same := slices.EqualFunc(sortedRoots(cfg.Roots), g.Roots, func(a, b mspRoot) bool {
		return a.MSP == b.MSP && bytes.Equal(a.PEM, b.PEM)
	})
	if !same {
		return fmt.Errorf("the ledger in %s was made for other root certificates; use those, or another directory", cfg.Dir)
	}
	return nil
}

// operatorOf returns the key that signs blocks: the configured one, or the one
// that is kept in the directory and made with it.
func operatorOf(cfg Config, fresh bool) (network.Identity, error) {
	if cfg.Operator.Key != nil {
		return cfg.Operator, nil
	}
	dir := filepath.Join(cfg.Dir, "operator")
	id, err := network.LoadIdentity(dir)
	if err == nil || !fresh || !errors.Is(err, os.ErrNotExist) {
		return id, err
	}
	ca, err := network.NewCA("Operator")
	if err != nil {
		return network.Identity{}, err
	}
	if id, err = ca.Issue("ledger operator", "operator"); err != nil {
		return network.Identity{}, err
	}
	return id, id.Save(dir)
}

// writeGenesis makes block 0 of a new ledger.
func writeGenesis(db *pebble.DB, cfg Config, operator network.Identity) error {
	g := genesis{
		Channel: cfg.Channel, Roots: sortedRoots(cfg.Roots),
		Operator: record.PublicKeyBytes(&operator.Key.PublicKey),
	}
	data, err := marshal(g)
	if err != nil {
		return err
	}
	h := header{Data: record.SumID(data), Time: time.Now().UnixNano()}
	batch := db.NewBatch()
	defer batch.Close()
	schema, err := marshal(uint64(schemaVersion))
	if err != nil {
		return err
	}
	if err := batch.Set(keySchema, schema, nil); err != nil {
		return err
	}
	if err := batch.Set(keyGenesis, data, nil); err != nil {
		return err
	}
	if _, err := appendHeader(batch, cfg.Channel, h, operator); err != nil {
		return err
	}
	return batch.Commit(pebble.Sync)
}

// appendHeader signs a header and puts it, and the tip, into the batch.
func appendHeader(batch *pebble.Batch, channel string, h header, operator network.Identity) (tip, error) {
	t := tip{Number: h.Number, Hash: h.hash(channel)}
	sig, err := record.Sign(operator.Key, t.Hash)
	if err != nil {
		return t, err
	}
	data, err := marshal(sealedHeader{Header: h, Signature: sig})
	if err != nil {
		return t, err
	}
	if err := batch.Set(blockKey(h.Number), data, nil); err != nil {
		return t, err
	}
	if data, err = marshal(t); err != nil {
		return t, err
	}
	return t, batch.Set(keyTip, data, nil)
}
