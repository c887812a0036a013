package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/web"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// pages serves what is not the REST interface. Everything is for reading.
func (g *Gateway) pages(page http.Handler) http.Handler {
	docs := docsPage(g.genesis)
	methods := []string{http.MethodGet, http.MethodHead, http.MethodOptions}
	shown := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/openapi.json":
			w.Header().Set("Content-Type", "application/json")
			w.Write(api.OpenAPI)
		case "/docs":
			web.Render(w, http.StatusOK, docs)
		default:
			page.ServeHTTP(w, r)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.EscapedPath() != path.Clean(r.URL.Path) || !strings.HasPrefix(r.URL.Path, "/"):
			refuse(w, r, fault.New(fault.NotFound, "there is nothing at this path; the interface is described at /docs"))
		case r.Method == http.MethodOptions:
			g.door.options(w, r, methods)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			refuseMethod(w, r, methods)
		case r.URL.Path == "/healthz":
			writeJSON(w, map[string]any{"status": "ok"})
		case r.URL.Path == "/readyz":
			g.readiness(w, r)
		default:
			g.door.atPace(w, r, shown)
		}
	})
}

// atPace serves a page at the pace of its caller.
func (d *door) atPace(w http.ResponseWriter, r *http.Request, page http.Handler) {
	leave, err := d.bounds.enter(r.Context(), route{}, addressOf(r.RemoteAddr))
	if err != nil {
		refuse(w, r, err)
		return
	}
	defer leave()
	page.ServeHTTP(w, r)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// readiness answers whether the gateway can take writes. /healthz, in contrast, says
// that the process lives.
func (g *Gateway) readiness(w http.ResponseWriter, r *http.Request) {
	now, err := g.ready.get(r.Context())
	if err != nil {
		refuse(w, r, err)
		return
	}
	writeJSON(w, map[string]any{"status": "ready", "ledger_time": now})
}

// Readiness is asked of the ledger once a second, however many want to know it.
const (
	readyLife    = time.Second
	readyTimeout = 5 * time.Second
)

type readyCache struct {
	ask func(context.Context) (int64, error)

	mu    sync.Mutex
	until time.Time
	time  int64
	err   error
}

func (c *readyCache) get(ctx context.Context) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().Before(c.until) {
		return c.time, c.err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
	defer cancel()
	c.time, c.err = c.ask(ctx)
	c.until = time.Now().Add(readyLife)
	return c.time, c.err
}

// readyNow is ledger time if the gateway can take writes, or why it cannot.
func (g *Gateway) readyNow(ctx context.Context) (int64, error) {
	now, err := evaluate(ctx, g.ledger, contracts.ClockNow, struct{}{})
	if err != nil {
		return 0, fault.New(fault.Unavailable, "the ledger does not answer: %s", asFault(err).Code)
	}
	if err := g.ops.journal.writable(ctx); err != nil {
		return 0, err
	}
	return now.Time, nil
}

// plainPage is for gateways that are given none.
func (g *Gateway) plainPage() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			refuse(w, r, fault.New(fault.NotFound, "there is nothing at this path; the interface is described at /docs"))
			return
		}
		web.Render(w, http.StatusOK, web.Page{
			Title: "Gateway of " + g.genesis.Network,
			Lead:  "Patients' devices bring sealed data and consent here. The gateway can read none of it.",
			Links: links, Notice: clockNotice(g.genesis),
			Sections: []web.Section{memberSection(g.genesis, g.index.Height())},
		})
	})
}

var links = []web.Link{{Text: "Network", Href: "/"}, {Text: "Interface", Href: "/docs"}, {Text: "OpenAPI", Href: "/openapi.json"}}

func clockNotice(g record.Genesis) string {
	if g.Clock != record.ClockSimulated {
		return ""
	}
	return "The ledger's clock is simulated: times on this network are those of replayed data."
}

func memberSection(g record.Genesis, height uint64) web.Section {
	t := web.Table{Caption: "Members of the network", Columns: []string{"MSP", "Name"}}
	for _, m := range g.Members {
		t.Rows = append(t.Rows, []string{m.MSP, m.Name})
	}
	return web.Section{
		Title: "Network",
		Facts: []web.Fact{
			{Name: "Blocks", Value: fmt.Sprint(height)},
			{Name: "Members needed to open anything", Value: fmt.Sprintf("%d of %d", g.Threshold, len(g.Members))},
			{Name: "Smallest cohort", Value: fmt.Sprintf("%d patients who allow it and have rows; rows do not tell whether they are empty", g.MinCohort)},
			{Name: "Queries", Value: fmt.Sprintf("at most %d a member and day", g.AsksPerDay())},
		},
		Tables: []web.Table{t},
	}
}

