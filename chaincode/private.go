package chaincode

import (
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Every value of the private collection is a patient's, and is read, written and
// purged here alone.

// readPrivate returns a patient's private value, which a transaction before this
// one wrote under the key. fault.Unavailable: it has not arrived at this peer;
// fault.Purged: the patient is erased. Which of the values are there the caller
// knows from public state.
func (c *call) readPrivate(patient record.ID, key string) ([]byte, error) {
	p, err := c.patient(patient)
	if err != nil {
		return nil, err
	}
	if p.Erased {
		return nil, purged(patient)
	}
	raw, err := c.stub.GetPrivateData(Collection, key)
	if err != nil || raw == nil {
		return nil, fault.New(fault.Unavailable, "private details of patient %s have not arrived at this peer; try again", patient.Short())
	}
	return raw, nil
}

// writePrivate writes a private value of a patient who is not erased. A
// transaction writes one at most: Fabric keeps the values that one transaction
// wrote in one piece, and purging one of many writes the rest anew.
func (c *call) writePrivate(patient record.ID, key string, value []byte) error {
	p, err := c.patient(patient)
	if err != nil {
		return err
	}
	if p.Erased {
		return purged(patient)
	}
	if c.wrotePrivate {
		return fault.New(fault.Internal, "a transaction writes one private value")
	}
	c.wrotePrivate = true
	return c.stub.PutPrivateData(Collection, key, value)
}

// purgePrivate purges whatever values a private key has had.
func (c *call) purgePrivate(key string) error {
	return c.stub.PurgePrivateData(Collection, key)
}

// purged says for good that what was private about a patient is gone.
func purged(patient record.ID) error {
	return fault.New(fault.Purged, "the details of patient %s were erased, which is final", patient.Short())
}
