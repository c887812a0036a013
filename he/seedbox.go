package he

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/internal/record"
)

func (p *Params) seedBlobBytes() int { return opening.BlobBytes(p.sharing.boxes()) }

// SealSeeds seals a device's seeds, one per piece, to the holders of each piece.
// members are all members in the order of the network's genesis.
func (p *Params) SealSeeds(c Context, device record.ID, seeds []Seed, members []record.Member) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := p.checkSeeds(seeds); err != nil {
		return nil, err
	}
	if len(members) != p.sharing.Members {
		return nil, fmt.Errorf("the sharing is among %d members, not %d", p.sharing.Members, len(members))
	}
	var boxes [][]byte
	for piece, seed := range seeds {
		for _, m := range p.sharing.Holders(piece) {
			box, err := p.place(c, device, piece).To(members[m]).Seal(seed[:])
			if err != nil {
				return nil, fmt.Errorf("seal piece %d to %s: %w", piece, members[m].MSP, err)
			}
			boxes = append(boxes, box)
		}
	}
	return opening.Blob(device, boxes), nil
}

// seedBox returns the box of a device's blob for a piece and one of its holders.
func (p *Params) seedBox(device record.ID, blob []byte, member, piece int) ([]byte, error) {
	boxes, err := opening.Boxes(blob, device, p.sharing.boxes())
	if err != nil {
		return nil, err
	}
	each := p.sharing.Members - p.sharing.Threshold + 1
	return boxes[piece*each+slices.Index(p.sharing.Holders(piece), member)], nil
}

func (p *Params) checkHolder(c Context, member int, hashes []record.ID) error {
	switch {
	case member < 0 || member >= p.sharing.Members:
		return fmt.Errorf("there is no member %d", member)
	case len(hashes) != p.sharing.Pieces():
		return fmt.Errorf("a device has %d seed hashes, not %d", p.sharing.Pieces(), len(hashes))
	}
	return c.check()
}

// OpenSeeds opens the seeds of a blob that are sealed to one member, self, checks
// each against its hash on the ledger and returns them by piece. Every one must open
// and match, or none is returned and the error, ErrBox wrapped, names the piece:
// then the device must not be acknowledged.
func (p *Params) OpenSeeds(c Context, device record.ID, memberIndex int, self record.Member, priv *HPKEPrivate, blob []byte, hashes []record.ID) (map[int]Seed, error) {
	if err := p.checkHolder(c, memberIndex, hashes); err != nil {
		return nil, err
	}
	secret, err := priv.Bytes()
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	seeds := map[int]Seed{}
	for _, piece := range p.sharing.Held(memberIndex) {
		box, err := p.seedBox(device, blob, memberIndex, piece)
		if err != nil {
			return nil, boxError(err)
		}
		s, err := p.place(c, device, piece).To(self).Open(secret, box, hashes[piece])
		if err != nil {
			return nil, fmt.Errorf("piece %d of device %s: %w", piece, device.Short(), boxError(err))
		}
		seeds[piece] = Seed(s)
	}
	return seeds, nil
}

// boxError wraps ErrBox around what is the sender's fault.
func boxError(err error) error {
	if fault := opening.Fault(""); errors.As(err, &fault) {
		return fmt.Errorf("%w: %w", ErrBox, err)
	}
	return err
}

// ComplainSeeds looks for a piece in whose box to this member anyone can be shown a
// fault, and returns it with the proof (package opening), which is empty for
// faults that show without one. It is for when OpenSeeds returned ErrBox; the
// error is opening.ErrSound, wrapped, if every box is as it should be.
func (p *Params) ComplainSeeds(c Context, device record.ID, memberIndex int, self record.Member, priv *HPKEPrivate, blob []byte, hashes []record.ID) (int, []byte, error) {
	if err := p.checkHolder(c, memberIndex, hashes); err != nil {
		return 0, nil, err
	}
	secret, err := priv.Bytes()
	if err != nil {
		return 0, nil, err
	}
	defer clear(secret)
	for _, piece := range p.sharing.Held(memberIndex) {
		box, err := p.seedBox(device, blob, memberIndex, piece)
		if err != nil {
			return piece, nil, nil // the blob shows it
		}
		proof, err := p.place(c, device, piece).To(self).Complain(secret, box, hashes[piece])
		if !errors.Is(err, opening.ErrSound) {
			return piece, proof, err
		}
	}
	return 0, nil, fmt.Errorf("device %s: %w", device.Short(), opening.ErrSound)
}
