package chaincode

import (
	"fmt"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// maxDevices bounds the devices that a patient ever enrols.
const maxDevices = 64

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
	return d, c.need(state.DeviceKey(id), d, "device "+id.Short())
}

func enrolDevice(c *call, e record.EnrolDevice) (*record.DeviceState, error) {
	id, digest, err := state.CheckDevice(c.genesis.Network, c.roster.Epoch(c.roster.Current), e)
	if err != nil {
		return nil, err
	}
	recorded := new(record.DeviceState)
	exists, err := c.get(state.DeviceKey(id), recorded)
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
	if err := consent.SignedByOne(patient.ConsentKeys(), c.genesis.RelyingParties, digest, e.PatientSignature, e.PatientAssertion); err != nil {
		return nil, fault.New(fault.BadSignature, "the patient's signature, by a key that the patient signs with now: %w", err)
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
	s := &record.DeviceState{ID: id, Device: d, DID: state.DIDKey(d.Key), Enrolled: now, FromDay: fromDay}
	return s, c.put(state.DeviceKey(id), s)
}

// claimSeeds records what the device names as its seeds. A hash and a blob are
// named once, ever. Both say whose they are, so to take another's is of no use; it
// would only be in the other's way.
func (c *call) claimSeeds(id record.ID, d record.Device) error {
	for i, h := range d.SeedHashes {
		if err := c.claim(state.SeedHashKey(h), id, fmt.Sprintf("seed hash %d", i)); err != nil {
			return err
		}
	}
	return c.claim(state.SeedBlobKey(d.SeedBlob), id, "seed_blob")
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
	var list []state.Designation
	if _, err := c.get(state.DesignationKey(d.Patient), &list); err != nil {
		return 0, err
	}
	if len(list) >= maxDevices {
		return 0, fault.New(fault.Exhausted, "the patient has enrolled %d devices, which is the limit", maxDevices)
	}
	from := state.FirstDay(d, len(list) == 0, now)
	list = append(list, state.Designation{Device: id, FromDay: from, Metrics: d.Metrics})
	return from, c.put(state.DesignationKey(d.Patient), list)
}
