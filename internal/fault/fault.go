// Package fault is the one error that crosses process boundaries: chaincode
// returns it, both ledgers carry it as text, institutions and gateway pass it
// on, and only the gateway renders it (RFC 9457 problem, FHIR OperationOutcome).
//
// What gets lost on the way: wrapped causes. What survives: code and detail.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Code names a class of failure; its meaning and whether to retry is in Codes.
type Code string

// The codes. Callers may switch on them; they never change meaning.
const (
	Invalid      Code = "INVALID"
	Forbidden    Code = "FORBIDDEN"
	NotFound     Code = "NOT_FOUND"
	Conflict     Code = "CONFLICT"
	BadSignature Code = "BAD_SIGNATURE"
	Exhausted    Code = "EXHAUSTED"
	TooEarly     Code = "TOO_EARLY"
	Expired      Code = "EXPIRED"
	TooLarge     Code = "TOO_LARGE"
	TooFew       Code = "TOO_FEW"
	Purged       Code = "PURGED"
	Contention   Code = "CONTENTION"
	Unavailable  Code = "UNAVAILABLE"
	Internal     Code = "INTERNAL"
)

// Kind says what a code means and what the caller should do.
type Kind struct {
	Meaning string
	// Retry is true when the same request may succeed later unchanged.
	Retry bool
	// HTTP is the status that the gateway answers.
	HTTP int
}

// Codes documents every code.
var Codes = map[Code]Kind{
	Invalid:      {"the request is malformed or breaks a rule; correct it", false, 400},
	Forbidden:    {"this identity, or the patient's consent, does not allow it", false, 403},
	NotFound:     {"what the request names is not on the ledger", false, 404},
	Conflict:     {"something else is already recorded under this name", false, 409},
	BadSignature: {"a signature is not the required key's over these bytes", false, 403},
	Exhausted:    {"a budget or a cap is used up", false, 403},
	TooEarly:     {"ledger time has not reached the moment this is allowed", true, 425},
	Expired:      {"ledger time has passed the moment this was allowed", false, 410},
	TooLarge:     {"the input is over a size limit", false, 413},
	TooFew:       {"fewer patients than the minimum cohort", false, 422},
	Purged:       {"its patient was erased, and with it this; that is final", false, 410},
	Contention:   {"another transaction changed the same key first; retry", true, 409},
	Unavailable:  {"a part of the system is not reachable now", true, 503},
	Internal:     {"an unexpected failure; see the log of the part that answered", false, 500},
}

// Error is a coded failure with a detail that says what to do.
type Error struct {
	Code   Code
	Detail string
	cause  error
}

// New makes an Error; %w verbs keep their causes for errors.Is in this process.
func New(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Detail: err.Error(), cause: err}
}

// Error returns "CODE: detail", the form that Parse reads back.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Detail }

func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is(err, &Error{Code: c}) match by code alone.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Detail == ""
}

// Parse recovers an Error from text that carries one, such as a peer's message
// around a chaincode error. The first known code counts that is a word of its
// own, so that MVCC_READ_CONFLICT is not read as CONFLICT. Text without a known
// code becomes Internal.
func Parse(text string) *Error {
	best, code := -1, Code("")
	for c := range Codes {
		if i := index(text, c); i >= 0 && (best < 0 || i < best) {
			best, code = i, c
		}
	}
	if best < 0 {
		return &Error{Code: Internal, Detail: text}
	}
	return &Error{Code: code, Detail: text[best+len(code)+2:]}
}

// index finds "CODE: " where no other word runs into it, or returns -1.
func index(text string, c Code) int {
	mark := string(c) + ": "
	for from := 0; ; {
		i := strings.Index(text[from:], mark)
		if i < 0 {
			return -1
		}
		i += from
		if i == 0 || !partOfWord(text[i-1]) {
			return i
		}
		from = i + 1
	}
}

func partOfWord(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z'
}

// Of returns the code of err: its own if it is or wraps an Error, the one its
// text carries otherwise. The code of no error is empty.
func Of(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Parse(err.Error()).Code
}

// Clip keeps at most so many bytes of words from outside, for a detail: cut
// between two characters, and with "?" in place of what is not UTF-8, so that
// what is made of them is text that every process can pass on.
func Clip(s string, most int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
