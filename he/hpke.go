package he

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Boxes are HPKE (RFC 9180) in base mode: DHKEM(X25519, HKDF-SHA256),
// HKDF-SHA256, AES-256-GCM. A box is the encapsulated key, 32 bytes, and the
// ciphertext; its info names its purpose and its additional data is a digest of
// network, profile, epoch, device, piece and recipient.

// boxOverhead is what sealing adds: encapsulated key and tag.
const boxOverhead = 32 + 16

// ErrBox says that a box does not open with this key for this purpose, or holds
// something else than it should. Do not use what it holds; complain.
var ErrBox = errors.New("the sealed box does not open")

func kem() hpke.KEM { return hpke.DHKEM(ecdh.X25519()) }

// HPKEPrivate is an institution's HPKE key. It prints as "[secret]".
type HPKEPrivate struct {
	redacted
	key hpke.PrivateKey
}

// NewHPKEKey makes a fresh key.
func NewHPKEKey() (*HPKEPrivate, error) {
	k, err := kem().GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("make an HPKE key: %w", err)
	}
	return &HPKEPrivate{key: k}, nil
}

// ParseHPKEKey reads the 32 bytes that Bytes returned.
func ParseHPKEKey(b []byte) (*HPKEPrivate, error) {
	if len(b) != 32 {
		return nil, fmt.Errorf("an HPKE private key has 32 bytes, not %d", len(b))
	}
	k, err := kem().NewPrivateKey(b)
	if err != nil {
		return nil, errors.New("not an HPKE private key")
	}
	return &HPKEPrivate{key: k}, nil
}

// Bytes returns the private key, 32 bytes, to be stored as a secret.
func (k *HPKEPrivate) Bytes() ([]byte, error) { return k.key.Bytes() }

// Public returns the public key, 32 bytes.
func (k *HPKEPrivate) Public() []byte { return k.key.PublicKey().Bytes() }

// SealBox seals plaintext to a public key for one purpose and binding: only who
// names the same ones can open it.
func SealBox(public []byte, purpose string, binding record.ID, plaintext []byte) ([]byte, error) {
	if len(public) != 32 {
		return nil, fmt.Errorf("an HPKE public key has 32 bytes, not %d", len(public))
	}
	pk, err := kem().NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("not an HPKE public key: %w", err)
	}
	enc, s, err := hpke.NewSender(pk, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte("vitalveil "+purpose))
	if err != nil {
		return nil, fmt.Errorf("seal to an HPKE key: %w", err)
	}
	ct, err := s.Seal(binding[:], plaintext)
	if err != nil {
		return nil, fmt.Errorf("seal to an HPKE key: %w", err)
	}
	return append(enc, ct...), nil
}

// OpenBox opens what SealBox made. It returns ErrBox, wrapped, if it does not.
func OpenBox(k *HPKEPrivate, purpose string, binding record.ID, box []byte) ([]byte, error) {
	if k == nil || k.key == nil {
		return nil, errors.New("there is no HPKE key")
	}
	if len(box) < boxOverhead {
		return nil, fmt.Errorf("%w: it has %d bytes, at least %d are needed", ErrBox, len(box), boxOverhead)
	}
	r, err := hpke.NewRecipient(box[:32], k.key, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte("vitalveil "+purpose))
	if err != nil {
		return nil, fmt.Errorf("%w: its key is not valid", ErrBox)
	}
	plaintext, err := r.Open(binding[:], box[32:])
	if err != nil {
		return nil, fmt.Errorf("%w: it was not sealed to this key for this purpose", ErrBox)
	}
	return plaintext, nil
}

const (
	purposeSeed = "seed box v1"
	purposeKey  = "piece key box v1"
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
	blob := append(make([]byte, 0, p.seedBlobBytes()), opening.Magic...)
	for piece, seed := range seeds {
		for _, m := range p.sharing.Holders(piece) {
			to := members[m]
			box, err := SealBox(to.SeedKey, purposeSeed, p.place(c, device, piece).Binding(to.MSP), seed[:])
			if err != nil {
				return nil, fmt.Errorf("seal piece %d to %s: %w", piece, to.MSP, err)
			}
			blob = append(blob, box...)
		}
	}
	return blob, nil
}

