package state

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Kind is the first part of a state key; the package documentation lists what
// is stored under each.
type Kind string

// The kinds of state.
const (
	KindGenesis     Kind = "genesis"
	KindLayout      Kind = "layout"
	KindTick        Kind = "tick"
	KindPatient     Kind = "patient"
	KindPerson      Kind = "person"
	KindKeys        Kind = "keys"
	KindRecovery    Kind = "recovery"
	KindDevice      Kind = "device"
	KindSeedHash    Kind = "seedhash"
	KindSeedBlob    Kind = "seedblob"
	KindDesignation Kind = "designation"
	KindAck         Kind = "ack"
	KindPieceKey    Kind = "piecekey"
	KindConsent     Kind = "consent"
	KindConsentOf   Kind = "consentof"
	KindPointer     Kind = "pointer"
	KindBatch       Kind = "batch"
	KindAvailable   Kind = "available"
	KindStudy       Kind = "study"
	KindQuery       Kind = "query"
	KindCohort      Kind = "cohort"
	KindPredicate   Kind = "predicate"
	KindPending     Kind = "pending"
	KindAsked       Kind = "asked"
	KindDeviceVote  Kind = "devicevote"
	KindDeviceFlag  Kind = "deviceflag"
	KindRoster      Kind = "roster"
	KindEpoch       Kind = "epoch"
	KindEpochVote   Kind = "epochvote"
	KindEpochEnd    Kind = "epochend"
	KindClock       Kind = "clock"
	KindClockVote   Kind = "clockvote"
	KindErasure     Kind = "erasure"
	KindErased      Kind = "erased"
	KindAsks        Kind = "asks"
	KindAbandon     Kind = "abandon"
	// Kinds of private state, in Collection.
	KindConsentDetails Kind = "consentdetails"
	KindQuestion       Kind = "question"
)

// Kinds returns every kind.
func Kinds() []Kind {
	return []Kind{
		KindGenesis, KindLayout, KindTick, KindPatient, KindPerson, KindKeys, KindRecovery, KindDevice, KindSeedHash, KindSeedBlob, KindDesignation, KindAck,
		KindPieceKey, KindConsent, KindConsentOf, KindPointer, KindBatch, KindAvailable, KindStudy, KindQuery,
		KindCohort, KindPredicate, KindPending, KindAsked, KindErasure, KindErased, KindConsentDetails, KindQuestion,
		KindDeviceVote, KindDeviceFlag, KindRoster, KindEpoch, KindEpochVote, KindEpochEnd,
		KindAsks, KindAbandon, KindClock, KindClockVote,
	}
}

// attributes returns how many attributes keys of a kind have, -1 for an unknown
// kind.
func attributes(k Kind) int {
	switch k {
	case KindGenesis, KindLayout, KindRoster, KindClock:
		return 0
	case KindTick, KindPatient, KindPerson, KindDevice, KindSeedHash, KindSeedBlob, KindDesignation,
		KindPieceKey, KindConsent, KindAsked, KindBatch, KindQuery, KindPredicate, KindErasure, KindEpoch, KindAsks, KindClockVote:
		return 1
	case KindAck, KindConsentOf, KindAvailable, KindStudy, KindPending, KindKeys, KindRecovery, KindConsentDetails, KindQuestion,
		KindDeviceVote, KindEpochVote, KindEpochEnd, KindAbandon:
		return 2
	case KindCohort, KindErased:
		return 3
	case KindPointer, KindDeviceFlag:
		return 4
	}
	return -1
}

const (
	separator = "\x00"
	maxKey    = 1024
)

// key builds a composite key as Fabric's CreateCompositeKey does. Attributes
// are hexadecimal, decimal or words checked before, never with a separator.
func key(k Kind, attrs ...string) string {
	return separator + string(k) + separator + join(attrs)
}

func join(attrs []string) string {
	var b strings.Builder
	for _, a := range attrs {
		b.WriteString(a)
		b.WriteString(separator)
	}
	return b.String()
}

