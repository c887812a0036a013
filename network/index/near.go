package index

import (
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/record"
)

// maxNear bounds how many details keys are at hand.
const maxNear = 256

// near has the details keys that were used last, so that one patient's consents, which
// mostly come together, cost the vault one read. The erasure of a patient takes the key
// out, before the member destroys its own.
type near map[record.ID]details.Opener

func (n near) put(patient record.ID, k details.Opener) {
	if len(n) == maxNear {
		clear(n)
	}
	n[patient] = k
}

// detailsKey returns the key of a patient who is not erased, if it is here.
func (pe *people) detailsKey(p *patient) (details.Opener, bool) {
	if k, here := pe.near[p.state.ID]; here {
		return k, true
	}
	key, here := pe.keys.Held(details.RefOf(p.state))
	if !here {
		return details.Opener{}, false
	}
	k, err := key.Opener()
	if err != nil {
		return details.Opener{}, false
	}
	pe.near.put(p.state.ID, k)
	return k, true
}
