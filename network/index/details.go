package index

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// What a consent says comes beside the chain, and may come late. A version whose
// details are not there is a gap: until Supply fills it, or its patient is
// erased, nobody can know whether the patient is in a cohort.

// Gap is a version of a consent whose details this index has not got.
type Gap struct {
	Block   uint64 // that recorded it
	Patient record.ID
	Consent record.ID
	Version uint32
}

// putConsent enters a version and, where they came, its details. Those that are
// not what the chain has a salted hash of are no gap but an error: the contract
// does not record them.
func (ix *Index) putConsent(w write) error {
	s, err := decode[chaincode.ConsentPublic](w)
	if err != nil {
		return err
	}
	p := ix.patients[s.Entry.Patient]
	if p == nil {
		return fmt.Errorf("consent of unknown patient %s", s.Entry.Patient)
	}
	hash := record.ID(sha256.Sum256([]byte(chaincode.ConsentDetailsKey(s.Entry.ID, s.Entry.Version))))
	for _, private := range w.private {
		if private.Collection != chaincode.Collection || private.KeyHash != hash || private.Delete {
			continue
		}
		v := version{at: w.at, time: s.Time, tx: w.tx, entry: s.Entry}
		if private.Available {
			if err := v.fill(ix.genesis.Network, private.Value); err != nil {
				return err
			}
		} else {
			ix.gaps = append(ix.gaps, Gap{Block: w.at.Block, Patient: p.state.ID, Consent: s.Entry.ID, Version: s.Entry.Version})
		}
		c := p.agreement(s.Entry.ID)
		c.versions = append(c.versions, v)
		return nil
	}
	return errors.New("a consent without details, which no contract records")
}

// agreement returns the patient's consent of this name, a new one if there is none.
func (p *patient) agreement(id record.ID) *agreement {
	for _, c := range p.consents {
		if c.id == id {
			return c
		}
	}
	c := &agreement{id: id}
	p.consents = append(p.consents, c)
	return c
}

// fill takes a version's details if they are the ones that were hashed.
func (v *version) fill(networkName string, value []byte) error {
	var d consent.Details
	if err := json.Unmarshal(value, &d); err != nil {
		return err
	}
	if d.Entry(networkName) != v.entry {
		return fmt.Errorf("the details of consent %s version %d are not those whose hash is on the chain", v.entry.ID.Short(), v.entry.Version)
	}
	v.signed, v.known = d.Signed, true
	return nil
}

// Missing returns the gaps, oldest first. Those of erased patients are none:
// their details are gone for good.
func (ix *Index) Missing() []Gap {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return append([]Gap(nil), ix.gaps...)
}

// Supply takes a block that was applied before, read again, and fills the gaps
// for which it has the details now. It returns how many. Details that are not
// the ones hashed on the chain are fault.Invalid; those before them are kept.
func (ix *Index) Supply(b *network.Block) (int, error) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	filled := 0
	for _, tx := range b.Txs {
		for _, private := range tx.Private {
			if private.Collection != chaincode.Collection || !private.Available || private.Delete {
				continue
			}
			ok, err := ix.supply(b.Number, private)
			if err != nil {
				return filled, fault.New(fault.Invalid, "block %d: %w", b.Number, err)
			}
			if ok {
				filled++
			}
		}
	}
	ix.settle()
	return filled, nil
}

func (ix *Index) supply(block uint64, private network.PrivateWrite) (bool, error) {
	for i, g := range ix.gaps {
		if g.Block != block || chaincode.ConsentDetailsKey(g.Consent, g.Version) != private.Key {
			continue
		}
		versions := ix.patients[g.Patient].agreement(g.Consent).versions
		if err := versions[g.Version-1].fill(ix.genesis.Network, private.Value); err != nil {
			return false, err
		}
		ix.gaps = append(ix.gaps[:i:i], ix.gaps[i+1:]...)
		return true, nil
	}
	return false, nil
}

// Reconcile reads again, through client, the blocks with gaps, and supplies what
// they have now. Gaps that stay are fault.Unavailable: call it again later.
func (ix *Index) Reconcile(ctx context.Context, client network.Client) error {
	read := map[uint64]bool{}
	for _, g := range ix.Missing() {
		if read[g.Block] {
			continue
		}
		read[g.Block] = true
		for b, err := range client.Blocks(ctx, g.Block) {
			if err == nil {
				_, err = ix.Supply(b)
			}
			if err != nil {
				return err
			}
			break
		}
	}
	if left := ix.Missing(); len(left) > 0 {
		return fault.New(fault.Unavailable, "the details of %d versions of consents have not arrived, the oldest of block %d", len(left), left[0].Block)
	}
	return nil
}

// hasGap reports whether details of the patient's consents are missing.
func (ix *Index) hasGap(p *patient) bool {
	for _, g := range ix.gaps {
		if g.Patient == p.state.ID {
			return true
		}
	}
	return false
}
