package consent

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// Bounds of a document's fields.
const (
	MaxVersion = 1_000_000
	MaxTerms   = 16
	// MaxClaims bounds how many claims may be asked under one consent.
	MaxClaims = 1_000
	// MaxCapMicro is rho = 1,000, beyond any use.
	MaxCapMicro = 1_000_000_000
	// MaxHour and MaxTime bound hours and seconds, in both directions.
	MaxHour = 1 << 27
	MaxTime = 1 << 39
	maxMSP  = 64
)

// ValidMSP reports whether s can be an MSP ID: 1 to 64 letters, digits, dots and
// hyphens.
func ValidMSP(s string) bool {
	if len(s) == 0 || len(s) > maxMSP {
		return false
	}
	for _, c := range []byte(s) {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-'
		if !ok {
			return false
		}
	}
	return true
}

// Validate checks every field of a document by itself: known words, bounded
// numbers, no repeats. Whether it fits the version before is for Follows.
func Validate(d Document) error {
	if err := validateIdentity(d); err != nil {
		return err
	}
	if err := validateScope(d); err != nil {
		return err
	}
	if err := validateTimes(d); err != nil {
		return err
	}
	if d.CapMicro > MaxCapMicro {
		return fmt.Errorf("cap_micro is %d, at most %d is possible", d.CapMicro, uint64(MaxCapMicro))
	}
	if (d.Exact || d.BeyondShare) && (d.Effect != EffectPermit || !slices.Contains(d.Operations, OpAggregate)) {
		return errors.New("exact and beyond_share belong to a permission that names the operation aggregate")
	}
	return validateTerms(d)
}

func validateIdentity(d Document) error {
	switch {
	case d.ID.IsZero():
		return errors.New("id is missing")
	case d.Patient.IsZero():
		return errors.New("patient is missing")
	case d.Version < 1 || d.Version > MaxVersion:
		return fmt.Errorf("version is %d, it counts from 1 to %d", d.Version, MaxVersion)
	case (d.Version == 1) != d.Previous.IsZero():
		return errors.New("previous is the digest of the version before, and zero for version 1 only")
	case !ValidMSP(d.Grantee):
		return errors.New("grantee is not the MSP ID of an institution")
	case d.Status != StatusActive && d.Status != StatusRevoked && d.Status != StatusInError:
		return fmt.Errorf("status is %q, it can be %q, %q or %q", clip(d.Status), StatusActive, StatusRevoked, StatusInError)
	case d.Version == 1 && d.Status != StatusActive:
		return errors.New("a first version cannot be revoked or entered in error")
	case d.Effect != EffectPermit && d.Effect != EffectDeny:
		return fmt.Errorf("effect is %q, it can be %q or %q", clip(d.Effect), EffectPermit, EffectDeny)
	}
	if _, ok := PurposeByCode(d.Purpose); !ok {
		return fmt.Errorf("purpose %q is not one that a consent may name", clip(d.Purpose))
	}
	return nil
}

func validateScope(d Document) error {
	if len(d.Operations) == 0 || len(d.Operations) > len(operations) || record.Repeats(d.Operations) {
		return errors.New("operations names each operation once and at least one")
	}
	for _, op := range d.Operations {
		if !slices.Contains(operations, op) {
			return fmt.Errorf("operation %q is unknown", clip(op))
		}
	}
	if len(d.Metrics) == 0 || len(d.Metrics) > wearable.Slots || record.Repeats(d.Metrics) {
		return errors.New("metrics names each metric once and at least one")
	}
	for _, key := range d.Metrics {
		if m, ok := wearable.ByKey(key); !ok || !m.Vital() {
			return fmt.Errorf("metric %q is no vital sign", clip(key))
		}
	}
	return nil
}

func validateTimes(d Document) error {
	if d.DataFrom >= d.DataUntil || d.DataFrom < -MaxHour || d.DataUntil > MaxHour {
		return fmt.Errorf("data period [%d, %d) is empty or out of bounds", d.DataFrom, d.DataUntil)
	}
	if d.NotBefore >= d.Expires || d.NotBefore < -MaxTime || d.Expires > MaxTime {
		return fmt.Errorf("validity [%d, %d) is empty or out of bounds", d.NotBefore, d.Expires)
	}
	return nil
}

