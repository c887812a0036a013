package verify

import (
	"fmt"

	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/institution"
)

// memberKeys are the details keys that members' state has in the directory: without
// any, what consents say cannot be read here.
type memberKeys map[string]map[record.ID]details.Key // by member

// readKeys reads them from the members' vaults.
func readKeys(members []member) (memberKeys, error) {
	keys := memberKeys{}
	for _, m := range members {
		var err error
		if keys[m.msp], err = institution.StoredKeys(m.dir, m.key); err != nil {
			return nil, fmt.Errorf("details keys of %s: %w", m.msp, err)
		}
	}
	return keys, nil
}

// Held implements index.Keys.
func (m memberKeys) Held(r details.Ref) (details.Key, bool) {
	for _, keys := range m {
		if k, found := keys[r.Patient]; found {
			return k, true
		}
	}
	return details.Key{}, false
}

// open opens a private value of a patient; nil where it, or the key, is not here.
func (c *checker) open(patient record.Patient, p network.PrivateWrite) ([]byte, error) {
	k, found := c.keyring.Held(details.RefOf(patient))
	if !p.Available || !found {
		return nil, nil
	}
	return k.Open(c.genesis.Network, patient.ID, p.Key, p.Value)
}

// keysLeft checks that no member has the key of an erased patient, or another key than
// the patient signed.
func (c *checker) keysLeft() int {
	n := 0
	for member, keys := range c.keyring {
		for id, p := range c.patients {
			n++
			switch k, found := keys[id]; {
			case found && p.Erased:
				c.wrong("patient %s is erased and %s still has the details key", id, member)
			case found && k.Digest(c.genesis.Network) != p.Inception.DetailsKey:
				c.wrong("%s has another details key than patient %s has signed", member, id)
			}
		}
	}
	return n
}
