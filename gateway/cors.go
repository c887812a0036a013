package gateway

import (
	"net/http"
	"strings"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/record"
)

// pagesOf are the web origins on which patients of a network sign: their pages may
// call the gateway from a browser, and no other may.
func pagesOf(genesis record.Genesis) map[string]bool {
	origins := map[string]bool{}
	for _, p := range genesis.RelyingParties {
		for _, o := range p.Origins {
			if strings.HasPrefix(o, "https://") || strings.HasPrefix(o, "http://") {
				origins[o] = true
			}
		}
	}
	return origins
}

// Header fields that a page may send, and that it may read in answers.
var (
	requestFields = strings.Join([]string{"Accept", "Content-Type", api.HeaderDigest, api.HeaderKey, api.HeaderSignature, api.HeaderInput}, ", ")
	answerFields  = strings.Join([]string{"Accept-Signature", "Allow", "Location", "Retry-After", "WWW-Authenticate"}, ", ")
)

// shareWithPages lets the pages of the network read an answer (the Fetch standard's
// CORS protocol). No answer is for all origins, and none allows credentials: the
// gateway knows no cookies, requests are signed.
func (d *door) shareWithPages(h http.Header, r *http.Request) {
	h.Add("Vary", "Origin")
	origins := r.Header.Values("Origin")
	if len(origins) == 1 && d.origins[origins[0]] {
		h.Set("Access-Control-Allow-Origin", origins[0])
		h.Set("Access-Control-Expose-Headers", answerFields)
	}
}

// options answers which methods a path has, to pages of the network also as the
// preflight of a request.
func (d *door) options(w http.ResponseWriter, r *http.Request, methods []string) {
	h := w.Header()
	h.Set("Allow", strings.Join(methods, ", "))
	h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	if h.Get("Access-Control-Allow-Origin") != "" && r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
		h.Set("Access-Control-Allow-Headers", requestFields)
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
}
