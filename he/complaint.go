package he

import (
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/internal/record"
)

// seedBox returns the box of a blob for a piece and one of its holders.
func (p *Params) seedBox(blob []byte, member, piece int) ([]byte, error) {
	at := 0
	for q := range p.sharing.Pieces() {
		for _, m := range p.sharing.Holders(q) {
			if q == piece && m == member {
				return opening.Box(blob, at, p.sharing.boxes())
			}
			at++
		}
	}
	return nil, fmt.Errorf("member %d does not hold piece %d", member, piece)
}

// Complain looks for a piece in whose box to this member anyone can be shown a
// fault, and returns it with the proof (package opening), which is empty for
// faults that show without one. It is for when OpenSeeds returned ErrBox; the
// error is opening.ErrSound, wrapped, if every box is as it should be.
func (p *Params) Complain(c Context, device record.ID, memberIndex int, self record.Member, priv *HPKEPrivate, blob []byte, hashes []record.ID) (int, []byte, error) {
	if len(hashes) != p.sharing.Pieces() || priv == nil {
		return 0, nil, fmt.Errorf("a complaint needs the HPKE key and %d seed hashes, not %d", p.sharing.Pieces(), len(hashes))
	}
	secret, err := priv.Bytes()
	if err != nil {
		return 0, nil, err
	}
	defer clear(secret)
	for _, piece := range p.sharing.Held(memberIndex) {
		box, err := p.seedBox(blob, memberIndex, piece)
		if errors.Is(err, opening.ErrBlob) {
			return piece, nil, nil
		}
		if err != nil {
			return 0, nil, err
		}
		s := opening.Statement{Place: p.place(c, device, piece), MSP: self.MSP, Public: self.SeedKey, Box: box, Hash: hashes[piece]}
		proof, err := opening.Prove(secret, s)
		if err != nil {
			return 0, nil, err
		}
		_, err = opening.Verify(s, proof)
		if err == nil {
			return piece, proof, nil
		}
		if !errors.Is(err, opening.ErrSound) {
			return 0, nil, err
		}
	}
	return 0, nil, fmt.Errorf("device %s: %w", device.Short(), opening.ErrSound)
}
