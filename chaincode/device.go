package chaincode

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// maxDevices bounds the devices that a patient ever enrols.
const maxDevices = 64

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

// EnrolDevice records a device (record.EnrolDevice, record.DeviceState) that
// its patient and its own key signed for. Its seed hashes are new.
func (*Registry) EnrolDevice(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, timed, arg, smallArgument, enrolDevice)
}

// GetDevice returns the record.DeviceState with this identifier.
func (*Registry) GetDevice(tx transaction, arg string) (string, error) {
	return serveID(tx, arg, (*call).device)
}

func (c *call) device(id record.ID) (*record.DeviceState, error) {
	d := new(record.DeviceState)
	return d, c.need(DeviceKey(id), d, "device "+id.Short())
}

func enrolDevice(c *call, e record.EnrolDevice) (*record.DeviceState, error) {
	id, digest, err := CheckDevice(c.genesis.Network, c.roster.Epoch(c.roster.Current), e)
	if err != nil {
		return nil, err
	}
	recorded := new(record.DeviceState)
	exists, err := c.get(DeviceKey(id), recorded)
	switch {
	case err != nil:
		return nil, err
	case exists && record.Digest(record.DomainDevice, c.genesis.Network, recorded.Device) == digest:
		return recorded, nil // whichever keys the patient has by now
	case exists:
		return nil, fault.New(fault.Conflict, "a device with this key is enrolled already; enrol with a new key")
	}
	patient, err := c.patient(e.Device.Patient)
	if err != nil {
		return nil, err
	}
	if err := notErased(patient); err != nil {
		return nil, err
	}
	if !patient.SignedBy(digest, e.PatientSignature) {
		return nil, fault.New(fault.BadSignature, "the patient's signature is not by a key that the patient signs with now")
	}
	return c.recordDevice(id, e.Device)
}

func (c *call) recordDevice(id record.ID, d record.Device) (*record.DeviceState, error) {
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	if d.FirstHour < wearable.HourOf(now) {
		return nil, fault.New(fault.Expired, "first_hour %d has passed; enrol from hour %d on", d.FirstHour, wearable.HourOf(now))
	}
	if err := c.claimSeeds(id, d); err != nil {
		return nil, err
	}
	fromDay, err := c.designate(id, d, now)
	if err != nil {
		return nil, err
	}
	s := &record.DeviceState{ID: id, Device: d, DID: DIDKey(d.Key), Enrolled: now, FromDay: fromDay}
	return s, c.put(DeviceKey(id), s)
}

// claimSeeds records what the device names as its seeds. A hash and a blob are
// named once, ever. Both say whose they are, so to take another's is of no use; it
// would only be in the other's way.
func (c *call) claimSeeds(id record.ID, d record.Device) error {
	for i, h := range d.SeedHashes {
		if err := c.claim(SeedHashKey(h), id, fmt.Sprintf("seed hash %d", i)); err != nil {
			return err
		}
	}
	return c.claim(SeedBlobKey(d.SeedBlob), id, "seed_blob")
}

// claim records that a device was the first to name something. What was named by a
// device of which a fault was shown, or whose patient is erased, is free again: who
// names what he saw of another has no seeds that fit it, and his holders show it.
func (c *call) claim(key string, id record.ID, what string) error {
	first := new(record.ID)
	claimed, err := c.get(key, first)
	if err != nil {
		return err
	}
	if claimed {
		free, err := c.given(*first)
		if err != nil {
			return err
		}
		if !free {
			return fault.New(fault.Conflict, "%s was named by device %s before; make fresh seeds, or enrol again when that device is put out", what, first.Short())
		}
	}
	return c.put(key, id)
}

// given reports whether a device has lost what it named.
func (c *call) given(id record.ID) (bool, error) {
	d, err := c.device(id)
	if err != nil || d.Quarantined != nil && d.Quarantined.How == record.ByEvidence {
		return err == nil, err
	}
	p, err := c.patient(d.Device.Patient)
	return err == nil && p.Erased, err
}

// designate adds the device to its patient's list (FirstDay).
func (c *call) designate(id record.ID, d record.Device, now int64) (int64, error) {
	var list []Designation
	if _, err := c.get(DesignationKey(d.Patient), &list); err != nil {
		return 0, err
	}
	if len(list) >= maxDevices {
		return 0, fault.New(fault.Exhausted, "the patient has enrolled %d devices, which is the limit", maxDevices)
	}
	from := FirstDay(d, len(list) == 0, now)
	list = append(list, Designation{Device: id, FromDay: from, Metrics: d.Metrics})
	return from, c.put(DesignationKey(d.Patient), list)
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
	want := pieces(len(epoch.Members), epoch.Threshold)
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
