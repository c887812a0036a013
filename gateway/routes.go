package gateway

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
)

// route is what the front knows of one route before anything is parsed. It has
// to agree with the annotations of the .proto files, which a test asserts.
type route struct {
	method  string
	path    *regexp.Regexp
	name    string   // for the log: the pattern, without identifiers
	parties []string // kinds of parties that may sign; nil when the route is open
	query   []string // query parameters that it takes
	maxBody int64    // 0: no body
	stream  bool
}

const (
	idPattern  = `[0-9a-f]{64}`
	reqPattern = `[A-Za-z0-9._-]{1,128}`
)

func newRoute(method, pattern string, maxBody int64, query []string, parties ...string) route {
	expr := strings.NewReplacer("{id}", idPattern, "{request}", reqPattern).Replace(pattern)
	return route{
		method: method, path: regexp.MustCompile("^" + expr + "$"), name: pattern,
		parties: parties, query: query, maxBody: maxBody, stream: strings.HasSuffix(pattern, ":watch"),
	}
}

// routes is the REST interface.
var routes = []route{
	newRoute("GET", "/v1/network", 0, nil),
	newRoute("POST", "/v1/patients", api.MaxBody, nil),
	newRoute("GET", "/v1/patients/{id}", 0, nil, api.PartyPatient, api.PartyMember),
	newRoute("POST", "/v1/patients/{id}/keys", api.MaxBody, nil),
	newRoute("GET", "/v1/patients/{id}/consents", 0, nil, api.PartyPatient),
	newRoute("GET", "/v1/patients/{id}/history", 0, nil, api.PartyPatient),
	newRoute("POST", "/v1/consents", api.MaxBody, nil),
	newRoute("GET", "/v1/consents/{id}", 0, nil, api.PartyPatient, api.PartyMember),
	newRoute("POST", "/v1/erasures", api.MaxBody, nil),
	newRoute("GET", "/v1/patients/{id}/erasure", 0, nil, api.PartyPatient),
	newRoute("POST", "/v1/devices", api.MaxBody, nil),
	newRoute("GET", "/v1/devices/{id}", 0, nil),
	newRoute("POST", "/v1/devices/{id}/uploads", api.MaxUpload, nil, api.PartyDevice),
	newRoute("GET", "/v1/devices/{id}/receipts", 0, []string{"kind", "from", "until"}, api.PartyDevice, api.PartyMember),
	newRoute("GET", "/v1/devices/{id}/requests", 0, nil, api.PartyDevice),
	newRoute("POST", "/v1/devices/{id}/retirement", api.MaxBody, nil),
	newRoute("POST", "/v1/requests/{request}/proof", api.MaxBody, nil, api.PartyDevice),
	newRoute("GET", "/v1/blobs/{id}", 0, nil, api.PartyMember),
	newRoute("GET", "/v1/operations/{id}", 0, nil),
	newRoute("GET", "/v1/operations/{id}:watch", 0, nil),
}

// isAPI reports whether a path belongs to the REST interface.
func isAPI(path string) bool { return path == "/v1" || strings.HasPrefix(path, "/v1/") }

// findRoute returns the route of a request in a table. Only one spelling of a path exists:
// what is percent-encoded, doubled or relative matches no pattern.
func findRoute(table []route, r *http.Request) (route, []string, error) {
	path := r.URL.EscapedPath()
	var allow []string
	for _, c := range table {
		if !c.path.MatchString(path) {
			continue
		}
		if c.method == r.Method {
			return c, nil, nil
		}
		allow = append(allow, c.method)
	}
	if allow != nil {
		return route{}, allow, fault.New(fault.Invalid, "%s is not allowed here; use %s", r.Method, strings.Join(allow, " or "))
	}
	return route{}, nil, fault.New(fault.NotFound, "there is nothing at this path; the interface is described at /docs")
}

// checkQuery refuses parameters that the route does not have, and repeated ones.
func (c route) checkQuery(r *http.Request) error {
	if strings.Contains(r.URL.RawQuery, ";") || len(r.URL.RawQuery) > 1024 {
		return fault.New(fault.Invalid, "the query string cannot be read")
	}
	for key, values := range r.URL.Query() {
		if !slices.Contains(c.query, key) {
			return fault.New(fault.Invalid, "the query parameter %q is unknown here", key)
		}
		if len(values) != 1 {
			return fault.New(fault.Invalid, "the query parameter %q is repeated", key)
		}
	}
	return nil
}
