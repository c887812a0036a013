package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"reflect"
	"strings"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
)

// A body has to come at bodyRate from bodyGrace after its request on: whoever is
// slower is cut, having held no more than what came.
const (
	bodyRate   = 32 << 10 // bytes per second
	bodyGrace  = 5 * time.Second
	firstRead  = 16 << 10
	refusedFor = time.Second // the body of a refused request is waited for
)

// checkDeclared refuses a body by what the header says of it.
func checkDeclared(r *http.Request, c route) error {
	if r.ContentLength > c.maxBody {
		return tooLarge(c)
	}
	if c.maxBody == 0 {
		return nil
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset, has := params["charset"]
	encoding := r.Header.Get("Content-Encoding")
	known := kind == "application/json" || isWire(r)
	if err != nil || !known || has && !strings.EqualFold(charset, "utf-8") || encoding != "" && !strings.EqualFold(encoding, "identity") {
		return statusError{fault.New(fault.Invalid, "the body must be application/json in UTF-8 or %s, not encoded", api.MediaWire), http.StatusUnsupportedMediaType}
	}
	return nil
}

// isWire says that a body is in the wire format. It can never be taken for JSON, nor JSON
// for it: no field begins as an object does.
func isWire(r *http.Request) bool {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == api.MediaWire && len(params) == 0
}

func tooLarge(c route) error {
	if c.maxBody == 0 {
		return fault.New(fault.TooLarge, "this request takes no body")
	}
	return fault.New(fault.TooLarge, "the body is over the limit of %d bytes", c.maxBody)
}

// readBody reads a body of at most the route's length, at its least rate, and
// insists on the digest that the header states. The function that it returns gives the
// memory back.
func (b *bounds) readBody(w http.ResponseWriter, r *http.Request, c route, who string) ([]byte, func(), error) {
	want, stated, err := api.ContentDigest(r.Header)
	if err != nil {
		return nil, nil, err
	}
	in := &incoming{most: c.maxBody + 1, slowest: slowest{http.NewResponseController(w), time.Now().Add(b.grace)}}
	in.memory = b.forBody(r.ContentLength).reading.claim(who, in.stopReading)
	if r.ContentLength >= 0 {
		in.most = r.ContentLength + 1 // one more, to see the end
	}
	err = in.readAll(r.Context(), http.MaxBytesReader(w, r.Body, c.maxBody))
	if cut := in.memory.came(); cut != nil {
		err = cut
	}
	if err == nil && stated && sha256.Sum256(in.body) != want {
		err = unsigned(fault.New(fault.BadSignature, "the body is not the one whose SHA-256 is in %s", api.HeaderDigest))
	}
	if err == nil {
		err = in.slowest.done()
	}
	var over *http.MaxBytesError
	var f *fault.Error
	switch {
	case errors.As(err, &over):
		err = tooLarge(c)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = statusError{fault.New(fault.Unavailable, "the body came too slowly: at least %d bytes a second are needed", bodyRate), http.StatusRequestTimeout}
	case err != nil && !errors.As(err, &f):
		err = fault.New(fault.Invalid, "the body could not be read to its end")
	}
	if err != nil {
		in.memory.release()
		return nil, nil, err
	}
	return in.body, in.memory.release, nil
}

// incoming is a body that grows with what came of it, and takes memory as it
// does.
type incoming struct {
	slowest
	memory *claim
	most   int64 // bytes that may come
	body   []byte
}

func (in *incoming) readAll(ctx context.Context, from io.Reader) error {
	for {
		if len(in.body) == cap(in.body) {
			if err := in.grow(ctx); err != nil {
				return err
			}
		}
		if err := in.until(len(in.body)); err != nil {
			return err
		}
		if in.memory.cut.Load() { // looked at behind the deadline, which is moved when it is cut
			return errCut
		}
		n, err := from.Read(in.body[len(in.body):cap(in.body)])
		in.body = in.body[:len(in.body)+n]
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (in *incoming) grow(ctx context.Context) error {
	next := min(max(firstRead, 2*in.memory.bytes), in.most)
	if next <= in.memory.bytes {
		next = in.memory.bytes + 1 // the reader ends it
	}
	asked := time.Now()
	if err := in.memory.grow(ctx, next-in.memory.bytes); err != nil {
		return err
	}
	in.grace = in.grace.Add(time.Since(asked)) // the wait was not the sender's
	bigger := make([]byte, len(in.body), next)
	copy(bigger, in.body)
	in.body = bigger
	return nil
}

// acquire takes from what all share, and waits a little for it.
func acquire(ctx context.Context, from *semaphore.Weighted, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, maxWaitTurn)
	defer cancel()
	if err := from.Acquire(ctx, n); err != nil {
		return crowded("too much is being sent at once")
	}
	return nil
}

// slowest moves the deadline of a connection along with what has come.
type slowest struct {
	control *http.ResponseController
	grace   time.Time // from then on it counts how much has come
}

func (s slowest) until(came int) error {
	return s.deadline(s.grace.Add(time.Duration(came) * time.Second / bodyRate))
}

// done gives the answer its whole time, however long the body took.
func (s slowest) done() error {
	if err := s.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return s.deadline(time.Time{})
}

func (s slowest) deadline(t time.Time) error {
	if err := s.control.SetReadDeadline(t); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// work waits until a body of n bytes may be worked on. The function that it returns
// ends that.
func (b *bounds) work(ctx context.Context, n int) (func(), error) {
	weight, working := int64(workBase+workFactor*n), b.forBody(int64(n)).working
	if err := acquire(ctx, working, weight); err != nil {
		return nil, err
	}
	return func() { working.Release(weight) }, nil
}

// maxNesting bounds nested objects and lists; no message of ours nests deeper than six.
const maxNesting = 16

var (
	errNoObject  = fault.New(fault.Invalid, "the body is not one JSON object")
	errManyItems = fault.New(fault.TooLarge, "the lists of the body have more items than this route takes")
)

// scan insists that a body is one JSON object, as far as brackets and strings go,
// with at most so many items in all of its lists together. It builds nothing: what
// it lets through is small enough to be parsed, and the parser insists on the rest.
func scan(body []byte, items int) error {
	s := scanner{items: items}
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case s.inString && c == '\\':
			i++
		case s.inString:
			s.inString = c != '"'
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
		default:
			if err := s.next(c); err != nil {
				return err
			}
			s.last = c
		}
	}
	if s.last != '}' || s.depth > 0 {
		return errNoObject
	}
	return nil
}

type scanner struct {
	open     [maxNesting]byte // the brackets that are open
	depth    int
	inString bool
	last     byte // the byte before, without space
	items    int  // that may still come
}

// next takes a byte that is neither space nor inside a string.
func (s *scanner) next(c byte) error {
	if s.depth == 0 && (c != '{' || s.last != 0) {
		return errNoObject
	}
	inList := s.depth > 0 && s.open[s.depth-1] == '['
	if inList && (c == ',' || s.last == '[' && c != ']') {
		if s.items--; s.items < 0 {
			return errManyItems
		}
	}
	switch c {
	case '"':
		s.inString = true
	case '{', '[':
		if s.depth == maxNesting {
			return fault.New(fault.Invalid, "the body nests deeper than %d", maxNesting)
		}
		s.open[s.depth] = c
		s.depth++
	case '}', ']':
		if inList != (c == ']') {
			return errNoObject
		}
		s.depth--
	}
	return nil
}

// mostItems is how many items all lists of a valid message together may have. Its
// rules are in the .proto files; a list without one may have none.
func mostItems(d protoreflect.MessageDescriptor) int {
	most := 0
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		within := 0
		if f.Message() != nil {
			within = mostItems(f.Message())
		}
		if f.IsList() {
			within = maxItems(f) * (1 + within)
		}
		most += within
	}
	return most
}

