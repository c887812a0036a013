package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/vitalveil/vitalveil/internal/record"
)

// route is one line of the table that serves, that the document describes, and that says
// who may.
type route struct {
	method, path string
	id           string // name of the operation
	group        string
	summary      string
	description  string
	roles        []Role // none: anybody, without saying who
	// foreign says what becomes of a resource of another institution's, where the route
	// names one that can be.
	foreign string
	status  int // of success; 0: 200
	// formats are those of an answer beside JSON.
	formats map[string]*huma.MediaType
	change  func(*huma.Operation)
}

// who are the roles, for people.
func (r route) who() string {
	if len(r.roles) == 0 {
		return "anybody"
	}
	var all []string
	for _, role := range r.roles {
		all = append(all, string(role))
	}
	return strings.Join(all, " or ")
}

var (
	both      = []Role{Analyst, Operator}
	analysts  = []Role{Analyst}
	operators = []Role{Operator}
)

// strictJSON reads bodies as every other document here is read: no unknown or doubled
// fields, nothing after the value.
var strictJSON = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return e.Encode(v)
	},
	Unmarshal: func(data []byte, v any) error { return record.DecodeJSON(data, maxBody, v) },
}

// register makes the routes. Document and table follow from the same calls.
func (s *Server) register() {
	s.mux, s.routes = http.NewServeMux(), map[string]route{}
	cfg := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Vitalveil institution", Version: "1", License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
				Description: "What the analysts, operators and programs of an institution ask of its own process: studies, questions and answers, claims, devices. Every error is a problem (RFC 9457) with a stable type.",
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"certificate": {Type: "mutualTLS", Description: "A certificate of the institution's API authority, whose name or fingerprint is in the table of callers."},
					"token":       {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "An access token (RFC 9068) of the configured issuer, whose client_id is in the table of callers."},
				},
			},
		},
		Formats: map[string]huma.Format{"application/json": strictJSON, "application/problem+json": strictJSON}, DefaultFormat: "application/json", RejectUnknownQueryParameters: true,
	}
	s.huma = humago.New(s.mux, cfg)
	s.status()
	s.studies()
	s.queries()
	s.claims()
	s.devices()
	s.document()
}

// add enters a route and returns its operation.
func (s *Server) add(r route) huma.Operation {
	pattern := r.method + " " + r.path
	s.routes[pattern] = r
	s.order = append(s.order, r)
	op := huma.Operation{
		OperationID: r.id, Method: r.method, Path: r.path, Summary: r.summary, Tags: []string{r.group}, DefaultStatus: r.status,
		Description: strings.TrimSpace(r.description + "\n\nFor: " + r.who() + "."), MaxBodyBytes: maxBody, BodyReadTimeout: bodyTime,
	}
	if len(r.roles) > 0 {
		op.Security = []map[string][]string{{"certificate": {}}, {"token": {}}}
	}
	if r.formats != nil {
		op.Responses = map[string]*huma.Response{"200": {Description: "OK", Content: r.formats}}
	}
	if r.change != nil {
		r.change(&op)
	}
	return op
}

// Conditional is a read that may be spared.
type Conditional struct {
	IfNoneMatch string `header:"If-None-Match" maxLength:"1024" doc:"An ETag of before: 304 where nothing has changed."`
}

func (c Conditional) noneMatch() string { return c.IfNoneMatch }

// reply is a document with the name of its present contents.
type reply[T any] struct {
	ETag string `header:"ETag" doc:"Names these contents."`
	Body T
}

// read registers a route that answers with a document.
func read[I interface{ noneMatch() string }, T any](s *Server, r route, get func(context.Context, *I) (T, error)) {
	r.method = http.MethodGet
	op := s.add(r)
	op.Responses = map[string]*huma.Response{"304": {Description: "Not Modified"}}
	huma.Register(s.huma, describe(s, op), func(ctx context.Context, in *I) (*reply[T], error) {
		v, err := get(ctx, in)
		if err != nil {
			return nil, problemOf(err)
		}
		b, err := json.Marshal(v)
		if err != nil {
			return nil, problemOf(err)
		}
		tag := tagOf(b)
		if matches((*in).noneMatch(), tag) {
			return nil, unchanged(tag)
		}
		return &reply[T]{tag, v}, nil
	})
}

