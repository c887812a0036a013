package api

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/network"
)

// bearer is a request with a token.
func (w *world) bearer(method, path, token string, body any) *http.Request {
	w.Helper()
	req := w.request(method, path, body)
	req.Header.Set("Authorization", "Bearer "+token)
	return req
}

// TestEveryRouteIsForWhomTheTableSays calls each route as each kind of caller. What is
// asked for need not exist: who may not ask is told so first.
func TestEveryRouteIsForWhomTheTableSays(t *testing.T) {
	w := newWorld(t)
	w.Tick((firstHour + 24) * 3600)
	own, foreign := strings.Repeat("0", 64), w.foreign()
	stranger := must(network.NewCA(consortium.HospitalA)) // another authority of the same name
	strangerID := must(stranger.Issue("ana", "caller"))
	plain := w.client(nil)
	kinds := []struct {
		name string
		role Role
		do   func(req *http.Request) (answered, bool)
	}{
		{"nobody", "", func(r *http.Request) (answered, bool) { return w.do(plain, r), true }},
		{"a certificate that is not in the table", "", func(r *http.Request) (answered, bool) { return w.do(w.known("eve"), r), true }},
		{"a certificate of another authority", "", func(r *http.Request) (answered, bool) {
			resp, err := w.client(&strangerID).Do(r) // refused by the handshake
			if err == nil {
				resp.Body.Close()
			}
			return answered{}, err == nil
		}},
		{"a token of a client that is not in the table", "", func(r *http.Request) (answered, bool) {
			r.Header.Set("Authorization", "Bearer "+w.issuer.token("eve"))
			return w.do(plain, r), true
		}},
		{"an analyst", Analyst, func(r *http.Request) (answered, bool) { return w.do(w.known("ana"), r), true }},
		{"an operator", Operator, func(r *http.Request) (answered, bool) { return w.do(w.known("opa"), r), true }},
		{"an analyst's token", Analyst, func(r *http.Request) (answered, bool) {
			r.Header.Set("Authorization", "Bearer "+w.issuer.token("notebook"))
			return w.do(plain, r), true
		}},
		{"an operator's token", Operator, func(r *http.Request) (answered, bool) {
			r.Header.Set("Authorization", "Bearer "+w.issuer.token("keeper"))
			return w.do(plain, r), true
		}},
	}
	w.server.pace, w.server.strangers = newLimits(1e6, 1e6), newLimits(1e6, 1e6) // it is about who, not how much
	for _, r := range w.server.order {
		path := strings.NewReplacer("{query}", own, "{claim}", own, "{device}", own, "{study}", "none").Replace(r.path)
		for _, k := range kinds {
			req := w.request(r.method, path, nil)
			a, reached := k.do(req)
			may := len(r.roles) == 0 || k.role != "" && strings.Contains(r.who(), string(k.role))
			switch refused := a.status == http.StatusUnauthorized || a.status == http.StatusForbidden; {
			case !reached:
			case may && refused:
				t.Errorf("%s %s as %s: %d %s", r.method, r.path, k.name, a.status, a.body)
			case !may && k.role == "" && a.code(t) != "UNAUTHENTICATED", !may && k.role != "" && a.code(t) != "FORBIDDEN":
				t.Errorf("%s %s as %s: %d %s", r.method, r.path, k.name, a.status, a.body)
			}
		}
		if !strings.Contains(r.path, "{query}") {
			continue
		}
		// Another institution's: an analyst is told no more than that there is none.
		theirs := strings.Replace(r.path, "{query}", foreign, 1)
		var body any
		if strings.HasSuffix(r.path, "abandon") {
			body = map[string]any{"reason": "not agreed"}
		}
		a := w.do(w.known("ana"), w.request(r.method, theirs, body))
		if code := a.code(t); code != "NOT_FOUND" && (code != "FORBIDDEN" || strings.Contains(r.who(), string(Analyst))) {
			t.Errorf("%s %s of another institution's as an analyst: %d %s", r.method, r.path, a.status, a.body)
		}
	}
	for _, path := range []string{"/", "/v1", "/v1/queries/" + own + "/nothing", "/metrics", "/v1/../v1/status/", "/debug/pprof/"} {
		if a := w.get(w.known("opa"), path); a.status != http.StatusNotFound || a.code(t) != "NOT_FOUND" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := w.do(plain, w.request(http.MethodDelete, "/v1/status", nil)); a.code(t) != "NO_SUCH_METHOD" {
		t.Errorf("DELETE: %d", a.status)
	}
}

func TestAttackTokensThatAreNotTheIssuersForUsNow(t *testing.T) {
	w := newWorld(t)
	plain, ana := w.client(nil), must(w.ca.Issue("ana", "caller"))
	with := func(name string, v any) func(map[string]any) {
		return func(c map[string]any) {
			if v == nil {
				delete(c, name)
			} else {
				c[name] = v
			}
		}
	}
	now := time.Now().Unix()
	key := w.issuer.keys["one"]
	public := must(key.PublicKey.Bytes())
	for name, token := range map[string]string{
		"expired":                      w.issuer.token("notebook", with("exp", now-60)),
		"not valid yet":                w.issuer.token("notebook", with("nbf", now+300)),
		"issued in the future":         w.issuer.token("notebook", with("iat", now+300)),
		"for ever":                     w.issuer.token("notebook", with("exp", now+100*24*3600)),
		"without an end":               w.issuer.token("notebook", with("exp", nil)),
		"for another audience":         w.issuer.token("notebook", with("aud", []string{"hospital-b"})),
		"for no audience":              w.issuer.token("notebook", with("aud", nil)),
		"of another issuer":            w.issuer.token("notebook", with("iss", "https://elsewhere.example")),
		"without a client":             w.issuer.token("notebook", with("client_id", nil)),
		"an identity token":            w.issuer.sign(w.issuer.claims("notebook"), "JWT", "one", key, jose.ES256),
		"by another key":               w.issuer.sign(w.issuer.claims("notebook"), "at+jwt", "one", consortium.NewKey(), jose.ES256),
		"by an unknown key":            w.issuer.sign(w.issuer.claims("notebook"), "at+jwt", "two", key, jose.ES256),
		"by the public key as secret":  w.issuer.sign(w.issuer.claims("notebook"), "at+jwt", "one", public, jose.HS256),
		"bound to another certificate": w.issuer.token("notebook", with("cnf", map[string]any{"x5t#S256": "AAAA"})),
		"unsigned":                     "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + strings.Split(w.issuer.token("notebook"), ".")[1] + ".",
		"no token":                     "x",
		"too long":                     strings.Repeat("x", maxToken+1),
	} {
		w.server.strangers = newLimits(1e6, 1e6)
		if a := w.do(plain, w.bearer(http.MethodGet, "/v1/status", token, nil)); a.code(t) != "UNAUTHENTICATED" || a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("a token that is %s: %d %s", name, a.status, a.body)
		}
	}
	if a := w.do(plain, w.bearer(http.MethodGet, "/v1/status", w.issuer.token("notebook"), nil)); a.status != http.StatusOK {
		t.Fatalf("a good token: %d %s", a.status, a.body)
	}
	if looks := w.issuer.looks.Load(); looks > 2 {
		t.Errorf("tokens with made-up keys made %d looks at the issuer", looks)
	}
	// A stolen token is shown on another's connection, and one that is bound goes with its
	// certificate only.
	if a := w.do(w.client(&ana), w.bearer(http.MethodGet, "/v1/status", w.issuer.token("keeper"), nil)); a.code(t) != "UNAUTHENTICATED" {
		t.Errorf("another's token beside a certificate: %d %s", a.status, a.body)
	}
	bound := w.issuer.token("notebook", with("cnf", map[string]any{"x5t#S256": thumbprint(must(ana.Leaf()))}))
	if a := w.do(w.client(&ana), w.bearer(http.MethodGet, "/v1/status", bound, nil)); a.status != http.StatusOK {
		t.Errorf("a bound token on its connection: %d %s", a.status, a.body)
	}
	if a := w.do(plain, w.bearer(http.MethodGet, "/v1/status", bound, nil)); a.code(t) != "UNAUTHENTICATED" {
		t.Errorf("a bound token that was stolen: %d %s", a.status, a.body)
	}
	req := w.bearer(http.MethodGet, "/v1/status", w.issuer.token("notebook"), nil)
	req.Header.Add("Authorization", "Bearer "+w.issuer.token("keeper"))
	if a := w.do(plain, req); a.code(t) != "UNAUTHENTICATED" {
		t.Errorf("two tokens: %d", a.status)
	}
}

