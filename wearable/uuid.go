package wearable

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// UUID names a characteristic. Its form is canonical, so that == compares: four
// lower-case hexadecimal digits where the Bluetooth SIG assigned the number
// ("2a37"), else the 36 characters of a full UUID in lower case. Take one from the
// constants, ParseUUID or UUIDFromBytes.
type UUID string

// Assigned numbers of the characteristics that Decode reads (Bluetooth SIG,
// Assigned Numbers, section 3.8).
const (
	UUIDDateTime                UUID = "2a08"
	UUIDLocalTime               UUID = "2a0f"
	UUIDGlucose                 UUID = "2a18"
	UUIDBattery                 UUID = "2a19"
	UUIDTemperature             UUID = "2a1c"
	UUIDIntermediateTemperature UUID = "2a1e"
	UUIDSystemID                UUID = "2a23"
	UUIDModel                   UUID = "2a24"
	UUIDSerial                  UUID = "2a25"
	UUIDFirmware                UUID = "2a26"
	UUIDHardware                UUID = "2a27"
	UUIDSoftware                UUID = "2a28"
	UUIDManufacturer            UUID = "2a29"
	UUIDCurrentTime             UUID = "2a2b"
	UUIDGlucoseContext          UUID = "2a34"
	UUIDBloodPressure           UUID = "2a35"
	UUIDCuffPressure            UUID = "2a36"
	UUIDHeartRate               UUID = "2a37"
	UUIDPnPID                   UUID = "2a50"
	UUIDRecordAccess            UUID = "2a52"
	UUIDSpotOximetry            UUID = "2a5e"
	UUIDContinuousOximetry      UUID = "2a5f"
	UUIDOximeterFeatures        UUID = "2a60"
	UUIDBodyComposition         UUID = "2a9c"
	UUIDWeight                  UUID = "2a9d"
	UUIDGlucoseMonitor          UUID = "2aa7"
	UUIDGlucoseMonitorFeatures  UUID = "2aa8"
	UUIDGlucoseMonitorStatus    UUID = "2aa9"
	UUIDSessionStart            UUID = "2aaa"
	UUIDSessionRunTime          UUID = "2aab"
	UUIDLiveObservations        UUID = "2b8b"
	UUIDStoredObservations      UUID = "2bdd"
)

// bluetoothBase is the tail of every full UUID that abbreviates to 16 bits
// (Bluetooth Core Specification, volume 3, part B, section 2.5.1).
const bluetoothBase = "-0000-1000-8000-00805f9b34fb"

// ParseUUID reads a characteristic's UUID in any of the forms that tools print, in
// either case: "2a37", "0x2A37", "00002a37", or a full one, with hyphens or without, such as
// "00002a37-0000-1000-8000-00805f9b34fb", which is the same as "2a37".
func ParseUUID(s string) (UUID, error) {
	short := strings.TrimPrefix(strings.ToLower(s), "0x")
	switch len(short) {
	case 4:
	case 8:
		short += bluetoothBase
	case 32:
		short = short[:8] + "-" + short[8:12] + "-" + short[12:16] + "-" + short[16:20] + "-" + short[20:]
	case 36:
		if short[8] != '-' || short[13] != '-' || short[18] != '-' || short[23] != '-' {
			return "", badUUID(s)
		}
	default:
		return "", badUUID(s)
	}
	if raw, err := hex.DecodeString(strings.ReplaceAll(short, "-", "")); err != nil || len(raw) != 2 && len(raw) != 16 {
		return "", badUUID(s)
	}
	if rest, ok := strings.CutPrefix(short, "0000"); ok && strings.HasSuffix(short, bluetoothBase) {
		return UUID(rest[:4]), nil
	}
	return UUID(short), nil
}

func badUUID(s string) error {
	return fmt.Errorf("%.64q is not a characteristic's UUID such as 2a37, 0x2A37 or 00002a37%s", s, bluetoothBase)
}

// UUIDFromBytes reads a UUID as attribute protocols carry it, least significant
// byte first, in 2, 4 or 16 bytes. Other lengths give "".
func UUIDFromBytes(raw []byte) UUID {
	text := make([]byte, 0, 36)
	for i := len(raw) - 1; i >= 0; i-- {
		if n := len(raw) - 1 - i; len(raw) == 16 && (n == 4 || n == 6 || n == 8 || n == 10) {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, raw[i:i+1])
	}
	u, err := ParseUUID(string(text))
	if err != nil {
		return ""
	}
	return u
}

// ParsePayload reads a payload in hexadecimal as tools and people write it: bytes
// run together or apart by blanks, commas, colons, hyphens or lines, each with an
// optional 0x, in brackets or not, behind a label such as "handle value:",
// "value:" or "(0x)". Numbers in brackets without 0x, as in "[6, 72]", are decimal
// where commas part them: so programs print lists of bytes.
func ParsePayload(s string) ([]byte, error) {
	const widest = 64 + 6*maxObservation
	if len(s) > widest {
		return nil, fmt.Errorf("payload of %d characters: a value has at most %d bytes", len(s), maxObservation)
	}
	text := strings.ToLower(strings.TrimSpace(s))
	if at := strings.LastIndex(text, "value:"); at >= 0 {
		text = text[at+len("value:"):]
	}
	text = strings.TrimPrefix(strings.TrimSpace(text), "(0x)")
	words := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n,:-[](){}\"'", r) })
	decimal := strings.HasPrefix(strings.TrimSpace(text), "[") && strings.Contains(text, ",") && !strings.Contains(text, "0x")
	if decimal && strings.Contains(text, "-") {
		return nil, fmt.Errorf("payload %.64q: a byte is not negative", s)
	}
	var out []byte
	for _, word := range words {
		raw, err := payloadWord(word, decimal)
		if err != nil {
			return nil, fmt.Errorf("payload %.64q: %w", s, err)
		}
		out = append(out, raw...)
	}
	if len(out) > maxObservation {
		return nil, fmt.Errorf("payload of %d bytes: a value has at most %d", len(out), maxObservation)
	}
	return out, nil
}

// payloadWord reads one word: whole bytes in hexadecimal, or one in decimal.
func payloadWord(word string, decimal bool) ([]byte, error) {
	if decimal {
		n := 0
		if _, err := fmt.Sscanf(word, "%d", &n); err != nil || n < 0 || n > 255 || fmt.Sprint(n) != word {
			return nil, fmt.Errorf("%.16q is not a byte from 0 to 255", word)
		}
		return []byte{byte(n)}, nil
	}
	digits := strings.TrimPrefix(word, "0x")
	raw, err := hex.DecodeString(digits)
	if err != nil || digits == "" {
		return nil, fmt.Errorf("%.16q is not whole bytes in hexadecimal", word)
	}
	return raw, nil
}