// maxItems is the rule of a list, or 0.
func maxItems(f protoreflect.FieldDescriptor) int {
	return int(rulesOf(f).GetRepeated().GetMaxItems())
}

func rulesOf(f protoreflect.FieldDescriptor) *validate.FieldRules {
	rules, _ := proto.GetExtension(f.Options(), validate.E_Field).(*validate.FieldRules)
	return rules
}

// wholeBody is a body that the front has read.
type wholeBody struct {
	content []byte
	wire    bool
}

// Read implements io.Reader for who does not know better.
func (*wholeBody) Read([]byte) (int, error) { return 0, io.EOF }

// Close implements io.Closer.
func (*wholeBody) Close() error { return nil }

// inPlace decodes bodies as the front has read them, without a copy.
type inPlace struct{ *runtime.JSONPb }

// NewDecoder implements runtime.Marshaler.
func (p inPlace) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		body, ok := r.(*wholeBody)
		target := reflect.ValueOf(v)
		if !ok || target.Kind() != reflect.Pointer || target.Elem().Kind() != reflect.Pointer {
			return errors.New("the body was not read by the front, or is for no message")
		}
		message := reflect.New(target.Elem().Type().Elem())
		target.Elem().Set(message)
		if body.wire {
			return proto.Unmarshal(body.content, message.Interface().(proto.Message))
		}
		return protojson.Unmarshal(body.content, message.Interface().(proto.Message))
	})
}