func TestAttackTokenOfAKeyThatItsIssuerHasTakenBack(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	now := time.Now()
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	pass := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
	w.server.gate.tokens.clock = clock
	plain := w.client(nil)
	old := w.issuer.token("notebook", func(c map[string]any) { c["exp"] = time.Now().Unix() + 7200 })
	status := func() int { return w.do(plain, w.bearer(http.MethodGet, "/v1/status", old, nil)).status }
	if s := status(); s != http.StatusOK {
		t.Fatalf("status %d", s)
	}
	w.issuer.mu.Lock()
	w.issuer.keys["two"] = w.issuer.keys["one"]
	delete(w.issuer.keys, "one")
	w.issuer.mu.Unlock()
	pass(keysFresh + time.Second)
	if s := status(); s != http.StatusUnauthorized {
		t.Errorf("minutes after its key was taken back: %d", s)
	}
	// Where the issuer does not answer, keys serve for minutes and no longer.
	w.issuer.mu.Lock()
	w.issuer.keys["one"] = w.issuer.keys["two"]
	w.issuer.mu.Unlock()
	pass(keysPause + time.Second)
	if s := status(); s != http.StatusOK {
		t.Fatalf("with the key again: %d", s)
	}
	w.issuer.down.Store(true)
	pass(keysFresh + time.Second)
	if s := status(); s != http.StatusOK {
		t.Errorf("while the issuer restarts: %d", s)
	}
	pass(keysServe)
	if s := status(); s != http.StatusUnauthorized {
		t.Errorf("long after the issuer was last seen: %d", s)
	}
}

