package details

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"errors"
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/internal/record"
)

// The boxes of a patient's key are a blob and not on the ledger: there they would
// stay beside the members' long-lived keys. It is
//
//	boxesMagic ‖ patient (32) ‖ boxes, each: recipient's public key (32) ‖ encapsulated key (32) ‖ ciphertext (48)
//
// A box is HPKE (RFC 9180) in base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
// AES-256-GCM, with a digest of network, patient and member as additional data.

const (
	boxesMagic = "vitalveil details boxes v1\n"
	boxInfo    = "vitalveil details box v1"
	headerLen  = len(boxesMagic) + len(record.ID{})
	publicLen  = 32
	boxLen     = publicLen + 32 + KeyBytes + 16
	// maxBoxes bounds the boxes of one patient: members of the epochs that live.
	maxBoxes = 64
	// MaxBoxes bounds the blob with them, in bytes.
	MaxBoxes = headerLen + maxBoxes*boxLen
)

// ErrBox says that a blob has no box that opens for this member to the key that
// the patient signed.
var ErrBox = errors.New("the box with the patient's details key does not open")

// ErrNoBox says that a blob has no box for this member: it joined later, or has
// taken another key. Other members have the patient's key.
var ErrNoBox = errors.New("there is no box for this member")

func suite() (hpke.KEM, hpke.KDF, hpke.AEAD) {
	return hpke.DHKEM(ecdh.X25519()), hpke.HKDFSHA256(), hpke.AES256GCM()
}

func binding(network string, patient record.ID, msp string) []byte {
	id := record.Digest(domainBox, network, []any{patient, msp})
	return id[:]
}

// SealBoxes seals a patient's key to members, to each detail key once.
func SealBoxes(network string, patient record.ID, k Key, members []record.Member) ([]byte, error) {
	kem, kdf, aead := suite()
	blob := append([]byte(boxesMagic), patient[:]...)
	var done [][]byte
	for _, m := range members {
		if slices.ContainsFunc(done, func(b []byte) bool { return bytes.Equal(b, m.DetailKey) }) {
			continue
		}
		done = append(done, m.DetailKey)
		public, err := kem.NewPublicKey(m.DetailKey)
		if err != nil {
			return nil, fmt.Errorf("the detail key of %s: %w", m.MSP, err)
		}
		enc, sender, err := hpke.NewSender(public, kdf, aead, []byte(boxInfo))
		if err != nil {
			return nil, fmt.Errorf("seal to %s: %w", m.MSP, err)
		}
		ct, err := sender.Seal(binding(network, patient, m.MSP), k.secret[:])
		if err != nil {
			return nil, fmt.Errorf("seal to %s: %w", m.MSP, err)
		}
		blob = slices.Concat(blob, m.DetailKey, enc, ct)
	}
	if len(done) == 0 || len(done) > maxBoxes {
		return nil, fmt.Errorf("a details key is sealed to 1 to %d members, not %d", maxBoxes, len(done))
	}
	return blob, nil
}

// BoxesOf returns whose key is in the boxes of a blob, as the blob says. It checks
// the form and not what is in the boxes; the error is ErrBox.
func BoxesOf(blob []byte) (record.ID, error) {
	var patient record.ID
	if len(blob) <= headerLen || len(blob) > MaxBoxes || (len(blob)-headerLen)%boxLen != 0 || string(blob[:len(boxesMagic)]) != boxesMagic {
		return patient, fmt.Errorf("%w: its %d bytes are no list of boxes", ErrBox, len(blob))
	}
	copy(patient[:], blob[len(boxesMagic):])
	return patient, nil
}

// OpenBox opens a member's box, with the private key of its detail key (32 bytes),
// and checks that it holds the key that the patient signed. The error is ErrNoBox
// or ErrBox.
func OpenBox(network string, r Ref, msp string, private, blob []byte) (Key, error) {
	of, err := BoxesOf(blob)
	if err != nil {
		return Key{}, err
	}
	if of != r.Patient {
		return Key{}, fmt.Errorf("%w: it is of another patient", ErrBox)
	}
	kem, kdf, aead := suite()
	own, err := kem.NewPrivateKey(private)
	if err != nil {
		return Key{}, errors.New("not a detail key")
	}
	for box := range slices.Chunk(blob[headerLen:], boxLen) {
		if !bytes.Equal(box[:publicLen], own.PublicKey().Bytes()) {
			continue
		}
		recipient, err := hpke.NewRecipient(box[publicLen:publicLen+32], own, kdf, aead, []byte(boxInfo))
		if err != nil {
			return Key{}, ErrBox
		}
		secret, err := recipient.Open(binding(network, r.Patient, msp), box[publicLen+32:])
		if err != nil {
			return Key{}, ErrBox
		}
		return Check(network, r, secret)
	}
	return Key{}, ErrNoBox
}

// Check reads a key and checks that it is the one that the patient signed; ErrBox
// otherwise.
func Check(network string, r Ref, secret []byte) (Key, error) {
	k, err := ParseKey(secret)
	if err != nil || !k.is(network, r.Digest) {
		return Key{}, ErrBox
	}
	return k, nil
}