// ParseKey splits a state key into its kind and attributes, in the order of the
// package documentation. A key that this package does not write is an error.
func ParseKey(key string) (Kind, []string, error) {
	if len(key) > maxKey || len(key) < 3 || !strings.HasPrefix(key, separator) || !strings.HasSuffix(key, separator) {
		return "", nil, fmt.Errorf("%q is not a state key", clip(key))
	}
	parts := strings.Split(key[1:len(key)-1], separator)
	kind := Kind(parts[0])
	if attributes(kind) != len(parts)-1 {
		return "", nil, fmt.Errorf("%q is not a state key of a known kind", clip(key))
	}
	for _, p := range parts {
		if p == "" {
			return "", nil, fmt.Errorf("state key %q has an empty attribute", clip(key))
		}
	}
	return kind, parts[1:], nil
}

// GenesisKey is the key of the network's genesis.
func GenesisKey() string { return key(KindGenesis) }

// LayoutKey is the key of the Layout.
func LayoutKey() string { return key(KindLayout) }

// TickKey is the key of a member's latest tick.
func TickKey(msp string) string { return key(KindTick, msp) }

// PatientKey is the key of a patient's record.
func PatientKey(id record.ID) string { return key(KindPatient, id.String()) }

// PersonKey is the key that says which patient a person is enrolled as.
func PersonKey(id record.ID) string { return key(KindPerson, id.String()) }

// KeysKey is the key of one change of a patient's keys.
func KeysKey(patient record.ID, version uint32) string {
	return key(KindKeys, patient.String(), strconv.FormatUint(uint64(version), 10))
}

// RecoveryKey is the key that says by which change a recovery hash was used up.
func RecoveryKey(patient, hash record.ID) string {
	return key(KindRecovery, patient.String(), hash.String())
}

// DeviceKey is the key of a device's record.
func DeviceKey(id record.ID) string { return key(KindDevice, id.String()) }

// SeedHashKey is the key that says which device used a seed hash.
func SeedHashKey(hash record.ID) string { return key(KindSeedHash, hash.String()) }

// SeedBlobKey is the key under which the device is recorded that named a seed blob.
func SeedBlobKey(blob record.ID) string { return key(KindSeedBlob, blob.String()) }

// DesignationKey is the key of the list of a patient's devices.
func DesignationKey(patient record.ID) string { return key(KindDesignation, patient.String()) }

// AckKey is the key of a member's acknowledgement of a device's seeds.
func AckKey(device record.ID, msp string) string { return key(KindAck, device.String(), msp) }

// PieceKeyKey is the key of a piece's sealed PRF key; pieces of epoch 0 go by
// their number alone.
func PieceKeyKey(epoch uint32, piece int) string {
	name := strconv.Itoa(piece)
	if epoch > 0 {
		name = number(epoch) + "." + name
	}
	return key(KindPieceKey, name)
}

func number(epoch uint32) string { return strconv.FormatUint(uint64(epoch), 10) }

// DeviceVoteKey is the key of a member's latest vote about a device.
func DeviceVoteKey(device record.ID, msp string) string {
	return key(KindDeviceVote, device.String(), msp)
}

// DeviceFlagKey is the key of a member's flag of one kind and day.
func DeviceFlagKey(f record.DeviceFlag) string {
	return key(KindDeviceFlag, f.Flag.Device.String(), f.Member, f.Flag.Kind, strconv.FormatInt(f.Day, 10))
}

// RosterKey is the key of the list of living epochs.
func RosterKey() string { return key(KindRoster) }

// EpochKey is the key of an epoch's record.
func EpochKey(epoch uint32) string { return key(KindEpoch, number(epoch)) }

// EpochVoteKey is the key of a member's latest vote for the epoch with a number.
func EpochVoteKey(epoch uint32, msp string) string {
	return key(KindEpochVote, number(epoch), msp)
}

// EpochEndKey is the key of a member's vote that an epoch ends.
func EpochEndKey(epoch uint32, msp string) string {
	return key(KindEpochEnd, number(epoch), msp)
}

// ClockKey is the key of how often ledger time was set back.
func ClockKey() string { return key(KindClock) }

// ClockVoteKey is the key of a member's vote that it is set back.
func ClockVoteKey(msp string) string { return key(KindClockVote, msp) }

