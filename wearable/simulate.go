package wearable

import (
	"errors"
	"fmt"
	"slices"
)

// ErrInexact means that a characteristic cannot carry the value exactly: send
// the reading another way.
var ErrInexact = errors.New("the characteristic cannot carry this value exactly")

// Carrier returns the characteristic over which simulated sensors send a metric,
// and false where they have none.
func Carrier(metric string) (UUID, bool) {
	switch metric {
	case "heart_rate":
		return UUIDHeartRate, true
	case "pulse_rate", "spo2":
		return UUIDContinuousOximetry, true
	case "body_temp":
		return UUIDTemperature, true
	case "bp_systolic", "bp_diastolic":
		return UUIDBloodPressure, true
	}
	return "", false
}

// CanCarry tells whether the metric's Carrier can send this value exactly: heart
// rates are whole numbers from 0 to 65535, temperatures have 24 bits of
// mantissa, the others 12.
func CanCarry(metric string, v Decimal) bool {
	uuid, ok := Carrier(metric)
	if !ok {
		return false
	}
	_, err := EncodeReadings(uuid, Reading{metric, v})
	return err == nil
}

// carried says how a characteristic carries readings: the field of each metric, and
// the bytes of its float, 0 for a whole number.
var carried = map[UUID]struct {
	metrics, fields []string
	wide            int
}{
	UUIDHeartRate:               {[]string{"heart_rate"}, []string{"heart_rate"}, 0},
	UUIDTemperature:             {[]string{"body_temp"}, []string{"temperature"}, 4},
	UUIDIntermediateTemperature: {[]string{"body_temp"}, []string{"temperature"}, 4},
	UUIDContinuousOximetry:      {[]string{"spo2", "pulse_rate"}, []string{"spo2", "pulse_rate"}, 2},
	UUIDBloodPressure:           {[]string{"bp_systolic", "bp_diastolic"}, []string{"systolic", "diastolic"}, 2},
}

// EncodeReadings returns the payload that carries the readings, which must be of
// metrics of that one characteristic, each at most once, and exactly representable.
// Values that the characteristic has room for but readings lack are sent as NaN.
// It encodes heart rate, continuous oximetry, temperature (both kinds) and blood
// pressure; Encode writes everything.
func EncodeReadings(uuid UUID, readings ...Reading) ([]byte, error) {
	how, ok := carried[uuid]
	if !ok {
		return nil, fmt.Errorf("%w: %s is not made of readings alone", ErrUnsupported, uuid)
	}
	if len(readings) == 0 {
		return nil, fmt.Errorf("a payload needs a reading of one of %v", how.metrics)
	}
	n := Notification{UUID: uuid}
	seen := 0
	for _, r := range readings {
		place := slices.Index(how.metrics, r.Metric)
		if place < 0 || seen&(1<<place) != 0 {
			return nil, fmt.Errorf("one payload carries each of %v at most once: unexpected %q", how.metrics, r.Metric)
		}
		seen |= 1 << place
		value, exact := carry(r.Value, how.wide)
		if !exact {
			return nil, fmt.Errorf("%w: %s %v", ErrInexact, r.Metric, r.Value)
		}
		n.Fields = append(n.Fields, Field{Name: how.fields[place], Value: value})
		if v, ok := value.(int64); ok {
			n.Flags = heartRateFlags(v)
		}
	}
	return Encode(n)
}

// carry returns the value as the field of a payload.
func carry(v Decimal, wide int) (any, bool) {
	switch wide {
	case 0:
		return v.coef, v.over == 0 && v.scale == 0 && v.coef >= 0 && v.coef <= 0xFFFF
	case 2:
		raw, ok := EncodeSFLOAT(v)
		return DecodeSFLOAT(raw), ok
	}
	raw, ok := EncodeFLOAT(v)
	return DecodeFLOAT(raw), ok
}

// heartRateFlags: skin contact is detected; a second byte where one is too small.
func heartRateFlags(rate int64) uint32 {
	const contact, wide = 0x06, 0x01
	if rate > 0xFF {
		return contact | wide
	}
	return contact
}