func TestAttackCallerWhoWasTakenOutOfTheTable(t *testing.T) {
	w := newWorld(t)
	ana, plain := w.known("ana"), w.client(nil) // connections that stay
	token := w.issuer.token("notebook")
	check := func(when string, want int) {
		t.Helper()
		if a := w.get(ana, "/v1/status"); a.status != want {
			t.Errorf("%s a certificate has %d", when, a.status)
		}
		if a := w.do(plain, w.bearer(http.MethodGet, "/v1/status", token, nil)); a.status != want {
			t.Errorf("%s a token has %d", when, a.status)
		}
	}
	check("at first", http.StatusOK)
	w.table(callers[1], callers[2])
	check("taken out", http.StatusUnauthorized)
	w.table(callers...)
	check("put back", http.StatusOK)
	w.table(callers[0], callers[0])
	check("with a table that is not sound", http.StatusUnauthorized)
	w.OK(os.Remove(w.callersFile()))
	check("without a table", http.StatusUnauthorized)
	// A name of the table is not enough where the table has a fingerprint.
	id := must(w.ca.Issue("ana", "caller"))
	w.table(Caller{Name: "ana", Role: Analyst, Certificate: fingerprint(must(id.Leaf()))})
	if a := w.get(w.client(&id), "/v1/status"); a.status != http.StatusOK {
		t.Errorf("the certificate of the table: %d", a.status)
	}
	if a := w.get(w.known("ana"), "/v1/status"); a.code(t) != "UNAUTHENTICATED" {
		t.Errorf("another certificate of that name: %d", a.status)
	}
}

