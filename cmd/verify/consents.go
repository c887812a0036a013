package verify

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/index"
)

// version is what the chain shows of a consent's version, and its details unless
// they are gone.
type version struct {
	entry   record.ConsentEntry
	details *consent.Details
	sealed  bool // the sealed details are on the ledger
	// patient is the entry's as the ledger had it at that place: keys change, and
	// what the old ones signed stays signed.
	patient record.Patient
}

func (c *checker) takeVersion(w network.Write, private []network.PrivateWrite) error {
	var s state.ConsentPublic
	if err := json.Unmarshal(w.Value, &s); err != nil {
		return err
	}
	v := version{entry: s.Entry, patient: c.patients[s.Entry.Patient]}
	key := state.ConsentDetailsKey(s.Entry.ID, s.Entry.Version)
	for _, p := range private {
		if p.Collection != state.Collection || !p.Available || p.Key != key {
			continue
		}
		v.sealed = true
		value, err := c.open(v.patient, p)
		if err != nil {
			return fmt.Errorf("consent %s version %d: %w", s.Entry.ID, s.Entry.Version, err)
		}
		if value == nil {
			continue
		}
		v.details = new(consent.Details)
		if err := json.Unmarshal(value, v.details); err != nil {
			return err
		}
	}
	c.versions = append(c.versions, v)
	return nil
}

// consents checks every version's signature, its salted hash and its place in its
// chain. An erased patient's details have to be gone.
func (c *checker) consents(context.Context) int {
	last := map[record.ID]record.ConsentEntry{}
	digests := map[record.ID]record.ID{}
	for _, v := range c.versions {
		e := v.entry
		if e.Version != last[e.ID].Version+1 {
			c.wrong("consent %s version %d does not follow version %d", e.ID, e.Version, last[e.ID].Version)
		}
		last[e.ID] = e
		switch erased := c.patients[e.Patient].Erased; {
		case !v.sealed && !erased:
			c.wrong("consent %s version %d: its details are not on the ledger", e.ID, e.Version)
		case v.sealed && erased:
			c.wrong("consent %s version %d: its details are left, its patient is erased", e.ID, e.Version)
		case v.sealed && v.details == nil:
			c.unread++
		case v.details != nil:
			digests[e.ID] = c.version(v, digests[e.ID])
		}
	}
	return len(c.versions)
}

// version checks a version with its details and returns its digest.
func (c *checker) version(v version, previous record.ID) record.ID {
	d := v.details.Signed.Document
	if v.details.Entry(c.genesis.Network) != v.entry {
		c.wrong("consent %s version %d: its details are not those whose hash is on the chain", v.entry.ID, v.entry.Version)
	}
	if err := v.details.Signed.Verify(c.genesis.Network, c.genesis.RelyingParties, v.patient); err != nil {
		c.wrong("consent %s version %d: %v", d.ID, d.Version, err)
	}
	if d.Previous != previous {
		c.wrong("consent %s version %d does not follow version %d", d.ID, d.Version, d.Version-1)
	}
	return d.Digest(c.genesis.Network)
}

// erasures checks each erasure's signatures, and that no blob of an erased patient
// is left.
func (c *checker) erasures(ctx context.Context) int {
	all := c.index.Erasures(0)
	for _, e := range all {
		id := e.State.Signed.Erasure.Patient
		if err := consent.VerifyErasure(c.genesis.Network, c.genesis.RelyingParties, e.State.Signed, c.erased[id]); err != nil {
			c.wrong("erasure of patient %s: %v", id, err)
		}
		if err := e.Verify(c.genesis.Network, c.epochs); err != nil {
			c.wrong("erasure of patient %s: %v", id, err)
		}
		for _, b := range c.index.BlobsOf(id) {
			if c.left(ctx, b) {
				c.wrong("erasure of patient %s: blob %s is left", id, b.ID)
			}
		}
	}
	return len(all)
}

// left reports whether a patient's blob is stored.
func (c *checker) left(ctx context.Context, b index.Blob) bool {
	data, err := c.blobs.Get(ctx, b.ID)
	return err == nil && b.Owned(data)
}
