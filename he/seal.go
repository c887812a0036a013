package he

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
)

// ErrSealedTwice says that this key has sealed this window before. Two rows under
// one window open their difference to everyone: send the first row again.
var ErrSealedTwice = errors.New("this window has been sealed before: send the stored row again")

// DeviceKey is a device's secret, ready to seal. It is safe for concurrent use
// and prints as "[secret]".
type DeviceKey struct {
	redacted
	context Context
	profile string
	schema  record.ID
	secret  *deviceSecret

	mu     sync.Mutex
	sealed map[Window]struct{}
	masks  [2]dayMask // of the days sealed last
}

// deviceSecret is shared by the keys for hours and for days: wiped once, gone from both.
type deviceSecret struct {
	poly poly         // transformed, Montgomery form
	keys []*DeviceKey // for hours, and for days where the schema has them
}

// dayMask is a day's polynomial times the secret, on the coefficients of the day's
// rows: hour by hour, coefficient by coefficient, prime by prime. It is as secret as
// the key.
type dayMask struct {
	day      day
	residues []uint64
}

// NewDeviceKey expands a device's seeds, one per piece and all different, into
// its secret. The key remembers the windows that it has sealed, but only in
// memory: that a window is sealed once ever is for the device's storage to keep.
func (p *Params) NewDeviceKey(c Context, device record.ID, seeds []Seed) (*DeviceKey, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := p.checkSeeds(seeds); err != nil {
		return nil, err
	}
	sum := p.NewKeySum()
	pieces := make([]Piece, len(seeds))
	for i, s := range seeds {
		pieces[i] = Piece{device, i, s}
	}
	if err := p.AddPieces(sum, c, pieces); err != nil {
		return nil, err
	}
	clear(pieces)
	secret := &deviceSecret{poly: p.transform(sum)}
	clear(sum)
	for kind := p; kind != nil; kind = kind.Day() {
		secret.keys = append(secret.keys, &DeviceKey{context: c, profile: p.profile.Name, schema: kind.schema.Digest(), secret: secret, sealed: map[Window]struct{}{}})
	}
	return secret.keys[0], nil
}

func (p *Params) checkSeeds(seeds []Seed) error {
	if len(seeds) != p.sharing.Pieces() {
		return fmt.Errorf("a device has %d seeds, one for each piece, not %d", p.sharing.Pieces(), len(seeds))
	}
	known := map[Seed]bool{{}: true}
	for i, s := range seeds {
		if known[s] {
			return fmt.Errorf("seed %d is zero or the same as another one: every seed must be fresh", i)
		}
		known[s] = true
	}
	return nil
}

// ForDays returns the same device's key for day rows (Params.Day), nil if the schema that
// the device was made for has none. It is one key, however often it is asked for: which
// days it has sealed it remembers by itself. It shares the secret with the key for hours:
// after either is wiped both seal nothing.
func (k *DeviceKey) ForDays() *DeviceKey {
	if len(k.secret.keys) < 2 {
		return nil
	}
	return k.secret.keys[1]
}

// Wipe overwrites the secret and what was made of it; neither this key nor the one that
// shares the secret seals anything afterwards. It must not run while either does.
func (k *DeviceKey) Wipe() {
	for _, limb := range k.secret.poly {
		clear(limb)
	}
	k.secret.poly = nil
	for _, key := range k.secret.keys {
		for _, m := range key.masks {
			clear(m.residues)
		}
		key.masks = [2]dayMask{}
	}
}

// Seal makes the row of a window from the schema's payloads (privacy.Schema.Row).
// It refuses to seal a window twice; the row must be stored before it is sent.
//
// Noise: each coefficient carries an error of standard deviation 3.2 and a
// rounding of mean zero, in all below 3.24.
func (p *Params) Seal(c Context, k *DeviceKey, w Window, payloads []privacy.Payload) ([]byte, error) {
	if err := p.checkSeal(c, k, w, payloads); err != nil {
		return nil, err
	}
	k.mu.Lock()
	_, again := k.sealed[w]
	k.sealed[w] = struct{}{}
	k.mu.Unlock()
	if again {
		return nil, fmt.Errorf("hour %d, correction %d: %w", w.Hour, w.Correction, ErrSealedTwice)
	}
	return p.seal(k, w, payloads, rand.Reader)
}

