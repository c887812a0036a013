package record

import (
	"errors"
	"fmt"
)

// DomainEpoch is the domain of Epoch: what its members and its predecessors sign.
const DomainEpoch = "epoch/v1"

// Epoch is who shares the secrets of the devices that enrol in it, and how these
// seal: another number of members may need another profile. The genesis is epoch
// 0.
type Epoch struct {
	Number    uint32   `json:"number"`
	Threshold int      `json:"threshold"`
	Members   []Member `json:"members"` // numbered by their place
	Profile   string   `json:"profile"` // name of the sealing profile (package he)
}

// FirstEpoch is epoch 0.
func (g Genesis) FirstEpoch() Epoch {
	return Epoch{Threshold: g.Threshold, Members: g.Members, Profile: g.Profile}
}

// Digest is what is signed.
func (e Epoch) Digest(network string) ID { return Digest(DomainEpoch, network, e) }

// Place returns the number of the member with this MSP ID, -1 for none.
func (e Epoch) Place(msp string) int {
	for i, m := range e.Members {
		if m.MSP == msp {
			return i
		}
	}
	return -1
}

// Member returns the member with this MSP ID, nil for none.
func (e Epoch) Member(msp string) *Member {
	if i := e.Place(msp); i >= 0 {
		return &e.Members[i]
	}
	return nil
}

// VoteEpoch is the argument of Registry:VoteEpoch: the calling member wants this
// epoch to follow the current one, or agrees to join in it. Signature is over the
// epoch, with the key that the current epoch has for the member, or, of one that
// joins, with the key that it gets. The first vote is the proposal, of a current
// member; a member's later vote takes the place of its earlier one.
type VoteEpoch struct {
	Epoch     Epoch  `json:"epoch"`
	Signature []byte `json:"signature"`
}

// EpochVote is one member's signature under an epoch.
type EpochVote struct {
	Member    string `json:"member"`
	Signature []byte `json:"signature"`
}

// EpochState is the ledger's record of an epoch that has become current.
type EpochState struct {
	Epoch Epoch       `json:"epoch"`
	From  int64       `json:"from"` // ledger time
	Votes []EpochVote `json:"votes"`
	// Retired is the ledger time at which it ended, 0 while it lives.
	Retired int64 `json:"retired,omitempty"`
}

// Roster is what every transaction needs of epochs: the current one, and those
// that still live, in ascending order. Floor is ledger time when the newest one
// began; ledger time does not fall below it, whoever's clocks count now. Without
// this document on the ledger there is epoch 0 alone.
type Roster struct {
	Current uint32  `json:"current"`
	Floor   int64   `json:"floor"`
	Epochs  []Epoch `json:"epochs"`
}

// FirstRoster is the roster before there is one on the ledger. Its floor is below
// every time.
func (g Genesis) FirstRoster() Roster {
	return Roster{Floor: minTime, Epochs: []Epoch{g.FirstEpoch()}}
}

const minTime = -1 << 62

// Epoch returns a living epoch, nil for none.
func (r *Roster) Epoch(number uint32) *Epoch {
	for i := range r.Epochs {
		if r.Epochs[i].Number == number {
			return &r.Epochs[i]
		}
	}
	return nil
}

// Member returns the member with this MSP ID as the newest living epoch that it
// is in has it, nil for none.
func (r *Roster) Member(msp string) *Member {
	for i := len(r.Epochs) - 1; i >= 0; i-- {
		if m := r.Epochs[i].Member(msp); m != nil {
			return m
		}
	}
	return nil
}

// Members returns who is a member of a living epoch, each once, with the keys of the
// newest.
func (r *Roster) Members() []Member {
	var all []Member
	seen := map[string]bool{}
	for _, e := range r.Epochs {
		for _, m := range e.Members {
			if !seen[m.MSP] {
				seen[m.MSP] = true
				all = append(all, *r.Member(m.MSP))
			}
		}
	}
	return all
}

// RetireEpoch is the argument of Registry:RetireEpoch: the calling member of the
// current epoch wants an older one to end. Nothing of its devices is opened then.
type RetireEpoch struct {
	Epoch uint32 `json:"epoch"`
}

// CheckSuccession checks that an epoch follows another by the votes that it
// carries: of at least the threshold of the members before, and of everyone who
// joins. Whoever has the genesis out of band can so
// follow the epochs without trusting who delivers them.
func CheckSuccession(network string, before Epoch, s EpochState) error {
	if s.Epoch.Number != before.Number+1 {
		return fmt.Errorf("epoch %d does not follow epoch %d", s.Epoch.Number, before.Number)
	}
	digest := s.Epoch.Digest(network)
	signed := map[string]bool{}
	old := 0
	for _, v := range s.Votes {
		if signed[v.Member] {
			return fmt.Errorf("%s votes twice", v.Member)
		}
		if err := CheckVote(before, s.Epoch, digest, v); err != nil {
			return err
		}
		signed[v.Member] = true
		if before.Member(v.Member) != nil {
			old++
		}
	}
	if old < before.Threshold {
		return fmt.Errorf("%d members of epoch %d agree, %d are needed", old, before.Number, before.Threshold)
	}
	for _, m := range s.Epoch.Members {
		if before.Member(m.MSP) == nil && !signed[m.MSP] {
			return fmt.Errorf("%s has not agreed to join", m.MSP)
		}
	}
	return nil
}

// CheckVote checks a signature under an epoch: with the member's key of the epoch
// before, or with the new one's where it joins.
func CheckVote(before, next Epoch, digest ID, v EpochVote) error {
	m := before.Member(v.Member)
	if m == nil {
		m = next.Member(v.Member)
	}
	if m == nil {
		return errors.New("a vote is of no member")
	}
	if err := Verify(m.SignKey, digest, v.Signature); err != nil {
		return fmt.Errorf("the vote of %s: %w", v.Member, err)
	}
	return nil
}
