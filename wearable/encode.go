package wearable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// ErrInexact means that a characteristic cannot carry the value exactly: send
// the reading another way.
var ErrInexact = errors.New("the characteristic cannot carry this value exactly")

// Carrier returns the characteristic over which simulated sensors send a metric,
// and false where they have none.
func Carrier(metric string) (uint16, bool) {
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
	return 0, false
}

// CanCarry tells whether the metric's Carrier can send this value exactly: heart
// rates are whole numbers from 0 to 65535, temperatures have 24 bits of
// mantissa, the others 12.
func CanCarry(metric string, v Decimal) bool {
	uuid, ok := Carrier(metric)
	switch {
	case !ok:
		return false
	case uuid == UUIDHeartRate:
		_, ok = v.uint16()
	case uuid == UUIDTemperature:
		_, ok = EncodeFLOAT(v)
	default:
		_, ok = EncodeSFLOAT(v)
	}
	return ok
}

// uint16 returns d where it is a whole number from 0 to 65535.
func (d Decimal) uint16() (uint16, bool) {
	return uint16(d.coef), d.over == 0 && d.scale == 0 && d.coef >= 0 && d.coef <= 0xFFFF
}

// Encode returns the payload that carries the readings, which must be of metrics
// of that one characteristic, each at most once, and exactly representable.
// Values that the characteristic has room for but readings lack are sent as NaN.
// It encodes heart rate, continuous oximetry, temperature (both kinds) and blood
// pressure.
func Encode(uuid uint16, readings ...Reading) ([]byte, error) {
	switch uuid {
	case UUIDHeartRate:
		values, err := pick(readings, "heart_rate")
		if err != nil {
			return nil, err
		}
		return EncodeHeartRate(*values[0], nil)
	case UUIDTemperature, UUIDIntermediateTemperature:
		values, err := pick(readings, "body_temp")
		if err != nil {
			return nil, err
		}
		return encodeTemperature(*values[0])
	case UUIDContinuousOximetry:
		return encodeSFLOATs(readings, "spo2", "pulse_rate")
	case UUIDBloodPressure:
		payload, err := encodeSFLOATs(readings, "bp_systolic", "bp_diastolic")
		if err != nil {
			return nil, err
		}
		// The mean pressure is not known here.
		return binary.LittleEndian.AppendUint16(payload, SFLOATNaN), nil
	}
	return nil, fmt.Errorf("%w: %04x is not encoded", ErrUnsupported, uuid)
}

// pick orders readings by the given metrics, nil where one is missing. At least
// one must be there, and nothing else may be.
func pick(readings []Reading, metrics ...string) ([]*Decimal, error) {
	values := make([]*Decimal, len(metrics))
	for i := range readings {
		place := slices.Index(metrics, readings[i].Metric)
		if place < 0 || values[place] != nil {
			return nil, fmt.Errorf("one payload carries each of %v at most once: unexpected %q", metrics, readings[i].Metric)
		}
		values[place] = &readings[i].Value
	}
	if len(readings) == 0 {
		return nil, fmt.Errorf("a payload needs a reading of one of %v", metrics)
	}
	return values, nil
}

// encodeSFLOATs returns flags 0 followed by one SFLOAT per metric.
func encodeSFLOATs(readings []Reading, metrics ...string) ([]byte, error) {
	values, err := pick(readings, metrics...)
	if err != nil {
		return nil, err
	}
	payload := make([]byte, 1, 1+2*len(values)+2)
	for i, v := range values {
		raw := SFLOATNaN
		if v != nil {
			exact := false
			if raw, exact = EncodeSFLOAT(*v); !exact {
				return nil, fmt.Errorf("%w: %s %v", ErrInexact, metrics[i], v)
			}
		}
		payload = binary.LittleEndian.AppendUint16(payload, raw)
	}
	return payload, nil
}

// maxRR keeps a heart rate payload within the 20 bytes of the smallest MTU.
const maxRR = 8

// EncodeHeartRate returns a 0x2A37 payload with skin contact detected and
// optional RR-intervals in 1/1024 s, at most 8, oldest first.
func EncodeHeartRate(rate Decimal, rr []uint16) ([]byte, error) {
	whole, ok := rate.uint16()
	if !ok {
		return nil, fmt.Errorf("%w: heart_rate %v", ErrInexact, rate)
	}
	if len(rr) > maxRR {
		return nil, fmt.Errorf("%d RR-intervals do not fit a payload, at most %d do", len(rr), maxRR)
	}
	const contact = 0x06
	payload := []byte{contact, byte(whole)}
	if whole > 0xFF {
		payload = []byte{contact | 0x01, byte(whole), byte(whole >> 8)}
	}
	if len(rr) > 0 {
		payload[0] |= 0x10
	}
	for _, interval := range rr {
		payload = binary.LittleEndian.AppendUint16(payload, interval)
	}
	return payload, nil
}

// encodeTemperature returns a 0x2A1C or 0x2A1E payload in degrees Celsius.
func encodeTemperature(celsius Decimal) ([]byte, error) {
	raw, ok := EncodeFLOAT(celsius)
	if !ok {
		return nil, fmt.Errorf("%w: body_temp %v", ErrInexact, celsius)
	}
	return binary.LittleEndian.AppendUint32([]byte{0}, raw), nil
}
