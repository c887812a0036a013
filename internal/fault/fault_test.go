package fault

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEveryCodeSurvivesTheWayThroughText(t *testing.T) {
	for code, kind := range Codes {
		e := New(code, "detail with CONFLICT: inside and %d", 7)
		for _, text := range []string{
			e.Error(),
			"chaincode response 500, " + e.Error(),
			"rpc error: code = Aborted desc = failed to endorse: (" + e.Error(),
		} {
			got := Parse(text)
			if got.Code != code || got.Detail != e.Detail {
				t.Errorf("%q was read as %q: %q", text, got.Code, got.Detail)
			}
		}
		if again := Parse(Parse(e.Error()).Error()); *again != *Parse(e.Error()) {
			t.Errorf("%s changes when read twice", code)
		}
		if kind.Meaning == "" || kind.HTTP < 400 || kind.HTTP > 599 {
			t.Errorf("%s is not documented: %+v", code, kind)
		}
	}
}

func TestTextWithoutACodeIsInternal(t *testing.T) {
	for _, text := range []string{"", "disk full", "conflict: no", "CONFLICT", "CONFLICT:none", "NO_SUCH: x"} {
		if got := Parse(text); got.Code != Internal || got.Detail != text {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
}

func TestACodeInsideAWordIsNone(t *testing.T) {
	if got := Parse("MVCC_READ_CONFLICT: key changed"); got.Code != Internal {
		t.Errorf("read as %s", got.Code)
	}
	if got := Parse("XINVALID: a, then INVALID: b"); got.Code != Invalid || got.Detail != "b" {
		t.Errorf("read as %+v", got)
	}
}

func TestErrorsMatchByCodeAndKeepTheirCauses(t *testing.T) {
	err := fmt.Errorf("submit: %w", New(Expired, "read %w after %w", io.EOF, io.ErrShortWrite))
	if !errors.Is(err, &Error{Code: Expired}) || errors.Is(err, &Error{Code: Invalid}) {
		t.Error("does not match by code")
	}
	if !errors.Is(err, io.EOF) || !errors.Is(err, io.ErrShortWrite) {
		t.Error("the causes are lost")
	}
	if errors.Is(err, &Error{Code: Expired, Detail: "another"}) {
		t.Error("matches another detail")
	}
	if Of(err) != Expired || Of(io.EOF) != Internal || Of(nil) != "" || Of(errors.New("x TOO_FEW: y")) != TooFew {
		t.Error("Of reads wrong codes")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("chaincode response 500, TOO_EARLY: wait")
	f.Add("INVALID: INVALID: x")
	f.Fuzz(func(t *testing.T, text string) {
		e := Parse(text)
		if _, known := Codes[e.Code]; !known {
			t.Fatalf("unknown code %q", e.Code)
		}
		if !strings.HasSuffix(text, e.Detail) {
			t.Fatalf("detail %q is not from the text", e.Detail)
		}
		if again := Parse(e.Error()); again.Code != e.Code || again.Detail != e.Detail {
			t.Fatalf("%q is read as %q", e.Error(), again.Error())
		}
	})
}

func TestClippedWordsAreText(t *testing.T) {
	for _, c := range []struct {
		in   string
		most int
		want string
	}{
		{"", 4, ""},
		{"four", 4, "four"},
		{"fives", 4, "five..."},
		{"aé", 3, "aé"},
		{"aéé", 4, "aé..."},
		{"aaa\U0001F493", 5, "aaa..."},
		{"a\xffb", 8, "a?b"},
		{"\xff\xff\xff\xff", 2, "?"},
	} {
		if got := Clip(c.in, c.most); got != c.want || !utf8.ValidString(got) {
			t.Errorf("Clip(%q, %d) = %q, want %q", c.in, c.most, got, c.want)
		}
	}
}
