package state

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// Designation is one of a patient's devices in the list of them.
type Designation struct {
	Device  record.ID `json:"device"`
	FromDay int64     `json:"from_day"`
	Metrics []string  `json:"metrics"`
}

// Designated returns the device that is designated for a metric on a day: of
// those that name the metric and begin on that day or before, the one that
// begins last, and of those the one enrolled last. The list is in order of
// enrolment.
func Designated(list []Designation, metric string, day int64) (record.ID, bool) {
	best := -1
	for i, d := range list {
		if d.FromDay <= day && slices.Contains(d.Metrics, metric) && (best < 0 || d.FromDay >= list[best].FromDay) {
			best = i
		}
	}
	if best < 0 {
		return record.ID{}, false
	}
	return list[best].Device, true
}

// CheckDevice checks what a device's enrolment shows by itself, to whoever knows the
// epoch that is current: its form and the device's signature. It returns the
// device's identifier and the digest that its patient has signed as well, with a key
// that counts at this place of the ledger.
func CheckDevice(network string, epoch *record.Epoch, e record.EnrolDevice) (record.ID, record.ID, error) {
	id := record.DeviceID(network, e.Device.Key)
	digest := record.Digest(record.DomainDevice, network, e.Device)
	if err := checkDevice(e.Device, epoch); err != nil {
		return id, digest, fault.New(fault.Invalid, "device: %w", err)
	}
	if err := record.Verify(e.Device.Key, digest, e.DeviceSignature); err != nil {
		return id, digest, fault.New(fault.BadSignature, "the device's signature: %w", err)
	}
	return id, digest, nil
}

// FirstDay is the first day on which a device counts for its patient: of the first
// device the day that its rows begin on, of later ones no day that has begun, so that
// which device speaks for a patient is fixed before the day's data exist.
func FirstDay(d record.Device, first bool, now int64) int64 {
	from := wearable.FloorDiv(d.FirstHour, 24)
	if !first {
		from = max(from, wearable.DayOf(now)+1)
	}
	return from
}

func checkDevice(d record.Device, epoch *record.Epoch) error {
	if _, err := record.ParsePublicKey(d.Key); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if err := checkMetrics(d.Metrics); err != nil {
		return err
	}
	want := Pieces(len(epoch.Members), epoch.Threshold)
	switch {
	case !slices.IsSorted(d.Metrics):
		return errors.New("metrics are not sorted")
	case d.FirstHour < -consent.MaxHour || d.FirstHour > consent.MaxHour:
		return errors.New("first_hour is out of bounds")
	case d.Epoch != epoch.Number:
		return fmt.Errorf("epoch is %d, the current one is %d", d.Epoch, epoch.Number)
	case d.Profile != epoch.Profile:
		return fmt.Errorf("profile is %q, this epoch uses %q", clip(d.Profile), epoch.Profile)
	case d.SeedBlob.IsZero():
		return errors.New("seed_blob is missing")
	case len(d.SeedHashes) != want:
		return fmt.Errorf("it has %d seed hashes, its epoch has %d pieces", len(d.SeedHashes), want)
	}
	for i, h := range d.SeedHashes {
		if h.IsZero() || slices.Contains(d.SeedHashes[:i], h) {
			return fmt.Errorf("seed hash %d is zero or there twice", i)
		}
	}
	return nil
}

const base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// DIDKey is the did:key of a compressed P-256 key (W3C CCG did:key, multicodec
// p256-pub 0x1200, base58btc). It names a key, not a person.
func DIDKey(publicKey []byte) string {
	// The first byte is not zero, so base58's rule for leading zeros never
	// applies.
	number := append([]byte{0x80, 0x24}, publicKey...)
	var digits []byte // base 58, least significant first
	for _, b := range number {
		carry := int(b)
		for i := range digits {
			carry += int(digits[i]) << 8
			digits[i] = byte(carry % 58)
			carry /= 58
		}
		for ; carry > 0; carry /= 58 {
			digits = append(digits, byte(carry%58))
		}
	}
	text := make([]byte, len(digits))
	for i, d := range digits {
		text[len(digits)-1-i] = base58[d]
	}
	return "did:key:z" + string(text)
}

func checkMetrics(keys []string) error {
	if len(keys) == 0 || len(keys) > wearable.Slots || record.Repeats(keys) {
		return errors.New("metrics names each metric once and at least one")
	}
	for _, k := range keys {
		if _, ok := wearable.ByKey(k); !ok {
			return fmt.Errorf("metric %q is unknown", clip(k))
		}
	}
	return nil
}

// RetiredBy reports whether a retirement is signed by the device or by a
// key with which its patient signs.
func RetiredBy(g *record.Genesis, d record.Device, p record.Patient, s record.SignedRetirement) bool {
	digest := record.Digest(record.DomainRetire, g.Network, s.Retire)
	return s.Assertion == nil && record.Verify(d.Key, digest, s.Signature) == nil ||
		consent.SignedByOne(p.ConsentKeys(), g.RelyingParties, digest, s.Signature, s.Assertion) == nil
}
