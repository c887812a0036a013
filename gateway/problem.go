package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"buf.build/go/protovalidate"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
)

// problemType prefixes the type of a problem; the code follows.
const problemType = "urn:vitalveil:error:"

// asFault finds the fault in an error. Errors that nobody gave a code tell the
// caller nothing about our insides.
func asFault(err error) *fault.Error {
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fault.New(fault.Unavailable, "the answer took too long; try again")
	}
	return fault.New(fault.Internal, "the gateway failed; see its log")
}

// problemOf is the problem of what a service answered, or the REST front in front of it.
func problemOf(err error) api.Problem {
	var broken *protovalidate.ValidationError
	if errors.As(err, &broken) {
		p := newProblem(fault.New(fault.Invalid, "the request breaks a rule"))
		for _, v := range broken.Violations { // the first, since validation ends there
			p.Errors = append(p.Errors, api.Violation{Field: protovalidate.FieldPathString(v.Proto.GetField()), Detail: v.Proto.GetMessage()})
		}
		return p
	}
	var f *fault.Error
	if !errors.As(err, &f) { // services answer with faults alone
		st := status.Convert(err)
		f = &fault.Error{Code: codeOf(st.Code()), Detail: st.Message()}
	}
	return newProblem(f)
}

// codeOf is for errors that the REST front makes itself.
func codeOf(c codes.Code) fault.Code {
	switch c {
	case codes.InvalidArgument, codes.OutOfRange, codes.FailedPrecondition:
		return fault.Invalid
	case codes.NotFound, codes.Unimplemented:
		return fault.NotFound
	case codes.ResourceExhausted:
		return fault.TooLarge
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return fault.Unavailable
	}
	return fault.Internal
}

// maxDetail bounds a detail in bytes: some repeat what a request said.
const maxDetail = 1 << 10

func clipped(detail string) string {
	if len(detail) <= maxDetail {
		return detail
	}
	return strings.ToValidUTF8(detail[:maxDetail], "") + "..."
}

func newProblem(f *fault.Error) api.Problem {
	kind := fault.Codes[f.Code]
	return api.Problem{
		Type: problemType + string(f.Code), Title: kind.Meaning, Status: kind.HTTP,
		Detail: clipped(f.Detail), Code: f.Code, Retry: kind.Retry,
	}
}

// writeProblem is where every error of the gateway is rendered: as an RFC 9457
// problem, or under /fhir as an OperationOutcome.
func writeProblem(w http.ResponseWriter, r *http.Request, p api.Problem) {
	p.Instance = r.URL.Path
	var document any = p
	kind := "application/problem+json"
	if isFHIR(r.URL.Path) {
		document, kind = outcomeOf(p), fhirJSON
	}
	b, err := json.Marshal(document)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Del("Content-Length")
	if p.Retry {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(p.Status)
	w.Write(b)
}

// refuse answers with a fault.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := newProblem(asFault(err))
	p.Status = statusOf(err, p.Status)
	writeProblem(w, r, p)
}

// restError is the error handler of the REST front.
func restError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	writeProblem(w, r, problemOf(err))
}

// statusError is answered with another status than its code's.
type statusError struct {
	error
	status int
}

func (e statusError) Unwrap() error { return e.error }

// statusOf is the status that an error insists on, or else the usual one.
func statusOf(err error, usual int) int {
	var e statusError
	if errors.As(err, &e) {
		return e.status
	}
	return usual
}

// refuseMethod says which methods a path has.
func refuseMethod(w http.ResponseWriter, r *http.Request, methods []string) {
	w.Header().Set("Allow", strings.Join(methods, ", "))
	p := newProblem(fault.New(fault.Invalid, "%s is not allowed here; possible are %s", r.Method, strings.Join(methods, ", ")))
	p.Status = http.StatusMethodNotAllowed
	writeProblem(w, r, p)
}