// openAPI is the part of the OpenAPI document that the human page shows.
type openAPI struct {
	Info struct {
		Title, Description string
	}
	Paths map[string]map[string]struct {
		Summary, Description string
		Tags                 []string
		Security             []map[string][]string
		Parameters           []struct {
			Name, In, Description, Type string
			Required                    bool
		}
	}
}

// docsPage is the interface for people, made from the OpenAPI document.
func docsPage(genesis record.Genesis) web.Page {
	p := web.Page{Title: "The gateway's interface", Links: links, Notice: clockNotice(genesis)}
	var doc openAPI
	if err := json.Unmarshal(api.OpenAPI, &doc); err != nil {
		p.Lead = "The OpenAPI document could not be read."
		return p
	}
	p.Lead = doc.Info.Description
	byTag := map[string]*web.Table{}
	for _, path := range sortedKeys(doc.Paths) {
		for _, method := range sortedKeys(doc.Paths[path]) {
			op := doc.Paths[path][method]
			tag := strings.Join(op.Tags, ", ")
			if byTag[tag] == nil {
				byTag[tag] = &web.Table{Caption: tag + " routes", Columns: []string{"Route", "What it does", "Parameters", "Signed"}}
			}
			var params []string
			for _, a := range op.Parameters {
				params = append(params, a.Name+" ("+a.In+")")
			}
			signed := "no"
			if len(op.Security) > 0 {
				signed = "yes"
			}
			byTag[tag].Rows = append(byTag[tag].Rows, []string{
				strings.ToUpper(method) + " " + path, strings.TrimSpace(op.Summary + " " + op.Description),
				strings.Join(params, ", "), signed,
			})
		}
	}
	for _, tag := range sortedKeys(byTag) {
		p.Sections = append(p.Sections, web.Section{Title: tag, Tables: []web.Table{*byTag[tag]}})
	}
	p.Sections = append(p.Sections, errorSection(), signatureSection(genesis.Network))
	return p
}

func errorSection() web.Section {
	t := web.Table{Caption: "Codes of problem documents and failed operations", Columns: []string{"Code", "Status", "Meaning", "Try again unchanged"}}
	for _, code := range sortedKeys(fault.Codes) {
		k := fault.Codes[code]
		again := "no"
		if k.Retry {
			again = "yes"
		}
		t.Rows = append(t.Rows, []string{string(code), fmt.Sprint(k.HTTP), k.Meaning, again})
	}
	return web.Section{
		Title: "Errors",
		Paragraphs: []string{
			"Errors are RFC 9457 problem documents (application/problem+json) with one of these codes. A request whose own signature is missing or wrong is answered 401.",
			"Bodies are strict: unknown fields, duplicate keys and anything after the JSON object are refused. An upload has at most 8 MiB, any other body 256 KiB.",
		},
		Tables: []web.Table{t},
	}
}

func signatureSection(network string) web.Section {
	return web.Section{
		Title: "Request signatures",
		Paragraphs: []string{
			"Signed routes need one HTTP message signature (RFC 9421) by ECDSA on P-256 with SHA-256, 64 bytes (r || s). The key is the one that the ledger has for the party.",
			"It covers @method and @path, @query if there is one, content-digest (RFC 9530, sha-256) if there is a body, and idempotency-key if there is one; content-type may be covered too. All of it is in the header: trailers are not.",
			"created is wall-clock time and may be five minutes off; so long a captured request can be repeated. A repeated write is the same operation.",
		},
		Code: []string{
			`Content-Digest: sha-256=:<base64 of the body's SHA-256>:` + "\n" +
				`Signature-Input: sig=("@method" "@path" "content-digest");created=<Unix seconds>;keyid="device:<64 hex digits>";tag="` + api.Tag(network) + `"` + "\n" +
				`Signature: sig=:<base64 of r || s>:`,
		},
	}
}

func sortedKeys[K ~string, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
