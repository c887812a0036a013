package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
)

// successions checks that each epoch follows from the one before by signatures,
// back to the genesis.
func (c *checker) successions(context.Context) int {
	for number := uint32(1); ; number++ {
		s, ok := c.epochs[number]
		if !ok {
			if int(number) != len(c.epochs) {
				c.wrong("epoch %d is missing among %d", number, len(c.epochs))
			}
			return len(c.epochs)
		}
		if err := record.CheckSuccession(c.genesis.Network, c.epochs[number-1].Epoch, s); err != nil {
			c.wrong("epoch %d: %v", number, err)
		}
	}
}

// seeds checks the sealed seeds of every device whose rows may count: that they are
// there, in whole, and that each box was made by its sender for its place. What is in
// a box its holder alone can tell, who has acknowledged it or complained.
func (c *checker) seeds(ctx context.Context) int {
	n := 0
	for id, d := range c.devices {
		epoch := c.epochs[d.Device.Epoch]
		if c.patients[d.Device.Patient].Erased || d.Quarantined != nil || epoch.Retired != 0 || !c.acknowledged(epoch.Epoch, id) {
			continue
		}
		n++
		blob, err := c.blobs.Get(ctx, d.Device.SeedBlob)
		if err == nil {
			err = state.CheckSeedBlob(c.genesis.Network, &epoch.Epoch, d.Device, blob)
		}
		if err != nil {
			c.wrong("seeds of device %s: %v", id, err)
		}
	}
	return n
}

// acknowledged reports whether some holder has said that it has a device's seeds.
func (c *checker) acknowledged(e record.Epoch, device record.ID) bool {
	return slices.ContainsFunc(e.Members, func(m record.Member) bool { return c.index.Acknowledged(device, m.MSP) })
}

// quarantines examines the evidence against every device that is in quarantine on
// evidence.
func (c *checker) quarantines(ctx context.Context) int {
	n := 0
	for id, d := range c.devices {
		q := d.Quarantined
		if q == nil || q.How != record.ByEvidence {
			continue
		}
		if _, erased := c.erased[d.Device.Patient]; erased {
			continue // and the evidence with the patient's seeds
		}
		n++
		if err := c.quarantine(ctx, &d); err != nil {
			c.wrong("quarantine of device %s: %v", id, err)
		}
	}
	return n
}

func (c *checker) quarantine(ctx context.Context, d *record.DeviceState) error {
	q := d.Quarantined
	if len(q.By) != 1 {
		return fmt.Errorf("%d members complained", len(q.By))
	}
	blob, err := c.blobs.Get(ctx, d.Device.SeedBlob)
	if err != nil {
		return fmt.Errorf("its seed blob: %w", err)
	}
	epoch := c.epochs[d.Device.Epoch].Epoch
	finding, err := state.Examine(c.genesis.Network, &epoch, d, q.By[0],
		record.Complain{Device: d.ID, Piece: q.Piece, Blob: blob, Proof: q.Proof})
	if err != nil {
		return err
	}
	if string(finding) != q.Reason {
		return fmt.Errorf("the evidence says %q, the ledger %q", finding, q.Reason)
	}
	return nil
}

// keysOfPieces checks who made the keys of pieces, and why some were taken back.
func (c *checker) keysOfPieces(context.Context) int {
	n := 0
	for key, s := range c.pieceKeys {
		epoch := c.epochs[s.Epoch].Epoch
		all := s.Faulty
		if s.Posted != nil {
			all = append(slices.Clone(all), record.FaultyKey{Posted: *s.Posted})
		}
		for round, f := range all {
			n++
			k := f.Posted.Key
			if state.PieceKeyKey(k.Epoch, k.Piece) != key || k.Round != round {
				c.wrong("key of piece %d of epoch %d: number %d says that it is another", s.Piece, s.Epoch, round)
			} else if err := state.CheckPieceKey(c.genesis.Network, &epoch, f.Posted); err != nil {
				c.wrong("key of piece %d of epoch %d by %s: %v", s.Piece, s.Epoch, f.Posted.By, err)
			} else if round < len(s.Faulty) {
				c.faultyKey(&epoch, f)
			}
		}
	}
	return n
}

func (c *checker) faultyKey(epoch *record.Epoch, f record.FaultyKey) {
	found, err := state.ExamineKey(c.genesis.Network, epoch, f.Posted, f.Holder, f.Proof)
	if err != nil || string(found) != f.Reason {
		c.wrong("fault of the key of piece %d by %s: the evidence says %q, the ledger %q: %v", f.Posted.Key.Piece, f.Posted.By, found, f.Reason, err)
	}
}

// signed reports whether a post has a signature with a key that some epoch has for
// its member. Which one made a row count, receipts show.
func (c *checker) signed(a record.SignedAvailable) bool {
	for _, s := range c.epochs {
		m := s.Epoch.Member(a.Member)
		if m != nil && record.Verify(m.SignKey, a.Post.Digest(c.genesis.Network), a.Signature) == nil {
			return true
		}
	}
	return false
}

// policyOf is the network's policy with the members of the device's epoch.
func (c *checker) policyOf(device record.ID) *record.Genesis {
	g, e := c.genesis, c.epochs[c.devices[device].Device.Epoch].Epoch
	g.Members, g.Threshold, g.Profile = e.Members, e.Threshold, e.Profile
	return &g
}

// paramsOf returns parameters of a profile, for checking rows. How many members
// share the secrets does not show in a row.
func (c *checker) paramsOf(name string) (*he.Params, error) {
	if p := c.params[name]; p != nil {
		return p, nil
	}
	profile, ok := he.ProfileByName(name)
	if !ok {
		return nil, fmt.Errorf("sealing profile %q is unknown to this version", name)
	}
	sharing, err := he.NewSharing(2, 2)
	if err != nil {
		return nil, err
	}
	p, err := he.New(profile, c.schema, sharing)
	if err != nil {
		return nil, err
	}
	c.params[name] = p
	return p, nil
}
