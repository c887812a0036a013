package record

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

const (
	goldenCode = "000G-40R4-0M30-E209-185G-R38E-1YGJ" // of the bytes 0 to 15
	goldenKey  = "036424f3362bea65b8b01d228bc73a189695fc285f1e24d9db16ecebf5e9db22a6"
)

// The golden vector was computed with another implementation of HKDF and P-256.
func TestARecoveryKeyFollowsFromItsCode(t *testing.T) {
	var c RecoveryCode
	for i := range c.secret {
		c.secret[i] = byte(i)
	}
	key, err := c.Key("vitalveil-test")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Text(); got != goldenCode {
		t.Errorf("text %s, want %s", got, goldenCode)
	}
	if got := hex.EncodeToString(PublicKeyBytes(&key.PublicKey)); got != goldenKey {
		t.Errorf("key %s, want %s", got, goldenKey)
	}
	other, err := c.Key("another-network")
	if err != nil || other.Equal(key) {
		t.Errorf("the same key on two networks (%v)", err)
	}
}

func TestPeopleWriteRecoveryCodesInTheirOwnWay(t *testing.T) {
	for range 200 {
		c := NewRecoveryCode()
		text := c.Text()
		if len(text) != 34 || strings.Count(text, "-") != 6 {
			t.Fatalf("%q is not seven groups of four", text)
		}
		for _, way := range []string{
			text, strings.ToLower(text), strings.ReplaceAll(text, "-", ""), strings.ReplaceAll(text, "-", " "),
			strings.NewReplacer("0", "o", "1", "l").Replace(text), strings.ReplaceAll(text, "1", "I"),
		} {
			if back, err := ParseRecoveryCode(way); err != nil || back != c {
				t.Fatalf("%q written as %q: %v", text, way, err)
			}
		}
	}
}

func TestMistakesInARecoveryCodeAreFound(t *testing.T) {
	wrong, accepted := 0, 0
	for range 20 {
		text := NewRecoveryCode().Text()
		for i := range text {
			if text[i] == '-' {
				continue
			}
			for _, d := range crockford {
				if byte(d) == text[i] {
					continue
				}
				wrong++
				if _, err := ParseRecoveryCode(text[:i] + string(d) + text[i+1:]); err == nil {
					accepted++
				} else if !errors.Is(err, ErrRecoveryCode) {
					t.Fatal(err)
				}
			}
		}
	}
	if accepted > wrong/400 { // 1/4096 on average
		t.Errorf("%d of %d mistakes of one digit were accepted", accepted, wrong)
	}
	good := NewRecoveryCode().Text()
	for _, bad := range []string{"", "0", good[:33], good + "0", good + good, strings.Repeat(" ", 65), "U" + good[1:], "é" + good[1:], good[:5]} {
		if _, err := ParseRecoveryCode(bad); !errors.Is(err, ErrRecoveryCode) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestARecoveryCodeDoesNotPrint(t *testing.T) {
	c := NewRecoveryCode()
	raw, err := json.Marshal(map[string]any{"code": c})
	if err != nil {
		t.Fatal(err)
	}
	secret := hex.EncodeToString(c.secret[:])
	for _, out := range []string{fmt.Sprint(c), fmt.Sprintf("%v %+v %#v %s", c, c, c, c), fmt.Sprintf("%v", &c), string(raw)} {
		if !strings.Contains(out, redacted) || strings.Contains(out, secret) || strings.Contains(out, c.Text()) {
			t.Errorf("it prints as %s", out)
		}
	}
}

func FuzzParseRecoveryCode(f *testing.F) {
	f.Add("0000-0000-0000-0000-0000-0000-0000")
	f.Add(goldenCode)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseRecoveryCode(text)
		if err != nil {
			return
		}
		if back, err := ParseRecoveryCode(c.Text()); err != nil || back != c {
			t.Fatalf("%q reads as %q, which does not read back", text, c.Text())
		}
	})
}
