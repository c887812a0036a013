package chaincode

import (
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// RetireDevice ends a device (record.SignedRetirement, record.DeviceState), with
// the signature of its patient or its own. What it has anchored stays. A retired
// device can still be reported lost; neither is ever taken back. Like a
// revocation it is not timed.
func (*Registry) RetireDevice(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, untimed, arg, smallArgument, retireDevice)
}

func retireDevice(c *call, s record.SignedRetirement) (*record.DeviceState, error) {
	d, err := c.device(s.Retire.Device)
	if err != nil {
		return nil, err
	}
	patient, err := c.patient(d.Device.Patient)
	if err != nil {
		return nil, err
	}
	if !state.RetiredBy(c.genesis, d.Device, *patient, s) {
		return nil, fault.New(fault.BadSignature, "the retirement is signed neither by the device nor by a key of its patient")
	}
	if d.Retired != nil && (d.Retired.Lost || !s.Retire.Lost) {
		return d, nil
	}
	if err := notErased(patient); err != nil {
		return nil, err
	}
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	if d.Retired != nil {
		now = d.Retired.At
	}
	d.Retired = &record.Retirement{At: now, Lost: s.Retire.Lost}
	return d, c.put(state.DeviceKey(d.ID), d)
}

// checkLife refuses pointers of devices that count for nothing, or not for the
// window.
func (r *anchoring) checkLife(p record.Pointer, d *record.DeviceState) *fault.Error {
	if f := r.usable(d); f != nil {
		return f
	}
	length := int64(state.Hour)
	if p.Daily() {
		length = state.Day
	}
	if d.Retired != nil && p.Index*length > d.Retired.At {
		return fault.New(fault.Expired, "device retired at %d, before %s %d began; enrol a new device", d.Retired.At, p.Kind, p.Index)
	}
	if r.roster.Epoch(d.Device.Epoch) == nil {
		return fault.New(fault.Expired, "epoch %d of the device is retired; enrol a new device in epoch %d", d.Device.Epoch, r.roster.Current)
	}
	return nil
}

// usable refuses devices in quarantine and lost ones.
func (c *call) usable(d *record.DeviceState) *fault.Error {
	switch {
	case d.Quarantined != nil:
		return fault.New(fault.Forbidden, "device %s is in quarantine: %s", d.ID.Short(), d.Quarantined.Reason)
	case d.Retired != nil && d.Retired.Lost:
		return fault.New(fault.Expired, "device retired: %s was reported lost at %d", d.ID.Short(), d.Retired.At)
	}
	return nil
}

// mayAnswer refuses questions to, and answers from, a device whose word counts
// for nothing.
func (c *call) mayAnswer(id record.ID) error {
	d, err := c.device(id)
	if err != nil {
		return err
	}
	if f := c.usable(d); f != nil {
		return f
	}
	return nil
}
