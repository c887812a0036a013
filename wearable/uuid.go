package wearable

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Assigned numbers of the characteristics that Decode reads (Bluetooth SIG,
// Assigned Numbers, section 3.8).
const (
	UUIDGlucose                 uint16 = 0x2A18
	UUIDTemperature             uint16 = 0x2A1C
	UUIDIntermediateTemperature uint16 = 0x2A1E
	UUIDBloodPressure           uint16 = 0x2A35
	UUIDHeartRate               uint16 = 0x2A37
	UUIDSpotOximetry            uint16 = 0x2A5E
	UUIDContinuousOximetry      uint16 = 0x2A5F
)

// codec ties a characteristic to its decoder.
type codec struct {
	uuid   uint16
	name   string
	decode func(*cursor)
}

// codecs lists what can be decoded, by ascending UUID.
var codecs = [...]codec{
	{UUIDGlucose, "Glucose Measurement", decodeGlucose},
	{UUIDTemperature, "Temperature Measurement", decodeTemperature},
	{UUIDIntermediateTemperature, "Intermediate Temperature", decodeTemperature},
	{UUIDBloodPressure, "Blood Pressure Measurement", decodeBloodPressure},
	{UUIDHeartRate, "Heart Rate Measurement", decodeHeartRate},
	{UUIDSpotOximetry, "PLX Spot-Check Measurement", decodeSpotOximetry},
	{UUIDContinuousOximetry, "PLX Continuous Measurement", decodeContinuousOximetry},
}

func codecOf(uuid uint16) *codec {
	for i := range codecs {
		if codecs[i].uuid == uuid {
			return &codecs[i]
		}
	}
	return nil
}

// Decodes tells whether Decode reads this characteristic.
func Decodes(uuid uint16) bool { return codecOf(uuid) != nil }

// Characteristics returns the 16-bit UUIDs that Decode reads, ascending.
func Characteristics() []uint16 {
	uuids := make([]uint16, len(codecs))
	for i := range codecs {
		uuids[i] = codecs[i].uuid
	}
	return uuids
}

// bluetoothBase is the tail of every 128-bit UUID that abbreviates to 16 bits
// (Bluetooth Core Specification, volume 3, part B, section 2.5.1).
const bluetoothBase = "-0000-1000-8000-00805f9b34fb"

// ParseUUID reads a 16-bit characteristic UUID: "2a37", "0x2A37", or the
// 128-bit form "00002a37-0000-1000-8000-00805f9b34fb", in either case.
func ParseUUID(s string) (uint16, error) {
	short := strings.ToLower(s)
	if full, ok := strings.CutSuffix(short, bluetoothBase); ok && len(full) == 8 {
		short, ok = strings.CutPrefix(full, "0000")
		if !ok {
			short = full
		}
	} else {
		short = strings.TrimPrefix(short, "0x")
	}
	raw, err := hex.DecodeString(short)
	if err != nil || len(raw) != 2 {
		return 0, fmt.Errorf("%.64q is not a 16-bit characteristic UUID such as 2a37, 0x2A37 or 00002a37%s", s, bluetoothBase)
	}
	return uint16(raw[0])<<8 | uint16(raw[1]), nil
}

// ParsePayload reads a payload in hexadecimal, with an optional 0x in front and
// optional blanks, colons or hyphens between whole bytes.
func ParsePayload(s string) ([]byte, error) {
	const widest = len("0x") + 3*MaxPayload
	if len(s) > widest {
		return nil, fmt.Errorf("payload of %d characters: a GATT value has at most %d bytes", len(s), MaxPayload)
	}
	var out []byte
	rest := strings.TrimPrefix(strings.TrimPrefix(s, "0x"), "0X")
	for rest != "" {
		if len(out) > 0 && strings.ContainsRune(" :-", rune(rest[0])) {
			rest = rest[1:]
		}
		if len(rest) < 2 {
			return nil, fmt.Errorf("payload %.64q: the last byte is incomplete", s)
		}
		b, err := hex.DecodeString(rest[:2])
		if err != nil {
			return nil, fmt.Errorf("payload %.64q: %q is not a hexadecimal byte", s, rest[:2])
		}
		out, rest = append(out, b[0]), rest[2:]
	}
	if len(out) > MaxPayload {
		return nil, fmt.Errorf("payload of %d bytes: a GATT value has at most %d", len(out), MaxPayload)
	}
	return out, nil
}