func TestAttackExpiredCertificateOnAConnectionThatStays(t *testing.T) {
	w := newWorld(t)
	ana := w.known("ana")
	if a := w.get(ana, "/v1/status"); a.status != http.StatusOK {
		t.Fatalf("status %d", a.status)
	}
	w.server.gate.clock = func() time.Time { return time.Now().Add(30 * 365 * 24 * time.Hour) }
	if a := w.get(ana, "/v1/status"); a.code(t) != "UNAUTHENTICATED" {
		t.Errorf("years later: %d", a.status)
	}
}

func TestAttackPagesOfOthersAndNamesThatPointHere(t *testing.T) {
	const friend = "https://desk.example.org"
	w := newWorld(t, func(c *Config) { c.Origins = []string{friend} })
	ana := w.known("ana")
	for host, want := range map[string]int{"evil.example": 421, "evil.example:443": 421, "127.0.0.1.evil.example": 421, "127.0.0.1": 200, w.address: 200} {
		req := w.request(http.MethodGet, "/v1/status", nil)
		req.Host = host
		if a := w.do(ana, req); a.status != want {
			t.Errorf("as %s: %d, want %d", host, a.status, want)
		}
	}
	for origin, want := range map[string]int{"https://evil.example": 403, "null": 403, friend + ".evil.example": 403, friend: 200} {
		req := w.request(http.MethodGet, "/v1/status", nil)
		req.Header.Set("Origin", origin)
		a := w.do(ana, req)
		if allowed := a.header.Get("Access-Control-Allow-Origin"); a.status != want || (allowed == origin) != (want == 200) {
			t.Errorf("a page of %s: %d, allowed %q", origin, a.status, allowed)
		}
		before := w.request(http.MethodOptions, "/v1/queries", nil)
		before.Header.Set("Origin", origin)
		before.Header.Set("Access-Control-Request-Method", "POST")
		if a := w.do(w.client(nil), before); (a.status == http.StatusNoContent) != (want == 200) {
			t.Errorf("the question of a browser on a page of %s: %d", origin, a.status)
		}
	}
	form := w.request(http.MethodPost, "/v1/studies", `{"id":"x"}`)
	form.Header.Set("Content-Type", "text/plain") // what a page may send without asking
	if a := w.do(ana, form); a.code(t) != "MEDIA_TYPE" {
		t.Errorf("a body that a form could send: %d %s", a.status, a.body)
	}
}

func TestAttackBodiesThatAreTooMuchOrTwoThingsAtOnce(t *testing.T) {
	w := newWorld(t)
	ana := w.known("ana")
	good := string(must(jsonOf(heart())))
	for name, c := range map[string]struct{ body, code string }{
		"too large":         {`{"title":"` + strings.Repeat("x", maxBody) + `"}`, "TOO_LARGE"},
		"doubled":           {strings.Replace(good, `{`, `{"id":"other",`, 1), "INVALID"},
		"unknown":           {strings.Replace(good, `{`, `{"owner":"HospitalB",`, 1), "INVALID"},
		"trailing":          {good + `{}`, "INVALID"},
		"no JSON":           {`<study/>`, "INVALID"},
		"empty":             {``, "INVALID"},
		"deep":              {strings.Repeat(`[`, 10_000), "INVALID"},
		"a fine rho":        {strings.Replace(good, `"budget":4`, `"budget":0.00000001`, 1), "INVALID"},
		"no hour":           {strings.Replace(good, `00:00:00Z`, `00:00:01Z`, 1), "INVALID"},
		"a name with paths": {strings.Replace(good, `"heart"`, `"../heart"`, 1), "INVALID"},
	} {
		if a := w.post(ana, "/v1/studies", c.body); a.code(t) != c.code {
			t.Errorf("a body that is %s: %d %s", name, a.status, a.body)
		}
	}
	if got := w.desk.Index().StudiesOf(consortium.HospitalA, "", 10); len(got) != 0 {
		t.Errorf("%d studies were made", len(got))
	}
}

func jsonOf(v any) ([]byte, error) {
	var b bytes.Buffer
	err := strictJSON.Marshal(&b, v)
	return bytes.TrimSpace(b.Bytes()), err
}

