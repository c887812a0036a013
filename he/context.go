package he

import (
	"crypto/sha3"
	"fmt"
	"log/slog"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Context names the network and the epoch that secrets belong to.
type Context struct {
	Network string
	Epoch   uint32
}

// maxNetworkName bounds the name of a network in bytes.
const maxNetworkName = 255

func (c Context) check() error {
	if c.Network == "" || len(c.Network) > maxNetworkName {
		return fmt.Errorf("a network's name has 1 to %d bytes, not %d", maxNetworkName, len(c.Network))
	}
	return nil
}

// MaxCorrection is the largest correction number of a window.
const MaxCorrection = record.MaxCorrection

// Window is a Unix hour (floor of seconds/3600) and the number of the sealing
// within it: 0 is the first, 1 to MaxCorrection add late data. The window of a day row
// is the day's first hour, and has no corrections.
type Window struct {
	Hour       int64
	Correction uint8
}

// DayWindow is the window of a Unix day's row.
func DayWindow(day int64) Window { return Window{Hour: day * hoursPerDay} }

func (p *Params) checkWindow(w Window) error {
	if w.Correction > MaxCorrection {
		return fmt.Errorf("window %d: correction %d is above %d", w.Hour, w.Correction, MaxCorrection)
	}
	if p.schema.Daily() && (w.Hour%hoursPerDay != 0 || w.Correction != 0) {
		return fmt.Errorf("window %d, correction %d: a day row has the window of its day", w.Hour, w.Correction)
	}
	return nil
}

// Domains of the digests that feed the expansions of this package.
const (
	domainTernary = "he-ternary/v1"
	domainWindow  = "he-window/v2"
	domainDay     = "he-day/v1"
	domainShare   = "he-share/v1"
	domainProbe   = "he-probe/v1"
)

// xof128 is cSHAKE128 (NIST SP 800-185) under a label of its own for each
// purpose, over a 32-byte digest of everything the output depends on that is not
// secret, and what is secret.
func xof128(label string, digest record.ID, secret []byte) *sha3.SHAKE {
	x := sha3.NewCSHAKE128(nil, []byte("vitalveil "+label))
	x.Write(digest[:])
	x.Write(secret)
	return x
}

// prf is KMACXOF256 (NIST SP 800-185 section 4.3.1) of a digest under a key, with
// the label as customisation: the stream that all holders of key agree on.
func prf(key []byte, digest record.ID, label string) *sha3.SHAKE {
	return kmacXOF256(key, digest[:], "vitalveil "+label)
}

func kmacXOF256(key, data []byte, custom string) *sha3.SHAKE {
	const rate = 136
	x := sha3.NewCSHAKE256([]byte("KMAC"), []byte(custom))
	block := append(leftEncode(rate), leftEncode(uint64(len(key))*8)...)
	block = append(block, key...)
	for len(block)%rate != 0 {
		block = append(block, 0)
	}
	x.Write(block)
	x.Write(data)
	x.Write([]byte{0, 1}) // right_encode(0): arbitrary output length
	return x
}

// leftEncode is left_encode of SP 800-185 section 2.3.1.
func leftEncode(n uint64) []byte {
	b := []byte{byte(n)}
	for n >>= 8; n > 0; n >>= 8 {
		b = append([]byte{byte(n)}, b...)
	}
	return append([]byte{byte(len(b))}, b...)
}

// hidden is what a secret prints as.
const hidden = "[secret]"

// redacted, embedded, makes a type print as hidden whatever the verb.
type redacted struct{}

func (redacted) String() string                 { return hidden }
func (redacted) GoString() string               { return hidden }
func (redacted) Format(f fmt.State, _ rune)     { fmt.Fprint(f, hidden) }
func (redacted) LogValue() slog.Value           { return slog.StringValue(hidden) }
func (redacted) MarshalText() ([]byte, error)   { return []byte(hidden), nil }
func (redacted) MarshalJSON() ([]byte, error)   { return []byte(`"` + hidden + `"`), nil }
func (s Seed) String() string                   { return hidden }
func (s Seed) GoString() string                 { return hidden }
func (s Seed) Format(f fmt.State, _ rune)       { fmt.Fprint(f, hidden) }
func (s Seed) LogValue() slog.Value             { return slog.StringValue(hidden) }
func (s Seed) MarshalText() ([]byte, error)     { return []byte(hidden), nil }
func (k PieceKey) String() string               { return hidden }
func (k PieceKey) GoString() string             { return hidden }
func (k PieceKey) Format(f fmt.State, _ rune)   { fmt.Fprint(f, hidden) }
func (k PieceKey) LogValue() slog.Value         { return slog.StringValue(hidden) }
func (k PieceKey) MarshalText() ([]byte, error) { return []byte(hidden), nil }
func (t Ternary) String() string                { return hidden }
func (t Ternary) GoString() string              { return hidden }
func (t Ternary) Format(f fmt.State, _ rune)    { fmt.Fprint(f, hidden) }
func (t Ternary) LogValue() slog.Value          { return slog.StringValue(hidden) }
func (t Ternary) MarshalText() ([]byte, error)  { return []byte(hidden), nil }
func (s KeySum) String() string                 { return hidden }
func (s KeySum) GoString() string               { return hidden }
func (s KeySum) Format(f fmt.State, _ rune)     { fmt.Fprint(f, hidden) }
func (s KeySum) LogValue() slog.Value           { return slog.StringValue(hidden) }
func (s KeySum) MarshalText() ([]byte, error)   { return []byte(hidden), nil }