func validateTerms(d Document) error {
	if len(d.Predicates) == 0 {
		if d.Claims != 0 {
			return errors.New("claims is how many of the predicates listed may be asked, and none is")
		}
		return nil
	}
	if d.Effect != EffectPermit || !slices.Contains(d.Operations, OpPredicate) {
		return errors.New("predicates belong to a permission that names the operation predicate")
	}
	if len(d.Predicates) > MaxTerms {
		return fmt.Errorf("%d predicates are listed, at most %d are possible", len(d.Predicates), MaxTerms)
	}
	if d.Claims < 1 || d.Claims > MaxClaims {
		return fmt.Errorf("claims is %d, it can be 1 to %d", d.Claims, MaxClaims)
	}
	for i, t := range d.Predicates {
		if err := t.validate(d.Metrics); err != nil {
			return fmt.Errorf("predicate %d: %w", i, err)
		}
		for _, other := range d.Predicates[:i] {
			if t.equal(other) {
				return fmt.Errorf("predicate %d is listed already", i)
			}
		}
	}
	return nil
}

// Follows checks that next may be recorded after previous, which is nil for a
// first version: the version counts on, the digest chains, and patient, grantee
// and effect stay. A consent that is revoked, or was entered in error, has no next
// version; a new one needs a new ID.
func Follows(network string, previous *Document, next Document) error {
	if previous == nil {
		if next.Version != 1 {
			return fmt.Errorf("version %d has no version before it on the ledger", next.Version)
		}
		return nil
	}
	switch {
	case previous.ID != next.ID || previous.Patient != next.Patient:
		return errors.New("id and patient of a consent cannot change")
	case previous.Status != StatusActive:
		return fmt.Errorf("the consent is %s, which is final; make a new one with a new id", previous.Status)
	case next.Version != previous.Version+1:
		return fmt.Errorf("version %d is recorded, so the next is %d and not %d",
			previous.Version, previous.Version+1, next.Version)
	case next.Previous != previous.Digest(network):
		return errors.New("previous is not the digest of the version on the ledger")
	case next.Grantee != previous.Grantee || next.Effect != previous.Effect:
		return errors.New("grantee and effect of a consent cannot change; make a new one with a new id")
	}
	return nil
}

// Narrower reports whether b permits nothing that a does not: both permit the
// same grantee for the same purpose, and every dimension of b lies within a.
func Narrower(a, b Document) bool {
	same := a.Patient == b.Patient && a.Grantee == b.Grantee && a.Purpose == b.Purpose &&
		a.Status == StatusActive && b.Status == StatusActive && a.Effect == EffectPermit && b.Effect == EffectPermit
	return same && within(b.Operations, a.Operations) && within(b.Metrics, a.Metrics) &&
		b.DataFrom >= a.DataFrom && b.DataUntil <= a.DataUntil &&
		b.NotBefore >= a.NotBefore && b.Expires <= a.Expires &&
		b.CapMicro <= a.CapMicro && (a.BeyondShare || !b.BeyondShare) && (a.Exact || !b.Exact) &&
		b.Claims <= a.Claims && termsWithin(b.Predicates, a.Predicates)
}

// Widens reports whether next, which is recorded after previous (nil for a first
// version), may permit what was not permitted before: a permission that is not
// narrower, and a denial that ends or does not reach as far.
func Widens(previous *Document, next Document) bool {
	switch {
	case next.Effect == EffectDeny:
		return previous != nil && !deniesAll(next, *previous)
	case next.Status != StatusActive:
		return false
	}
	return previous == nil || !Narrower(*previous, next)
}

// deniesAll reports whether a denial a denies all that the denial b does, of the same
// patient and grantee.
func deniesAll(a, b Document) bool {
	return a.Status == StatusActive && deniedBy(b.Purpose, a.Purpose) &&
		within(b.Operations, a.Operations) && within(b.Metrics, a.Metrics) &&
		a.DataFrom <= b.DataFrom && a.DataUntil >= b.DataUntil &&
		a.NotBefore <= b.NotBefore && a.Expires >= b.Expires
}

func within(inner, outer []string) bool {
	for _, s := range inner {
		if !slices.Contains(outer, s) {
			return false
		}
	}
	return true
}

// clip keeps words from outside short in error texts.
func clip(s string) string { return fault.Clip(s, 40) }

// MaxDocument bounds the JSON of a signed document in bytes.
const MaxDocument = 16 << 10

// Parse reads the JSON of a signed document strictly and validates it. It does
// not check the signature.
func Parse(data []byte) (Signed, error) {
	var s Signed
	if err := record.DecodeJSON(data, MaxDocument, &s); err != nil {
		return Signed{}, err
	}
	if err := Validate(s.Document); err != nil {
		return Signed{}, err
	}
	return s, nil
}
