package state

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
)

// maxDailyAsks bounds a network's bound on asks.
const maxDailyAsks = 10_000

// MinCohort is the smallest minimum cohort that a network may have.
const MinCohort = 11

// Bounds of a network.
const (
	maxMembers  = 16
	maxPieces   = 64
	maxCircuits = 4
	maxVK       = 256 << 10
	maxLife     = 30 * Day
)

// CheckGenesis says what is wrong with a genesis by itself, before anybody records it.
func CheckGenesis(g record.Genesis) error {
	switch {
	case !consent.ValidMSP(g.Network):
		return errors.New("network is 1 to 64 letters, digits, dots and hyphens")
	case g.Clock != record.ClockWall && g.Clock != record.ClockSimulated:
		return fmt.Errorf("clock is %q or %q", record.ClockWall, record.ClockSimulated)
	case g.MinCohort < MinCohort || g.MinCohort > MaxCohort:
		return fmt.Errorf("min_cohort is at least %d", MinCohort)
	case !knownSchema(g.Schema):
		return errors.New("schema is not the digest of a row schema that this version knows")
	case g.CapMicro < 1 || g.CapMicro > consent.MaxCapMicro:
		return fmt.Errorf("cap_micro is 1 to %d", uint64(consent.MaxCapMicro))
	case g.DailyAsks < 0 || g.DailyAsks > maxDailyAsks:
		return fmt.Errorf("daily_asks is at most %d; without it %d are allowed", maxDailyAsks, record.DefaultDailyAsks)
	case g.PredicateSlot < 1 || g.PredicateSlot > Day:
		return errors.New("predicate_slot is 1 second to a day")
	case g.PredicateLife <= 2*g.PredicateSlot || g.PredicateLife > maxLife:
		return errors.New("predicate_life is longer than two slots and at most 30 days")
	}
	if err := CheckSharing(g.FirstEpoch(), g); err != nil {
		return err
	}
	if err := checkGateways(g); err != nil {
		return err
	}
	if err := consent.CheckRelyingParties(g.RelyingParties); err != nil {
		return err
	}
	return checkCircuits(g.Circuits, g.Ceremony)
}

func knownSchema(digest record.ID) bool {
	_, ok := privacy.SchemaByDigest(digest)
	return ok
}

// CheckSharing checks who shares the secrets of an epoch's devices, and that its
// members can vouch as the genesis asks.
func CheckSharing(e record.Epoch, g record.Genesis) error {
	switch {
	case len(e.Members) < 2 || len(e.Members) > maxMembers:
		return fmt.Errorf("an epoch has 2 to %d members", maxMembers)
	case e.Threshold < 2 || e.Threshold > len(e.Members):
		return errors.New("threshold is between 2 and the number of members")
	case !ValidName(e.Profile):
		return errors.New("profile is missing")
	case Pieces(len(e.Members), e.Threshold) > maxPieces:
		return fmt.Errorf("these members and threshold make more than %d pieces", maxPieces)
	}
	var names, boxes, sign []string
	for i, m := range e.Members {
		if !consent.ValidMSP(m.MSP) || !ValidName(m.Name) {
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

func checkCircuits(circuits []record.Circuit, ceremony bool) error {
	if len(circuits) > maxCircuits {
		return fmt.Errorf("more than %d circuits", maxCircuits)
	}
	var classes []string
	for _, k := range circuits {
		classes = append(classes, k.Class)
		if len(k.VerifyingKey) > maxVK {
			return fmt.Errorf("circuit %q: the verifying key has more than %d bytes", clip(k.Class), maxVK)
		}
		if err := checkSetup(k, ceremony); err != nil {
			return fmt.Errorf("circuit %q: %w", clip(k.Class), err)
		}
		if _, err := VerifierOf(k); err != nil {
			return fmt.Errorf("circuit %q: %w", clip(k.Class), err)
		}
	}
	if record.Repeats(classes) {
		return errors.New("two circuits share a class")
	}
	return nil
}

// checkSetup asks that a circuit says how its keys were made, and refuses those that one
// party made where the network takes those of ceremonies only.
func checkSetup(k record.Circuit, ceremony bool) error {
	switch k.Setup {
	case "development":
		if ceremony {
			return errors.New("its keys are of a development setup, and this network takes keys of ceremonies only")
		}
		if !k.Transcript.IsZero() || len(k.Contributors) > 0 {
			return errors.New("a development setup has no transcript and no contributors")
		}
	case "ceremony":
		n := len(k.Contributors)
		if k.Transcript.IsZero() || n < 2 || n > maxMembers || record.Repeats(k.Contributors) {
			return fmt.Errorf("a ceremony has a transcript and names 2 to %d contributors, each once", maxMembers)
		}
		for _, name := range k.Contributors {
			if name == "" || len(name) > maxContributor {
				return fmt.Errorf("a contributor's name has 1 to %d bytes", maxContributor)
			}
		}
	default:
		return errors.New("setup is \"development\" or \"ceremony\"")
	}
	return nil
}

// maxContributor bounds a contributor's name in bytes.
const maxContributor = 64

// MaxCohort bounds minimum cohorts and cohort sizes.
const MaxCohort = 10_000_000
