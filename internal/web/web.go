// Package web is the pages that the parts of Vitalveil show to people: one
// template, one style sheet, no script.
//
// Entry points: Render writes a page made of sections, Intervals and Columns draw plots
// for these, SetHeaders sets what every answer to a browser must carry.
//
// Trust: text is escaped by html/template. The content security policy allows
// the one embedded style sheet, by its hash, and nothing else, so markup that
// slips in loads nothing, runs nothing and cannot be framed.
//
// Promise: pages are readable without style, by a screen reader and in a text
// browser, in light and dark.
package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
)

//go:embed style.css
var style string

//go:embed page.html
var layout string

//go:embed plot.html
var plots string

var page = template.Must(template.New("page").Parse(layout + plots))

// policy is the content security policy of every answer.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}()

// SetHeaders sets the security headers of an answer.
func SetHeaders(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY") // for browsers without frame-ancestors
}

// Page is one page. All texts are plain text.
type Page struct {
	Title    string
	Lead     string // one or two sentences below the title
	Notice   string // shown prominently, for instance that the network is a simulation
	Links    []Link // navigation
	Sections []Section
}

// Link leads to another page.
type Link struct{ Text, Href string }

// Section is a part of a page; what is empty is left out.
type Section struct {
	Title      string
	Paragraphs []string
	Facts      []Fact   // names with their values
	Plots      []Plot   // below them
	Tables     []Table  // below them
	Code       []string // verbatim blocks
}

// Fact is a name with its value.
type Fact struct{ Name, Value string }

// Table is a table with a caption. A row has as many cells as there are columns;
// the first cell heads the row.
type Table struct {
	Caption string
	Columns []string
	Rows    [][]string
}

// view is what the template sees.
type view struct {
	Page
	Style template.CSS
}

// Render writes a page with its headers.
func Render(w http.ResponseWriter, status int, p Page) {
	var b bytes.Buffer
	err := page.Execute(&b, view{Page: p, Style: template.CSS(style)})
	if err != nil {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	SetHeaders(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}
