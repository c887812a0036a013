package gateway

import (
	"cmp"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
)

// route is what the front knows of one route before anything is parsed.
type route struct {
	method  string
	path    *regexp.Regexp
	name    string                         // for the log: the pattern, without identifiers
	parties []string                       // kinds of parties that may sign; empty when nobody has to
	open    bool                           // others may call too, and are told less
	query   []string                       // query parameters that it takes
	maxBody int64                          // 0: no body
	message protoreflect.MessageDescriptor // that the body is
	items   int                            // that the lists of a body have, all together
	stream  bool
}

// routes is the REST interface, as the .proto files describe it.
var routes = routesOf(apiv1.File_vitalveil_v1_gateway_proto)

func routesOf(f protoreflect.FileDescriptor) []route {
	var all []route
	for i := range f.Services().Len() {
		methods := f.Services().Get(i).Methods()
		for j := range methods.Len() {
			all = append(all, routeOf(methods.Get(j)))
		}
	}
	return all
}

// routeOf reads the route of a method off its options and the rules of its request. It
// panics where they leave something open, which is a mistake in the .proto file.
func routeOf(m protoreflect.MethodDescriptor) route {
	rule, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	access, _ := proto.GetExtension(m.Options(), apiv1.E_Access).(*apiv1.Access)
	c := route{
		method: http.MethodGet, name: cmp.Or(rule.GetGet(), rule.GetPost()),
		parties: access.GetSignedBy(), open: access.GetOpen(), stream: m.IsStreamingServer(),
	}
	fields := m.Input().Fields()
	if rule.GetPost() != "" {
		c.method, c.maxBody = http.MethodPost, cmp.Or(access.GetMaxBody(), api.MaxBody)
		c.message = fields.ByName(protoreflect.Name(rule.GetBody())).Message()
		c.items = mostItems(c.message)
	}
	pattern := regexp.QuoteMeta(c.name)
	for i := range fields.Len() {
		f := fields.Get(i)
		variable := regexp.QuoteMeta("{" + string(f.Name()) + "}")
		switch {
		case strings.Contains(pattern, variable):
			pattern = strings.Replace(pattern, variable, textPattern(f), 1)
		case string(f.Name()) != rule.GetBody():
			c.query = append(c.query, string(f.Name()))
		}
	}
	c.path = regexp.MustCompile("^" + pattern + "$")
	return c
}

// textPattern is the pattern of a field's rule, which says all of its text.
func textPattern(f protoreflect.FieldDescriptor) string {
	pattern := rulesOf(f).GetString().GetPattern()
	whole, begins := strings.CutPrefix(pattern, "^")
	whole, ends := strings.CutSuffix(whole, "$")
	if !begins || !ends {
		panic(string(f.FullName()) + " stands in a path and has no pattern for all of its text")
	}
	return "(?:" + whole + ")"
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
