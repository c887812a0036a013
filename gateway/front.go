package gateway

import (
	"bytes"
	"context"
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
	party   api.Party // zero when nobody signed, or nobody has to
	owner   string    // who answers for the party: of a device its patient
	address string    // that the request came from
	key     string    // Idempotency-Key
	accepts bool      // the route answers 202
}

// name is by whom a caller's places and pace are counted: a person with many devices
// has the places of one.
func (c caller) name() string {
	if c.owner != "" {
		return c.owner
	}
	return c.address
}

type callerKey struct{}

// door lets requests in: it finds out who calls, and bounds what they have done for them.
// Nothing is built of a body before its sender is known, as far as a route has one, and
// no call runs once the door is closed.
type door struct {
	*ledger
	ops     *operations
	keys    *keyCache
	now     func() time.Time
	bounds  *bounds
	origins map[string]bool // of pages that may call the gateway from a browser
	calls   gate
	drain   <-chan struct{} // closed: streams end
	life    context.Context // of all work
}

// front stands before the handler of a table of routes. It does what costs least
// first: route, declared length and form, signature of the header, a place for the
// caller, then the body at its least rate, its digest, the number of its items. Only
// then is anything built. What it passes on has none of the caller's headers.
func (d *door) front(table []route, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, methods := findRoute(table, r)
		switch {
		case methods == nil:
			refuse(w, r, fault.New(fault.NotFound, "there is nothing at this path; the interface is described at /docs"))
			return
		case r.Method == http.MethodOptions:
			d.options(w, r, methods)
			return
		case c == nil:
			refuseMethod(w, r, methods)
			return
		}
		start := time.Now()
		err := d.serve(w, r, *c, next)
		if err != nil {
			d.answerRefusal(w, r, err)
		}
		d.log.Debug("request", "method", r.Method, "route", c.name, "refused", err != nil, "took", time.Since(start))
	})
}

// serve checks a request and has it answered, or returns why not.
func (d *door) serve(w http.ResponseWriter, r *http.Request, c route, next http.Handler) error {
	if err := c.checkQuery(r.URL.RawQuery); err != nil {
		return err
	}
	if isFHIR(c.name) {
		if err := checkFHIRFormat(r); err != nil {
			return err
		}
	}
	if err := checkDeclared(r, c); err != nil {
		return err
	}
	who, err := d.identify(r, c)
	if err != nil {
		return err
	}
	leave, err := d.bounds.enter(r.Context(), c, who.name())
	if err != nil {
		return err
	}
	defer leave()
	if c.maxBody > 0 {
		return d.serveBody(w, r, c, who, next)
	}
	_, release, err := d.bounds.readBody(w, r, c, who.name()) // none may come
	if err != nil {
		return err
	}
	defer release()
	if c.stream {
		return d.watch(w, r)
	}
	next.ServeHTTP(w, clean(whole(r), r, c, who, nil))
	return nil
}

// serveBody is for requests with a body. What its length takes of the bounds is given
// back before the answer is written, which its reader may take slowly.
func (d *door) serveBody(w http.ResponseWriter, r *http.Request, c route, who caller, next http.Handler) error {
	answer := &heldAnswer{header: w.Header(), status: http.StatusOK}
	if err := d.workOn(answer, w, r, c, who, next); err != nil {
		return err
	}
	w.WriteHeader(answer.status)
	_, err := w.Write(answer.body.Bytes())
	if err != nil {
		d.log.Debug("an answer was not taken", "route", c.name, "error", err)
	}
	return nil
}

// workOn reads a body and has it worked on.
func (d *door) workOn(answer *heldAnswer, w http.ResponseWriter, r *http.Request, c route, who caller, next http.Handler) error {
	body, release, err := d.bounds.readBody(w, r, c, who.name())
	if err != nil {
		return err
	}
	defer release()
	if isWire(r) {
		err = scanWire(body, c.message, c.items)
	} else {
		err = scan(body, c.items)
	}
	if err != nil {
		return err
	}
	rest, err := d.bounds.work(r.Context(), len(body))
	if err != nil {
		return err
	}
	defer rest()
	next.ServeHTTP(answer, clean(whole(r), r, c, who, body))
	return nil
}

// heldAnswer is an answer that is not yet written.
type heldAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *heldAnswer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *heldAnswer) WriteHeader(status int) { a.status = status }

// Write implements http.ResponseWriter.
func (a *heldAnswer) Write(b []byte) (int, error) { return a.body.Write(b) }

// whole is the context of a request's work, which goes on when the caller hangs up: its
// place is taken until the work is done, and the services bound how long that is.
func whole(r *http.Request) context.Context { return context.WithoutCancel(r.Context()) }

// clean is the request that is passed on.
func clean(ctx context.Context, r *http.Request, c route, who caller, body []byte) *http.Request {
	passed := r.Clone(context.WithValue(ctx, callerKey{}, who))
	passed.Method = c.method // GET for HEAD
	passed.Header = http.Header{"Content-Type": {"application/json"}}
	passed.Body = &wholeBody{body, isWire(r)}
	passed.ContentLength = int64(len(body))
	return passed
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

// answerRefusal answers a request whose body was perhaps not read, and does not wait
// for it.
func (d *door) answerRefusal(w http.ResponseWriter, r *http.Request, err error) {
	p := newProblem(asFault(err))
	p.Status = statusOf(err, p.Status)
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Signature")
		w.Header().Set("Accept-Signature", api.AcceptSignature(r, d.genesis.Network))
	}
	if r.ContentLength != 0 {
		in := slowest{http.NewResponseController(w), time.Now()}
		if err := in.deadline(time.Now().Add(refusedFor)); err != nil {
			w.Header().Set("Connection", "close")
		}
	}
	writeProblem(w, r, p)
}

var keyPattern = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// idempotencyKey is the key of a request, which may have none.
func idempotencyKey(r *http.Request) (string, error) {
	keys := r.Header.Values(api.HeaderKey)
	if len(keys) == 0 {
		return "", nil
	}
	if len(keys) != 1 || !keyPattern.MatchString(keys[0]) {
		return "", fault.New(fault.Invalid, "an Idempotency-Key has 1 to 128 letters, digits or any of . _ : -, and a request one of them")
	}
	return keys[0], nil
}
