package chaincode

import (
	"context"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Every value of the private collection is a patient's, and is read, written and
// purged here alone. It is sealed under the patient's details key, which the
// contracts get from the vault of the member that runs them, for each call anew.

// keyed is a stub that knows where the member's keys are.
type keyed struct {
	shim.ChaincodeStubInterface
	keys details.Source
}

// readPrivate returns a patient's private value, which a transaction before this
// one wrote under the key. fault.Unavailable: it, or the patient's key, has not
// arrived here; fault.Purged: the patient is erased. Which of the values are there
// the caller knows from public state.
func (c *call) readPrivate(patient record.ID, key string) ([]byte, error) {
	k, err := c.detailsKey(patient)
	if err != nil {
		return nil, err
	}
	sealed, err := c.stub.GetPrivateData(state.Collection, key)
	if err != nil || sealed == nil {
		return nil, fault.New(fault.Unavailable, "private details of patient %s have not arrived at this peer; try again", patient.Short())
	}
	value, err := k.Open(c.genesis.Network, patient, key, sealed)
	if err != nil {
		return nil, fault.New(fault.Internal, "private details of patient %s: %w", patient.Short(), err)
	}
	return value, nil
}

// writePrivate writes a private value of a patient who is not erased. A
// transaction writes one at most: Fabric keeps the values that one transaction
// wrote in one piece, and purging one of many writes the rest anew.
func (c *call) writePrivate(patient record.ID, key string, value []byte) error {
	k, err := c.detailsKey(patient)
	if err != nil {
		return err
	}
	if c.wrotePrivate {
		return fault.New(fault.Internal, "a transaction writes one private value")
	}
	sealed, err := k.Seal(c.genesis.Network, patient, key, value)
	if err != nil {
		return err
	}
	c.wrotePrivate = true
	return c.stub.PutPrivateData(state.Collection, key, sealed)
}

// purgePrivate purges whatever values a private key has had. What peers keep of
// them, and those of transactions that came to nothing, opens no more once the
// members have destroyed the patient's key.
func (c *call) purgePrivate(key string) error {
	return c.stub.PurgePrivateData(state.Collection, key)
}

// detailsKey returns the key of a patient who is not erased. It is asked for once
// in a call and forgotten with it.
func (c *call) detailsKey(patient record.ID) (details.Key, error) {
	if c.known != nil && c.knownOf == patient {
		return *c.known, nil
	}
	p, err := c.patient(patient)
	if err != nil {
		return details.Key{}, err
	}
	if p.Erased {
		return details.Key{}, details.Purged(patient)
	}
	if c.keys == nil {
		return details.Key{}, fault.New(fault.Unavailable, "these contracts were started without a member's key holder")
	}
	k, err := c.keys.DetailsKey(context.Background(), details.RefOf(*p))
	if err != nil {
		return details.Key{}, err
	}
	if k, err = details.Check(c.genesis.Network, details.RefOf(*p), k.Bytes()); err != nil {
		return k, fault.New(fault.Internal, "the member's key holder has another key for patient %s than the patient signed", patient.Short())
	}
	c.knownOf, c.known = patient, &k
	return k, nil
}
