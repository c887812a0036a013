package chaincode

import "github.com/vitalveil/vitalveil/internal/record"

// votes returns what members have said, each under a key of its own, as far as it agrees
// with something, in their order. The caller's own word is given: this transaction does not
// see it in the state.
func votes[V any](c *call, members []record.Member, key func(msp string) string, mine V, agrees func(V) bool) ([]V, error) {
	var with []V
	for _, m := range members {
		vote, said := mine, true
		if m.MSP != c.msp {
			vote = *new(V)
			var err error
			if said, err = c.get(key(m.MSP), &vote); err != nil {
				return nil, err
			}
		}
		if said && agrees(vote) {
			with = append(with, vote)
		}
	}
	return with, nil
}
