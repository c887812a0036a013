package chaincode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// MinCohort is the smallest minimum cohort that a network may have.
const MinCohort = 11

// Bounds of a network.
const (
	maxMembers  = 16
	maxPieces   = 64
	maxCircuits = 4
	maxName     = 100
	maxVK       = 256 << 10
	maxLife     = 30 * daySeconds
)

// Init records the network's genesis (record.Genesis), once, for ever, and the
// layout of the state that begins with it. The caller is one of its members.
func (*Registry) Init(tx transaction, arg string) (string, error) {
	return serve(tx, anyone, untimed, arg, largeArgument, initialize)
}

func initialize(c *call, g record.Genesis) (record.Genesis, error) {
	if err := CheckGenesis(g); err != nil {
		return g, fault.New(fault.Invalid, "genesis: %w", err)
	}
	if id := c.stub.GetChannelID(); g.Network != id {
		return g, fault.New(fault.Invalid, "genesis: the network is named %q, it has the name of its channel, %q", clip(g.Network), clip(id))
	}
	if !slices.ContainsFunc(g.Members, func(m record.Member) bool { return m.MSP == c.msp }) {
		return g, fault.New(fault.Forbidden, "%s is not a member of the network that it starts", clip(c.msp))
	}
	raw, err := json.Marshal(g)
	if err != nil {
		return g, err
	}
	recorded, err := c.stub.GetState(GenesisKey())
	switch {
	case err != nil:
		return g, err
	case recorded != nil && !bytes.Equal(recorded, raw):
		return g, fault.New(fault.Conflict, "the network has another genesis already, which cannot change")
	case recorded != nil:
		return g, c.checkLayout()
	}
	if err := c.begins(); err != nil {
		return g, err
	}
	return g, c.stub.PutState(GenesisKey(), raw)
}

// GetGenesis returns the network's genesis; the argument is {}. Any identity of
// the channel may read it.
func (*Registry) GetGenesis(tx transaction, arg string) (string, error) {
	return serve(tx, anyone, untimed, arg, smallArgument, func(c *call, _ struct{}) (*record.Genesis, error) {
		if err := c.loadGenesis(); err != nil {
			return nil, err
		}
		return c.genesis, nil
	})
}

// CheckGenesis says what is wrong with a genesis by itself, before anybody records it.
func CheckGenesis(g record.Genesis) error {
	switch {
	case !consent.ValidMSP(g.Network):
		return errors.New("network is 1 to 64 letters, digits, dots and hyphens")
	case g.Clock != record.ClockWall && g.Clock != record.ClockSimulated:
		return fmt.Errorf("clock is %q or %q", record.ClockWall, record.ClockSimulated)
	case g.MinCohort < MinCohort || g.MinCohort > maxCohort:
		return fmt.Errorf("min_cohort is at least %d", MinCohort)
	case !knownSchema(g.Schema):
		return errors.New("schema is not the digest of a row schema that this version knows")
	case g.CapMicro < 1 || g.CapMicro > consent.MaxCapMicro:
		return fmt.Errorf("cap_micro is 1 to %d", uint64(consent.MaxCapMicro))
	case g.DailyAsks < 0 || g.DailyAsks > maxDailyAsks:
		return fmt.Errorf("daily_asks is at most %d; without it %d are allowed", maxDailyAsks, record.DefaultDailyAsks)
	case g.PredicateSlot < 1 || g.PredicateSlot > daySeconds:
		return errors.New("predicate_slot is 1 second to a day")
	case g.PredicateLife <= 2*g.PredicateSlot || g.PredicateLife > maxLife:
		return errors.New("predicate_life is longer than two slots and at most 30 days")
	}
	if err := checkSharing(g.FirstEpoch(), g); err != nil {
		return err
	}
	if err := checkGateways(g); err != nil {
		return err
	}
	if err := consent.CheckRelyingParties(g.RelyingParties); err != nil {
		return err
	}
	return checkCircuits(g.Circuits)
}

func knownSchema(digest record.ID) bool {
	_, ok := privacy.SchemaByDigest(digest)
	return ok
}

// checkSharing checks who shares the secrets of an epoch's devices, and that its
// members can vouch as the genesis asks.
func checkSharing(e record.Epoch, g record.Genesis) error {
	switch {
	case len(e.Members) < 2 || len(e.Members) > maxMembers:
		return fmt.Errorf("an epoch has 2 to %d members", maxMembers)
	case e.Threshold < 2 || e.Threshold > len(e.Members):
		return errors.New("threshold is between 2 and the number of members")
	case !validName(e.Profile):
		return errors.New("profile is missing")
	case pieces(len(e.Members), e.Threshold) > maxPieces:
		return fmt.Errorf("these members and threshold make more than %d pieces", maxPieces)
	}
	var names, boxes, sign []string
	for i, m := range e.Members {
		if !consent.ValidMSP(m.MSP) || !validName(m.Name) {
			return fmt.Errorf("member %d needs an MSP ID and a name", i)
		}
		for _, key := range m.BoxKeys() {
			if err := opening.CheckKey(key); err != nil {
				return fmt.Errorf("member %d: an X25519 key: %w", i, err)
			}
			boxes = append(boxes, string(key))
		}
		if _, err := record.ParsePublicKey(m.SignKey); err != nil {
			return fmt.Errorf("member %d: sign_key: %w", i, err)
		}
		names, sign = append(names, m.MSP), append(sign, string(m.SignKey))
	}
	if record.Repeats(names) || record.Repeats(boxes) || record.Repeats(sign) {
		return errors.New("two members share an MSP ID or a key, or one has a key for two purposes")
	}
	if err := checkVouching(g, e.Threshold, names); err != nil {
		return err
	}
	return nil
}

func checkGateways(g record.Genesis) error {
	if len(g.Gateways) > maxMembers || record.Repeats(g.Gateways) {
		return fmt.Errorf("gateways names each MSP once and at most %d", maxMembers)
	}
	for _, msp := range g.Gateways {
		if !consent.ValidMSP(msp) {
			return fmt.Errorf("gateways holds %q, which is not an MSP ID", clip(msp))
		}
	}
	return nil
}

// checkVouching asks for a registrar or for so many vouchers that those who could
// make up patients could open everything anyway.
func checkVouching(g record.Genesis, threshold int, members []string) error {
	switch {
	case g.Registrar != "" && g.Vouchers != 0:
		return errors.New("a network has a registrar or a number of vouchers, not both")
	case g.Registrar != "" && !slices.Contains(members, g.Registrar):
		return errors.New("registrar is not a member")
	case g.Registrar == "" && (g.Vouchers < threshold || g.Vouchers > len(members)):
		return errors.New("without a registrar, vouchers is between threshold and the number of members")
	}
	return nil
}

func checkCircuits(circuits []record.Circuit) error {
	if len(circuits) > maxCircuits {
		return fmt.Errorf("more than %d circuits", maxCircuits)
	}
	var classes []string
	for _, k := range circuits {
		classes = append(classes, k.Class)
		if len(k.VerifyingKey) > maxVK {
			return fmt.Errorf("circuit %q: the verifying key has more than %d bytes", clip(k.Class), maxVK)
		}
		if k.Setup != "development" && k.Setup != "ceremony" {
			return fmt.Errorf("circuit %q: setup is \"development\" or \"ceremony\"", clip(k.Class))
		}
		if _, err := verifierOf(k); err != nil {
			return fmt.Errorf("circuit %q: %w", clip(k.Class), err)
		}
	}
	if record.Repeats(classes) {
		return errors.New("two circuits share a class")
	}
	return nil
}
