package virtual

import (
	"crypto/aes"
	"crypto/rand"
	"net"

	"github.com/go-ble/ble"
)

// Identity is a sensor that hides behind changing addresses: resolvable private
// ones, which who has bonded with it knows again by its key.
type Identity struct {
	// Key is the identity resolving key, most significant byte first.
	Key [16]byte
}

// Address returns a new resolvable private address (Bluetooth Core Specification,
// volume 6, part B, section 1.3.2.2): 24 random bits, of which the highest two are
// 01, and their hash.
func (i Identity) Address() ble.Addr {
	var random [3]byte
	_, _ = rand.Read(random[:])
	random[0] = random[0]&0x3F | 0x40
	hash := i.hash(random)
	return net.HardwareAddr(append(random[:], hash[:]...))
}

// Resolves tells whether an address is one of this identity.
func (i Identity) Resolves(address ble.Addr) bool {
	a, err := net.ParseMAC(address.String())
	if err != nil || len(a) != 6 || a[0]>>6 != 1 {
		return false
	}
	return i.hash([3]byte(a[:3])) == [3]byte(a[3:])
}

// hash is ah of the specification (volume 3, part H, section 2.2.2).
func (i Identity) hash(random [3]byte) [3]byte {
	block, err := aes.NewCipher(i.Key[:])
	if err != nil {
		panic(err) // the key has 16 bytes
	}
	var in, out [16]byte
	copy(in[13:], random[:])
	block.Encrypt(out[:], in[:])
	return [3]byte(out[13:])
}
