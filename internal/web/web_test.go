package web_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/internal/web"
)

func render(p web.Page) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	web.Render(w, http.StatusOK, p)
	return w
}

var full = web.Page{
	Title: "Network", Lead: "What it is.", Notice: "A simulation.",
	Links: []web.Link{{Text: "Docs", Href: "/docs"}},
	Sections: []web.Section{{
		Title: "Members", Paragraphs: []string{"Three."}, Facts: []web.Fact{{Name: "Blocks", Value: "12"}},
		Tables: []web.Table{{Caption: "Members", Columns: []string{"MSP", "Name"}, Rows: [][]string{{"HospitalA", "Hospital A"}}}},
		Code:   []string{"a < b"},
	}},
}

func TestThePolicyAllowsExactlyTheEmbeddedStyle(t *testing.T) {
	w := render(full)
	style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(w.Body.String())
	if style == nil {
		t.Fatal("the page has no style")
	}
	sum := sha256.Sum256([]byte(style[1]))
	want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, want) {
		t.Errorf("policy %q does not allow the style that is there: %s", policy, want)
	}
	for _, bad := range []string{"unsafe", "*", "script-src"} {
		if strings.Contains(policy, bad) {
			t.Errorf("policy %q has %q", policy, bad)
		}
	}
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("policy %q lacks %q", policy, part)
		}
	}
}

func TestPagesHaveNoScriptAndNoInlineStyle(t *testing.T) {
	body := render(full).Body.String()
	for _, bad := range []string{"<script", "style=", "onclick", "http://", "https://"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
}

func TestPagesAreForAssistiveTechnology(t *testing.T) {
	body := render(full).Body.String()
	for _, want := range []string{
		`<html lang="en">`, `<main id="main">`, `href="#main"`, `<h1>Network</h1>`, `<nav aria-label=`,
		`<caption>Members</caption>`, `<th scope="col">MSP</th>`, `<th scope="row">HospitalA</th>`, `name="viewport"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

func TestAttackMarkupInText(t *testing.T) {
	evil := `"><script>alert(1)</script>`
	body := render(web.Page{
		Title: evil, Lead: evil, Notice: evil, Links: []web.Link{{Text: evil, Href: "javascript:alert(1)"}},
		Sections: []web.Section{{
			Title: evil, Paragraphs: []string{evil}, Facts: []web.Fact{{Name: evil, Value: evil}}, Code: []string{evil},
			Tables: []web.Table{{Caption: evil, Columns: []string{evil}, Rows: [][]string{{evil, evil}}}},
		}},
	}).Body.String()
	if strings.Contains(body, "<script") || strings.Contains(body, "javascript:") {
		t.Errorf("markup passes:\n%s", body)
	}
}
