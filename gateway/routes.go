package gateway

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
)

// route is what the front knows of one route before anything is parsed. It has
// to agree with the annotations of the .proto files, which a test asserts.
type route struct {
	method  string
	path    *regexp.Regexp
	name    string   // for the log: the pattern, without identifiers
	parties []string // kinds of parties that may sign; nil when nobody has to
	open    bool     // others may call too, and are told less
	query   []string // query parameters that it takes
	maxBody int64    // 0: no body
	items   int      // that the lists of a body have, all together
	stream  bool
}

const (
	idPattern  = `[0-9a-f]{64}`
	reqPattern = `[A-Za-z0-9._-]{1,128}`
)

func newRoute(method, pattern string, parties ...string) route {
	expr := strings.NewReplacer("{id}", idPattern, "{request}", reqPattern).Replace(pattern)
	return route{
		method: method, path: regexp.MustCompile("^" + expr + "$"), name: pattern,
		parties: parties, stream: strings.HasSuffix(pattern, ":watch"),
	}
}

// get is a route for reading.
func get(pattern string, parties ...string) route {
	return newRoute(http.MethodGet, pattern, parties...)
}

// post is a route that takes a message of at most so many bytes.
func post(pattern string, message proto.Message, maxBody int64, parties ...string) route {
	c := newRoute(http.MethodPost, pattern, parties...)
	c.maxBody, c.items = maxBody, mostItems(message.ProtoReflect().Descriptor())
	return c
}

// with is the route with query parameters.
func (c route) with(query ...string) route {
	c.query = query
	return c
}

// toAll is the route for all, which tells the parties more.
func (c route) toAll() route {
	c.open = true
	return c
}

// routes is the REST interface.
var routes = []route{
	get("/v1/network"),
	post("/v1/patients", &apiv1.PatientEnrolment{}, api.MaxBody),
	get("/v1/patients/{id}", api.PartyPatient, api.PartyMember),
	post("/v1/patients/{id}/keys", &apiv1.SignedKeys{}, api.MaxBody),
	get("/v1/patients/{id}/consents", api.PartyPatient),
	get("/v1/patients/{id}/history", api.PartyPatient),
	post("/v1/consents", &apiv1.SignedConsent{}, api.MaxBody),
	get("/v1/consents/{id}", api.PartyPatient, api.PartyMember),
	post("/v1/erasures", &apiv1.SignedErasure{}, api.MaxBody),
	get("/v1/patients/{id}/erasure", api.PartyPatient),
	post("/v1/devices", &apiv1.DeviceEnrolment{}, api.MaxBody),
	get("/v1/devices/{id}", api.PartyDevice, api.PartyPatient, api.PartyMember).toAll(),
	post("/v1/devices/{id}/uploads", &apiv1.Upload{}, api.MaxUpload, api.PartyDevice),
	get("/v1/devices/{id}/receipts", api.PartyDevice, api.PartyMember).with("kind", "from", "until"),
	get("/v1/devices/{id}/requests", api.PartyDevice),
	post("/v1/devices/{id}/retirement", &apiv1.SignedRetirement{}, api.MaxBody),
	post("/v1/requests/{request}/proof", &apiv1.Attest{}, api.MaxBody, api.PartyDevice),
	get("/v1/blobs/{id}", api.PartyMember),
	get("/v1/operations/{id}"),
	get("/v1/operations/{id}:watch"),
}

// isAPI reports whether a path belongs to the REST interface.
func isAPI(path string) bool { return path == "/v1" || strings.HasPrefix(path, "/v1/") }

// findRoute returns the route of a request in a table, if there is one, and the methods
// that its path has. Only one spelling of a path exists: what is percent-encoded,
// doubled or relative matches no pattern.
func findRoute(table []route, r *http.Request) (*route, []string) {
	path, method := r.URL.EscapedPath(), r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var found *route
	var methods []string
	for i, c := range table {
		if !c.path.MatchString(path) {
			continue
		}
		if c.method == method {
			found = &table[i]
		}
		if methods = append(methods, c.method); c.method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
	}
	if methods != nil {
		methods = append(methods, http.MethodOptions)
	}
	return found, methods
}

// checkQuery refuses parameters that the route does not have, and repeated ones.
func (c route) checkQuery(raw string) error {
	values, err := parseQuery(raw)
	if err != nil || strings.Contains(raw, ";") && !isFHIR(c.name) {
		return fault.New(fault.Invalid, "the query string cannot be read")
	}
	for key, list := range values {
		if !slices.Contains(c.query, key) {
			return fault.New(fault.Invalid, "the query parameter %q is unknown here", key)
		}
		if len(list) != 1 {
			return fault.New(fault.Invalid, "the query parameter %q is repeated", key)
		}
	}
	return nil
}

// maxQuery bounds a query string in bytes.
const maxQuery = 1024

// parseQuery reads a query string in which semicolons stand for themselves, as they
// do in media types.
func parseQuery(raw string) (url.Values, error) {
	if len(raw) > maxQuery {
		return nil, fault.New(fault.TooLarge, "the query string has more than %d bytes", maxQuery)
	}
	return url.ParseQuery(strings.ReplaceAll(raw, ";", "%3B"))
}