// OpenSeeds opens the seeds of a blob that are sealed to one member, checks each
// against its hash on the ledger and returns them by piece. Every one must open
// and match, or none is returned and the error, ErrBox wrapped, names the piece:
// then the device must not be acknowledged.
func (p *Params) OpenSeeds(c Context, device record.ID, memberIndex int, msp string, priv *HPKEPrivate, blob []byte, hashes []record.ID) (map[int]Seed, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if memberIndex < 0 || memberIndex >= p.sharing.Members {
		return nil, fmt.Errorf("there is no member %d", memberIndex)
	}
	if len(hashes) != p.sharing.Pieces() {
		return nil, fmt.Errorf("a device has %d seed hashes, not %d", p.sharing.Pieces(), len(hashes))
	}
	seeds := map[int]Seed{}
	for _, piece := range p.sharing.Held(memberIndex) {
		box, err := p.seedBox(blob, memberIndex, piece)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBox, err)
		}
		s, err := p.openSeed(c, device, piece, msp, priv, box, hashes[piece])
		if err != nil {
			return nil, fmt.Errorf("piece %d of device %s: %w", piece, device.Short(), err)
		}
		seeds[piece] = s
	}
	return seeds, nil
}

func (p *Params) openSeed(c Context, device record.ID, piece int, msp string, priv *HPKEPrivate, box []byte, want record.ID) (Seed, error) {
	if err := opening.CheckBox(box); err != nil {
		return Seed{}, fmt.Errorf("%w: %w", ErrBox, err)
	}
	plaintext, err := OpenBox(priv, purposeSeed, p.place(c, device, piece).Binding(msp), box)
	if err != nil {
		return Seed{}, err
	}
	var s Seed
	copy(s[:], plaintext)
	if got := p.SeedHash(c, device, piece, s); subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return Seed{}, fmt.Errorf("%w: the seed does not match its hash on the ledger", ErrBox)
	}
	return s, nil
}

func (p *Params) pieceKeyID(c Context, piece int, msp string) record.ID {
	return record.Digest(domainKeyBox, c.Network, []any{p.profile.Name, c.Epoch, piece, msp})
}

// SealPieceKey seals the PRF key of a piece to one of its holders.
func (p *Params) SealPieceKey(c Context, piece int, k PieceKey, to record.Member) (record.SealedBox, error) {
	if err := c.check(); err != nil {
		return record.SealedBox{}, err
	}
	box, err := SealBox(to.PieceKey, purposeKey, p.pieceKeyID(c, piece, to.MSP), k[:])
	if err != nil {
		return record.SealedBox{}, fmt.Errorf("seal the key of piece %d to %s: %w", piece, to.MSP, err)
	}
	return record.SealedBox{To: to.MSP, Ciphertext: box}, nil
}

// OpenPieceKey opens the PRF key of a piece that is sealed to msp and compares it
// with the check value on the ledger. It returns ErrBox, wrapped, if that fails.
func (p *Params) OpenPieceKey(c Context, piece int, msp string, priv *HPKEPrivate, box record.SealedBox, check record.ID) (PieceKey, error) {
	if box.To != msp || len(box.Ciphertext) != boxOverhead+len(PieceKey{}) {
		return PieceKey{}, fmt.Errorf("key of piece %d: %w: it is for %q with %d bytes", piece, ErrBox, box.To, len(box.Ciphertext))
	}
	plaintext, err := OpenBox(priv, purposeKey, p.pieceKeyID(c, piece, msp), box.Ciphertext)
	if err != nil {
		return PieceKey{}, fmt.Errorf("key of piece %d: %w", piece, err)
	}
	var k PieceKey
	copy(k[:], plaintext)
	if got := k.Check(c, piece); subtle.ConstantTimeCompare(got[:], check[:]) != 1 {
		return PieceKey{}, fmt.Errorf("key of piece %d: %w: it does not match its check value on the ledger", piece, ErrBox)
	}
	return k, nil
}