// ConsentKey is the key of the latest version of a consent.
func ConsentKey(id record.ID) string { return key(KindConsent, id.String()) }

// ConsentOfKey is the key of a consent's head in its patient's list.
func ConsentOfKey(patient, id record.ID) string {
	return key(KindConsentOf, patient.String(), id.String())
}

// ConsentDetailsKey is the key of a version's details in Collection.
func ConsentDetailsKey(id record.ID, version uint32) string {
	return key(KindConsentDetails, id.String(), strconv.FormatUint(uint64(version), 10))
}

// ErasureKey is the key of a patient's erasure.
func ErasureKey(patient record.ID) string { return key(KindErasure, patient.String()) }

// ErasedKey is the key of a member's report that it carried an erasure out, for the
// devices of one epoch.
func ErasedKey(patient record.ID, epoch uint32, msp string) string {
	return key(KindErased, patient.String(), number(epoch), msp)
}

// PointerKey is the key of a pointer; blob and commitment are not part of it.
func PointerKey(p record.Pointer) string {
	return key(KindPointer, p.Device.String(), p.Kind, strconv.FormatInt(p.Index, 10), strconv.Itoa(int(p.Correction)))
}

// ParsePointerKey is the inverse of PointerKey; Blob and Commitment are zero.
func ParsePointerKey(k string) (record.Pointer, error) {
	kind, attrs, err := ParseKey(k)
	if err != nil {
		return record.Pointer{}, err
	}
	if kind != KindPointer {
		return record.Pointer{}, fmt.Errorf("a key of kind %s is not a pointer's", kind)
	}
	device, err := record.ParseID(attrs[0])
	if err != nil {
		return record.Pointer{}, err
	}
	index, err := strconv.ParseInt(attrs[2], 10, 64)
	if err != nil {
		return record.Pointer{}, fmt.Errorf("index %q is not a number", clip(attrs[2]))
	}
	correction, err := strconv.ParseUint(attrs[3], 10, 8)
	if err != nil {
		return record.Pointer{}, fmt.Errorf("correction %q is not a number", clip(attrs[3]))
	}
	p := record.Pointer{Device: device, Kind: attrs[1], Index: index, Correction: uint8(correction)}
	if PointerKey(p) != k {
		return record.Pointer{}, fmt.Errorf("%q is not the canonical key of a pointer", clip(k))
	}
	return p, nil
}

// BatchKey is the key of a batch of pointers.
func BatchKey(root record.ID) string { return key(KindBatch, root.String()) }

// AvailableKey is the key of a member's availability post for a batch.
func AvailableKey(batch record.ID, msp string) string {
	return key(KindAvailable, batch.String(), msp)
}

// StudyKey is the key of a study; id is unique for its owner.
func StudyKey(owner, id string) string { return key(KindStudy, owner, id) }

// QueryKey is the key of a query, by the transaction that asked it.
func QueryKey(id string) string { return key(KindQuery, id) }

// AsksKey is the key of how many queries a member has asked in its latest day.
func AsksKey(msp string) string { return key(KindAsks, msp) }

// AbandonKey is the key of a member's vote to end a query.
func AbandonKey(query, msp string) string { return key(KindAbandon, query, msp) }

// CohortKey is the key of a member's cohort post.
func CohortKey(query string, attempt int, msp string) string {
	return key(KindCohort, query, strconv.Itoa(attempt), msp)
}

// PredicateKey is the key of a predicate request, by the transaction that asked.
func PredicateKey(id string) string { return key(KindPredicate, id) }

// PendingKey is the key that lists an open predicate request for a device.
func PendingKey(device record.ID, id string) string { return key(KindPending, device.String(), id) }

// QuestionKey is the key in Collection of a claim asked under a consent; number
// counts them from 1.
func QuestionKey(consent record.ID, number uint32) string {
	return key(KindQuestion, consent.String(), strconv.FormatUint(uint64(number), 10))
}

// AskedKey is the key of the number of claims asked under a consent.
func AskedKey(consent record.ID) string { return key(KindAsked, consent.String()) }