// describe gives an operation its errors, which the library does by itself only where
// nothing else is described.
func describe(s *Server, op huma.Operation) huma.Operation {
	problem := s.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")
	all := maps.Clone(op.Responses)
	if all == nil {
		all = map[string]*huma.Response{}
	}
	all["default"] = &huma.Response{Description: "Problem", Content: map[string]*huma.MediaType{"application/problem+json": {Schema: problem}}}
	op.Responses = all
	return op
}

func tagOf(b []byte) string {
	sum := sha256.Sum256(b)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// matches compares weakly, as reads do (RFC 9110, section 13.1.2).
func matches(header, tag string) bool {
	return slices.ContainsFunc(strings.Split(header, ","), func(one string) bool {
		one = strings.TrimSpace(one)
		return one == "*" || strings.TrimPrefix(one, "W/") == tag
	})
}

func unchanged(tag string) error {
	return &Problem{Status: http.StatusNotModified, header: http.Header{"Etag": {tag}}}
}

// write registers a route that does something.
func write[I, O any](s *Server, r route, do func(context.Context, *I) (*O, error)) {
	r.method = http.MethodPost
	huma.Register(s.huma, describe(s, s.add(r)), func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, in)
		if err != nil {
			return nil, problemOf(err)
		}
		return out, nil
	})
}

// Page is a part of a list.
type Page struct {
	Cursor string `query:"cursor" maxLength:"128" doc:"Where to go on: next of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"How many at most."`
}

// list is a page of a list.
type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"The cursor of the next page; absent on the last."`
}

// pageOf cuts what was got, one more than the page has, and names where to go on.
func pageOf[T, U any](all []T, p Page, name func(T) string, show func(T) U) list[U] {
	l := list[U]{Items: []U{}}
	if len(all) > p.Limit {
		all = all[:p.Limit]
		l.Next = name(all[p.Limit-1])
	}
	for _, v := range all {
		l.Items = append(l.Items, show(v))
	}
	return l
}

// document serves the document itself, and whether the process lives.
func (s *Server) document() {
	s.add(route{method: http.MethodGet, path: "/openapi.json", id: "document", group: "about", summary: "This interface, as OpenAPI 3.1"})
	s.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, r *http.Request) {
		b, err := s.Document()
		if err != nil {
			problemOf(err).write(w)
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(b)
	})
	s.add(route{method: http.MethodGet, path: "/healthz", id: "health", group: "about", summary: "Whether the process answers"})
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "ok") })
}

// Document is the OpenAPI 3.1 document of the routes that serve.
func (s *Server) Document() ([]byte, error) {
	raw, err := json.Marshal(s.huma.OpenAPI())
	if err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(v, "", "  ")
	return append(b, '\n'), err
}

// Matrix is the table of who may do what, in Markdown.
func (s *Server) Matrix() string {
	var b strings.Builder
	b.WriteString("| Route | Nobody known | Analyst | Operator | Another institution's |\n|---|---|---|---|---|\n")
	mark := func(ok bool) string {
		if ok {
			return "yes"
		}
		return "403"
	}
	for _, r := range s.order {
		stranger, foreign := "401", r.foreign
		if len(r.roles) == 0 {
			stranger = "yes"
		}
		if foreign == "" {
			foreign = "-"
		}
		open := len(r.roles) == 0
		fmt.Fprintf(&b, "| `%s %s` | %s | %s | %s | %s |\n", r.method, r.path, stranger, mark(open || slices.Contains(r.roles, Analyst)), mark(open || slices.Contains(r.roles, Operator)), foreign)
	}
	return b.String()
}
