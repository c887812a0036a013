package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/gateway/web"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// pages serves what is not the REST interface. Everything is for reading.
func (g *Gateway) pages(page http.Handler) http.Handler {
	docs := docsPage(g.genesis)
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", g.health)
	mux.HandleFunc("/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(api.OpenAPI)
	})
	mux.HandleFunc("/docs", func(w http.ResponseWriter, _ *http.Request) { web.Render(w, http.StatusOK, docs) })
	mux.Handle("/", page)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			p := newProblem(fault.New(fault.Invalid, "%s is not allowed here; use GET", r.Method))
			p.Status = http.StatusMethodNotAllowed
			writeProblem(w, r, p)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// health answers whether the gateway can reach the ledger.
func (g *Gateway) health(w http.ResponseWriter, r *http.Request) {
	var now record.Tick
	err := g.evaluate(r.Context(), "Clock:Now", struct{}{}, &now)
	if err != nil {
		refuse(w, r, fault.New(fault.Unavailable, "the ledger does not answer: %s", asFault(err).Code))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"status": "ok", "ledger_time": now.Time})
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
			{Name: "Smallest cohort", Value: fmt.Sprintf("%d patients", g.MinCohort)},
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
			"Signed routes need one Authorization header, in exactly this form. The key is the one that the ledger has for the party; the time is wall-clock time and may be five minutes off.",
			"The digest is SHA-256 over the deterministic CBOR of [\"vitalveil\", \"http-request/v1\", \"" + network + "\", [method, path with query, SHA-256 of the body, party, time]].",
		},
		Code: []string{`Authorization: Vitalveil party="device:<64 hex digits>", time="<Unix seconds>", signature="<base64url of r || s>"`},
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
