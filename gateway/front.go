package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// caller is what the front found out about a request, for the services.
type caller struct {
	party   api.Authorization // zero on open routes
	key     string            // Idempotency-Key
	accepts bool              // the route answers 202
}

type callerKey struct{}

// front stands before the handler of a table of routes: one spelling of each path, bounded and
// strictly parsed bodies, verified signatures. What it passes on has none of
// the caller's headers.
func (g *Gateway) front(table []route, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, allow, err := findRoute(table, r)
		if err != nil {
			p := newProblem(asFault(err))
			if allow != nil {
				w.Header()["Allow"] = allow
				p.Status = http.StatusMethodNotAllowed
			}
			writeProblem(w, r, p)
			return
		}
		start := time.Now()
		release, err := g.enter(r.Context(), c)
		if err != nil {
			refuse(w, r, err)
			return
		}
		defer release()
		clean, err := g.admit(w, r, c)
		if err == nil && c.stream {
			// Once a stream has begun, an error cannot be a problem document.
			_, _, err = g.ops.get(streamID(r))
		}
		if err != nil {
			g.answerRefusal(w, r, err)
		} else {
			next.ServeHTTP(w, clean)
		}
		g.log.Debug("request", "method", c.method, "route", c.name, "refused", err != nil, "took", time.Since(start))
	})
}

// streamID is the operation that the path of a stream names.
func streamID(r *http.Request) record.ID {
	name := strings.TrimSuffix(path.Base(r.URL.Path), ":watch")
	id, err := record.ParseID(name)
	if err != nil {
		return record.ID{} // names no operation
	}
	return id
}

// authError marks a failure of the request's own signature: 401 instead of the
// 403 of a document's signature.
type authError struct{ error }

func (e authError) Unwrap() error { return e.error }

func (g *Gateway) answerRefusal(w http.ResponseWriter, r *http.Request, err error) {
	p := newProblem(asFault(err))
	if errors.As(err, &authError{}) && p.Code == fault.BadSignature {
		p.Status = http.StatusUnauthorized
	}
	writeProblem(w, r, p)
}

// admit checks a request and returns the one to pass on.
func (g *Gateway) admit(w http.ResponseWriter, r *http.Request, c route) (*http.Request, error) {
	if err := c.checkQuery(r); err != nil {
		return nil, err
	}
	var who api.Authorization
	var keys [][]byte
	if c.parties != nil {
		// Before the body is read: a stranger costs a lookup, not eight megabytes.
		var err error
		if who, keys, err = g.identify(r, c); err != nil {
			return nil, authError{err}
		}
	}
	body, err := readBody(w, r, c)
	if err != nil {
		return nil, err
	}
	if c.parties != nil {
		if err := g.verifyRequest(r, who, keys, body); err != nil {
			return nil, authError{err}
		}
	}
	if err := checkJSON(r, c, body); err != nil {
		return nil, err
	}
	idem := r.Header.Get("Idempotency-Key")
	if idem != "" && !keyPattern.MatchString(idem) {
		return nil, fault.New(fault.Invalid, "an Idempotency-Key has 1 to 128 letters, digits or any of . _ : -")
	}
	ctx := context.WithValue(r.Context(), callerKey{}, caller{party: who, key: idem, accepts: c.method == http.MethodPost})
	clean := r.Clone(ctx)
	clean.Header = http.Header{"Content-Type": {"application/json"}}
	if accept := r.Header.Get("Accept"); accept == eventStream {
		clean.Header.Set("Accept", accept)
	}
	clean.Body = io.NopCloser(bytes.NewReader(body))
	clean.ContentLength = int64(len(body))
	return clean, nil
}

var keyPattern = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// Uploads are taken a few at a time, so that memory stays bounded; others wait a
// little for their turn. Streams are many, and bounded too.
const (
	maxUploads  = 32
	maxStreams  = 2048
	maxWaitTurn = 5 * time.Second
)

// enter waits until the route may be served; the function it returns ends that.
func (g *Gateway) enter(ctx context.Context, c route) (func(), error) {
	if c.stream {
		return g.enterStream()
	}
	if c.maxBody <= api.MaxBody {
		return func() {}, nil
	}
	wait := time.NewTimer(maxWaitTurn)
	defer wait.Stop()
	select {
	case g.large <- struct{}{}:
		return func() { <-g.large }, nil
	case <-wait.C:
		return nil, fault.New(fault.Unavailable, "too many uploads at once; try again")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (g *Gateway) enterStream() (func(), error) {
	select {
	case g.streams <- struct{}{}:
		return func() { <-g.streams }, nil
	default:
		return nil, fault.New(fault.Unavailable, "too many streams at once; get the operation instead")
	}
}

// readBody reads at most what the route allows.
func readBody(w http.ResponseWriter, r *http.Request, c route) ([]byte, error) {
	if r.ContentLength > c.maxBody {
		return nil, tooLarge(c)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, c.maxBody))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, tooLarge(c)
	case err != nil:
		return nil, fault.New(fault.Invalid, "the body could not be read to its end")
	}
	return body, nil
}

func tooLarge(c route) error {
	if c.maxBody == 0 {
		return fault.New(fault.TooLarge, "this request takes no body")
	}
	return fault.New(fault.TooLarge, "the body is over the limit of %d bytes", c.maxBody)
}

// checkJSON refuses what the message parser would let through: other content
// types, duplicate keys in any spelling, trailing data.
func checkJSON(r *http.Request, c route, body []byte) error {
	if c.maxBody == 0 {
		return nil
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset, has := params["charset"]
	if err != nil || kind != "application/json" || has && charset != "utf-8" || r.Header.Get("Content-Encoding") != "" {
		return fault.New(fault.Invalid, "the body must be application/json, not encoded")
	}
	var value json.RawMessage
	if err := record.DecodeJSON(body, len(body), &value); err != nil {
		return fault.New(fault.Invalid, "the body is not one JSON object: %s", err)
	}
	if len(value) == 0 || value[0] != '{' {
		return fault.New(fault.Invalid, "the body is not one JSON object")
	}
	return nil
}