func TestAttackOneCallersFloodStarvesNobodyElse(t *testing.T) {
	w := newWorld(t)
	ana, ben := w.known("ana"), w.known("ben")
	limited := 0
	for range 4 * callerBurst {
		if a := w.get(ana, "/v1/status"); a.status == http.StatusTooManyRequests {
			limited++
			if a.code(t) != "RATE_LIMITED" || a.header.Get("Retry-After") == "" {
				t.Fatalf("%s", a.body)
			}
		}
	}
	if limited == 0 {
		t.Error("a flood was not limited")
	}
	// Nor does a flood by nobody from the same address.
	plain := w.client(nil)
	slowed := 0
	for range 4 * strangerMax {
		if a := w.get(plain, "/v1/status"); a.status == http.StatusTooManyRequests {
			slowed++
		}
	}
	if slowed == 0 {
		t.Error("a flood by nobody was not limited")
	}
	for range 10 {
		if a := w.get(ben, "/v1/status"); a.status != http.StatusOK {
			t.Errorf("another caller has %d meanwhile", a.status)
		}
	}
}

func TestAttackStreamsAndNamesTakeBoundedPlaces(t *testing.T) {
	p := newPlaces(callerStreams)
	for i := range 2 * callerStreams {
		if p.take("ana") != (i < callerStreams) {
			t.Errorf("place %d", i)
		}
	}
	if !p.take("ben") {
		t.Error("one caller's places are another's")
	}
	for range callerStreams {
		p.leave("ana")
	}
	p.leave("ben")
	if len(p.of) != 0 {
		t.Errorf("%d names are kept", len(p.of))
	}
	l := newLimits(1, 1)
	l.limiter("first").Allow()
	for i := range 2 * mostLimiters {
		l.limiter(fmt.Sprint(i))
		l.limiter("first") // seen again and again: not forgotten
	}
	if len(l.of) != mostLimiters || l.order.Len() != mostLimiters || l.limiter("first").Tokens() > 0.9 {
		t.Errorf("%d limiters", len(l.of))
	}
}

// TestAttackClientThatSendsSlowly: a connection that sends its header, or its body, byte by
// byte is cut, and others are answered meanwhile.
func TestAttackClientThatSendsSlowly(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.header = 300 * time.Millisecond })
	id := must(w.ca.Issue("ana", "caller"))
	cfg := w.client(&id).Transport.(*http.Transport).TLSClientConfig.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	conn, err := tls.Dial("tcp", w.address, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w.OK(conn.Handshake())
	if _, err := io.WriteString(conn, "GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "); err != nil {
		t.Fatal(err)
	}
	if a := w.get(w.known("ben"), "/v1/status"); a.status != http.StatusOK {
		t.Errorf("another caller has %d meanwhile", a.status)
	}
	w.OK(conn.SetReadDeadline(time.Now().Add(4 * headerTime)))
	var timeout net.Error
	if _, err := io.ReadAll(conn); err != nil && asNet(err, &timeout) && timeout.Timeout() {
		t.Error("a connection without a header is not cut")
	}
}

func asNet(err error, into *net.Error) bool {
	e, ok := err.(net.Error)
	*into = e
	return ok
}

func FuzzAccept(f *testing.F) {
	f.Add("application/json")
	f.Add("text/csv;q=0, */*")
	f.Fuzz(func(t *testing.T, accept string) {
		kind, err := wanted(accept)
		if (kind == jsonType || kind == csvType || kind == fhirType) != (err == nil) {
			t.Errorf("%q: %q, %v", accept, kind, err)
		}
	})
}

func FuzzCallers(f *testing.F) {
	f.Add([]byte(`{"callers":[{"name":"ana","role":"analyst","certificate":"ana"}]}`))
	path := f.TempDir() + "/callers.json"
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := readCallers(path)
		for _, one := range c.Callers {
			if err != nil || one.Role != Analyst && one.Role != Operator || (one.Certificate == "") == (one.Client == "") {
				t.Errorf("%+v counts: %v", one, err)
			}
		}
	})
}