func (p *Params) checkSeal(c Context, k *DeviceKey, w Window, payloads []privacy.Payload) error {
	switch {
	case k == nil || k.secret == nil || k.secret.poly == nil:
		return errors.New("there is no device key")
	case k.context != c || k.profile != p.profile.Name || k.schema != p.schema.Digest():
		return errors.New("the device key was made for another network, epoch, profile or schema")
	case len(payloads) != p.schema.Coefficients():
		return fmt.Errorf("a row has %d coefficients, not %d", p.schema.Coefficients(), len(payloads))
	}
	return p.checkWindow(w)
}

// sealBytes is the randomness of one coefficient: 16 bytes that decide the
// rounding and those of the error.
const sealBytes = 16 + errorBytes

// seal is Seal with the randomness given, for test vectors.
func (p *Params) seal(k *DeviceKey, w Window, payloads []privacy.Payload, random io.Reader) ([]byte, error) {
	noise := make([]byte, len(payloads)*sealBytes)
	if _, err := io.ReadFull(random, noise); err != nil {
		return nil, fmt.Errorf("read randomness: %w", err)
	}
	k.mu.Lock()
	residues := p.encrypt(p.mask(k, w), payloads, noise)
	k.mu.Unlock()
	clear(noise)
	return p.pack(residues), nil
}

// mask returns a_t*s on the coefficients of a row, to be read while k.mu is held. It
// keeps those of the last two days, so that a day costs one product.
func (p *Params) mask(k *DeviceKey, w Window) []uint64 {
	d, hour := w.split()
	size := p.schema.Coefficients() * len(p.rings)
	if k.masks[0].day != d || k.masks[0].residues == nil {
		k.masks[0], k.masks[1] = k.masks[1], k.masks[0]
	}
	if m := &k.masks[0]; m.day != d || m.residues == nil {
		if m.residues == nil {
			m.residues = make([]uint64, p.rowsPerDay()*size)
		}
		m.day = d
		p.maskDay(p.day(k.context.Network, d), k.secret.poly, m.residues)
	}
	return k.masks[0].residues[hour*size : (hour+1)*size]
}

func (p *Params) maskDay(a, secret poly, residues []uint64) {
	buf := p.scratch.Get().(*[]uint64)
	coeffs, primes := p.schema.Coefficients(), len(p.rings)
	for l, r := range p.rings {
		product := *buf
		r.MulCoeffsMontgomery(a[l], secret[l], product)
		r.INTT(product, product)
		for hour := range p.rowsPerDay() {
			for j := range coeffs {
				residues[(hour*coeffs+j)*primes+l] = product[hour*p.stride()+j]
			}
		}
	}
	clear(*buf) // a*s gives s away
	p.scratch.Put(buf)
}

// encrypt computes -a*s + e + round(Q*m/T) on the coefficients of a row, where mask
// is a*s.
func (p *Params) encrypt(mask []uint64, payloads []privacy.Payload, noise []byte) []uint64 {
	primes := len(p.rings)
	residues := make([]uint64, len(payloads)*primes)
	for j, m := range payloads {
		b := noise[j*sealBytes:]
		u := [2]uint64{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
		e := sampleError(b[16 : 16+errorBytes])
		lo, hi, borrow := p.scaler.difference(m, u)
		for l := range p.scaler.primes {
			prime := &p.scaler.primes[l]
			x := prime.residue(lo, hi, borrow) + uint64(e) + uint64(e>>63)&prime.q
			x = reduceOnce(x, prime.q) + prime.q - mask[j*primes+l]
			residues[j*primes+l] = reduceOnce(x, prime.q)
		}
	}
	return residues
}
