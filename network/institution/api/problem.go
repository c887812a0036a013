package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/vitalveil/vitalveil/internal/fault"
)

// problemType prefixes the type of a problem; the code follows. The gateway's are the same.
const problemType = "urn:vitalveil:error:"

// Codes of the door, beside those of package fault. They never change meaning.
const (
	Unauthenticated fault.Code = "UNAUTHENTICATED"
	RateLimited     fault.Code = "RATE_LIMITED"
	Misdirected     fault.Code = "MISDIRECTED"
	NoSuchMethod    fault.Code = "NO_SUCH_METHOD"
	MediaType       fault.Code = "MEDIA_TYPE"
)

// doorCodes are what the door's codes mean.
var doorCodes = map[fault.Code]fault.Kind{
	Unauthenticated: {Meaning: "nobody showed a certificate or a token that counts", HTTP: http.StatusUnauthorized},
	RateLimited:     {Meaning: "this caller has asked too much for now; wait", Retry: true, HTTP: http.StatusTooManyRequests},
	Misdirected:     {Meaning: "this server does not answer to that name", HTTP: http.StatusMisdirectedRequest},
	NoSuchMethod:    {Meaning: "the resource has no such method", HTTP: http.StatusMethodNotAllowed},
	MediaType:       {Meaning: "bodies are JSON; answers are what the route lists", HTTP: http.StatusUnsupportedMediaType},
}

// Problem is every error of the interface (RFC 9457).
type Problem struct {
	Type     string      `json:"type" format:"uri" doc:"urn:vitalveil:error: and the code; stable."`
	Title    string      `json:"title" doc:"What the code means."`
	Status   int         `json:"status" doc:"The HTTP status."`
	Detail   string      `json:"detail" doc:"What happened, and what to do."`
	Instance string      `json:"instance,omitempty" format:"uri" doc:"urn:vitalveil:request: and the request's identifier, which is in the log."`
	Code     string      `json:"code" doc:"The class of the failure; stable."`
	Retry    bool        `json:"retry" doc:"Whether the same request may succeed later unchanged."`
	Errors   []Violation `json:"errors,omitempty" doc:"Fields that break a rule."`

	header http.Header
}

// Violation is one field that breaks a rule.
type Violation struct {
	Field  string `json:"field" doc:"Where, such as body.rho."`
	Detail string `json:"detail" doc:"What is wrong with it."`
}

func (p *Problem) Error() string           { return p.Detail }
func (p *Problem) GetStatus() int          { return p.Status }
func (p *Problem) GetHeaders() http.Header { return p.header }

// ContentType is that of problems.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// maxDetail bounds a detail in bytes: some repeat what a request said.
const maxDetail = 1 << 10

func newProblem(code fault.Code, detail string) *Problem {
	kind, known := fault.Codes[code]
	if !known {
		kind = doorCodes[code]
	}
	return &Problem{Type: problemType + string(code), Title: kind.Meaning, Status: kind.HTTP, Detail: fault.Clip(detail, maxDetail), Code: string(code), Retry: kind.Retry, header: http.Header{}}
}

// problemOf is the problem of what the institution answered. Errors that nobody gave a
// code tell the caller nothing about our insides.
func problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	f, ok := errors.AsType[*fault.Error](err)
	switch {
	case ok:
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		f = fault.New(fault.Unavailable, "the answer took too long; try again")
	default:
		f = fault.New(fault.Internal, "the institution failed; its log says how")
	}
	p := newProblem(f.Code, f.Detail)
	if p.Retry {
		p.header.Set("Retry-After", "2")
	}
	return p
}

// The library makes errors of its own where a request does not fit the document. Only this
// package uses it, so that all of them are problems.
func init() {
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		if status == http.StatusNotModified {
			return &Problem{Status: status, header: http.Header{}}
		}
		p := newProblem(codeOf(status), message)
		for _, err := range errs {
			d, ok := errors.AsType[*huma.ErrorDetail](err)
			if !ok {
				d = &huma.ErrorDetail{Message: err.Error()}
			}
			p.Errors = append(p.Errors, Violation{Field: d.Location, Detail: fault.Clip(d.Message, maxDetail)})
		}
		return p
	}
}

func codeOf(status int) fault.Code {
	switch status {
	case http.StatusNotFound:
		return fault.NotFound
	case http.StatusRequestEntityTooLarge:
		return fault.TooLarge
	case http.StatusUnsupportedMediaType, http.StatusNotAcceptable:
		return MediaType
	case http.StatusRequestTimeout:
		return fault.Unavailable
	}
	if status >= http.StatusInternalServerError {
		return fault.Internal
	}
	return fault.Invalid
}

// write answers with the problem, outside of the library.
func (p *Problem) write(w http.ResponseWriter) {
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // whoever went away misses nothing
}
