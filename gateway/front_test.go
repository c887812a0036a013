package gateway

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// TestEveryAnswerHasOneOfFewShapes asks every route, and places that are none, with
// every method and with the media types that clients send: each answer is a document
// of the type that its place has, each error a problem document or an OperationOutcome,
// and HEAD answers as GET does, without the document.
func TestEveryAnswerHasOneOfFewShapes(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	id := d.ID.String()
	op, err := w.newPatient().post(context.Background())
	w.ok(err)
	w.done(op, nil)
	var targets []string
	for _, table := range [][]route{routes, fhirRoutes} {
		for _, c := range table {
			path := strings.NewReplacer("{operation}", op.ID.String(), "{patient}", id, "{consent}", id, "{device}", id, "{blob}", id, "{request}", "r").Replace(c.name)
			if !slices.Contains(targets, path) {
				targets = append(targets, path)
			}
		}
	}
	targets = append(targets, "/", "/docs", "/openapi.json", "/healthz", "/readyz",
		"/nothing", "/docs/", "//docs", "/docs/../v1/network", "/v1", "/v1/nothing", "/fhir", "/fhir/", "/fhir/Patient/"+id)
	for _, target := range targets {
		got := map[string]*http.Response{}
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"} {
			for _, accept := range []string{"", "*/*", "application/json", eventStream, "text/html", "application/fhir+xml"} {
				r := w.request(method, target, nil)
				if method == "POST" {
					r = w.request(method, target, []byte("{}"))
				}
				if accept == "" { // whatever a device may do, it hears it in the same shapes
					w.checkSigned(t, d, r)
				} else {
					r.Header.Set("Accept", accept)
				}
				resp, body := w.raw(r)
				what := fmt.Sprintf("%s %s as %q: %d %s %.100q", method, target, accept, resp.StatusCode, resp.Header.Get("Content-Type"), body)
				checkShape(t, what, r, resp, body)
				switch method {
				case "GET":
					got[accept] = resp
				case "HEAD":
					same := got[accept]
					if len(body) > 0 || resp.StatusCode != same.StatusCode || resp.Header.Get("Content-Type") != same.Header.Get("Content-Type") {
						t.Errorf("%s, GET was answered %d %s", what, same.StatusCode, same.Header.Get("Content-Type"))
					}
				}
			}
		}
	}
}

// checkSigned is the same request, signed by a device.
func (w *world) checkSigned(t *testing.T, d *device, r *http.Request) {
	t.Helper()
	var body []byte
	if r.Method == "POST" {
		body = []byte("{}")
	}
	s := w.signed(&api.Signer{Party: api.DeviceParty(d.ID), Key: d.Key}, r.Method, r.URL.RequestURI(), body, time.Now())
	resp, answer := w.raw(s)
	checkShape(t, fmt.Sprintf("%s %s, signed: %d %.100q", s.Method, s.URL.Path, resp.StatusCode, answer), s, resp, answer)
}

// checkShape insists on the media types and statuses that the interface has.
func checkShape(t *testing.T, what string, r *http.Request, resp *http.Response, body []byte) {
	t.Helper()
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	fhir := isFHIR(r.URL.Path)
	switch {
	case resp.StatusCode == http.StatusNoContent:
		if r.Method != "OPTIONS" || resp.Header.Get("Allow") == "" || len(body) > 0 {
			t.Error(what)
		}
	case resp.StatusCode >= 400:
		wanted := "application/problem+json"
		if fhir {
			wanted = fhirJSON
		}
		if kind != wanted || r.Method != "HEAD" && !json.Valid(body) {
			t.Error(what)
		}
		if resp.StatusCode == http.StatusMethodNotAllowed && resp.Header.Get("Allow") == "" {
			t.Errorf("%s: nothing is allowed", what)
		}
	case resp.StatusCode >= 300:
		t.Error(what)
	case err != nil, fhir && kind != fhirJSON:
		t.Error(what)
	case isAPI(r.URL.Path):
		wanted := "application/json"
		if strings.HasSuffix(r.URL.Path, ":watch") && r.Header.Get("Accept") == eventStream {
			wanted = eventStream
		}
		if kind != wanted {
			t.Error(what)
		}
	}
}

func TestContentTypesAreReadAsClientsWriteThem(t *testing.T) {
	w := newWorld(t)
	body, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(enrolMessage(w))
	w.ok(err)
	for kind, status := range map[string]int{
		"application/json":                  http.StatusAccepted,
		"application/json; charset=UTF-8":   http.StatusOK,
		`application/json;charset="utf-8"`:  http.StatusOK,
		"Application/JSON;Charset=uTf-8":    http.StatusOK,
		"application/json; charset=latin-1": http.StatusUnsupportedMediaType,
		"application/xml":                   http.StatusUnsupportedMediaType,
	} {
		r := w.request("POST", "/v1/patients", body)
		r.Header.Set("Content-Type", kind)
		resp, answer := w.raw(r)
		if status < 300 && (resp.StatusCode == http.StatusAccepted || resp.StatusCode == http.StatusOK) {
			status = resp.StatusCode // whichever comes first is accepted, the others find it done
		}
		if resp.StatusCode != status {
			t.Errorf("%s: %d %s", kind, resp.StatusCode, answer)
		}
	}
	r := w.request("POST", "/v1/patients", body)
	r.Header.Set("Content-Encoding", "gzip")
	resp, answer := w.raw(r)
	problem(t, resp, answer, http.StatusUnsupportedMediaType, fault.Invalid)
}

func enrolMessage(w *world) proto.Message {
	p := w.newPatient()
	m := &apiv1.PatientEnrolment{Document: apiv1.EnrolPatientOf(p.Enrolment), DetailsBoxes: p.Boxes}
	return m
}

func TestOnlyPagesOfTheNetworkAreSharedWith(t *testing.T) {
	w := newWorld(t)
	target := "/v1/devices/" + record.RandomID().String() + "/uploads"
	preflight := func(origin string) http.Header {
		r := w.request("OPTIONS", target, nil)
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", "POST")
		r.Header.Set("Access-Control-Request-Headers", "content-digest,content-type,signature,signature-input,idempotency-key")
		resp, _ := w.raw(r)
		if resp.StatusCode != http.StatusNoContent || !strings.Contains(strings.Join(resp.Header.Values("Vary"), ","), "Origin") {
			t.Errorf("preflight of %q: %d, varies with %v", origin, resp.StatusCode, resp.Header.Values("Vary"))
		}
		return resp.Header
	}
	h := preflight(consortium.Portal)
	if h.Get("Access-Control-Allow-Origin") != consortium.Portal || h.Get("Access-Control-Allow-Methods") != "POST, OPTIONS" || h.Get("Access-Control-Max-Age") == "" {
		t.Errorf("the portal's preflight is answered with %v", h)
	}
	for _, field := range []string{"Content-Digest", "Content-Type", "Signature", "Signature-Input", "Idempotency-Key"} {
		if !strings.Contains(h.Get("Access-Control-Allow-Headers"), field) {
			t.Errorf("a page may not send %s", field)
		}
	}
	for _, origin := range []string{
		"https://evil.example", "https://portal.example.org.evil.example", consortium.Portal + ":8443", "http://portal.example.org",
		"HTTPS://PORTAL.EXAMPLE.ORG", consortium.Portal + "/", "null", "*", nativeApp,
	} {
		if h := preflight(origin); h.Get("Access-Control-Allow-Origin") != "" || h.Get("Access-Control-Allow-Methods") != "" {
			t.Errorf("%s: %v", origin, h)
		}
	}
	for _, path := range []string{"/v1/network", "/v1/nothing", "/fhir/metadata", "/openapi.json"} {
		r := w.request("GET", path, nil)
		r.Header.Set("Origin", consortium.Portal)
		resp, _ := w.raw(r)
		if resp.Header.Get("Access-Control-Allow-Origin") != consortium.Portal || !slices.Contains(resp.Header.Values("Vary"), "Origin") ||
			resp.Header.Get("Access-Control-Allow-Credentials") != "" || !strings.Contains(resp.Header.Get("Access-Control-Expose-Headers"), "Location") {
			t.Errorf("%s: %v", path, resp.Header)
		}
	}
	resp, _ := w.raw(w.request("GET", "/v1/network", nil))
	if resp.Header.Get("Access-Control-Allow-Origin") != "" || !slices.Contains(resp.Header.Values("Vary"), "Origin") {
		t.Errorf("without an origin: %v", resp.Header)
	}
}

// TestAttackAStrangerReadsADevice: who wears a device, and how well, is for the device,
// the patient and members.
func TestAttackAStrangerReadsADevice(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p := w.enrolled()
	d := p.newDevice()
	w.done(w.as("", nil).EnrolDevice(ctx, d.Enrolment, d.Seeds))
	for what, c := range map[string]*api.Client{"the device": d.client(), "its patient": p.client(), "a member": w.member(hospitalB)} {
		s, err := c.Device(ctx, d.ID)
		if err != nil || s.State.Device.Patient != p.ID {
			t.Errorf("%s: %+v, %v", what, s, err)
		}
	}
	other := w.device()
	for what, c := range map[string]*api.Client{"nobody": w.as("", nil), "another patient": w.enrolled().client(), "another device": other.client()} {
		s, err := c.Device(ctx, d.ID)
		if err != nil || !s.State.ID.IsZero() || s.Reputation != nil || s.AcknowledgedBy != nil {
			t.Errorf("%s: %+v, %v", what, s, err)
		}
	}
	target := "/v1/devices/" + d.ID.String()
	_, body := w.raw(w.request("GET", target, nil))
	if strings.Contains(string(body), p.ID.String()) {
		t.Errorf("a stranger reads %s", body)
	}
	w.refused("a stranger as the patient", w.signed(&api.Signer{Party: api.PatientParty(p.ID), Key: consortium.NewKey()}, "GET", target, nil, time.Now()))
}

// TestAttackAnotherKeyOnASignedRequest: an Idempotency-Key that the party did not sign
// would take the place of a request that is still to come.
func TestAttackAnotherKeyOnASignedRequest(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	w.advance(10 * 3600)
	s := &api.Signer{Party: api.DeviceParty(d.ID), Key: d.Key}
	target := "/v1/devices/" + d.ID.String() + "/uploads"
	data, pointers := d.rows(startHour, startHour+1)
	body := uploadBody(w, [][]byte{data}, pointers)

	added := w.signed(s, "POST", target, body, time.Now())
	added.Header.Set(api.HeaderKey, "two")
	w.refused("a key that was not signed", added)

	keyed := w.request("POST", target, body)
	keyed.Header.Set(api.HeaderKey, "one")
	w.ok(s.Sign(keyed, w.Genesis.Network, body, time.Now()))
	for what, change := range map[string]func(http.Header){
		"another key": func(h http.Header) { h.Set(api.HeaderKey, "two") },
		"no key":      func(h http.Header) { h.Del(api.HeaderKey) },
	} {
		r := w.request("POST", target, body)
		copySignature(r, keyed)
		change(r.Header)
		w.refused(what, r)
	}
	keyed.Header.Add(api.HeaderKey, "two")
	resp, answer := w.raw(keyed)
	problem(t, resp, answer, http.StatusBadRequest, fault.Invalid)
}

// TestAttackStreamsOfOneAddress: whoever opens streams without end gets no more than an
// address may have, and others get theirs.
func TestAttackStreamsOfOneAddress(t *testing.T) {
	needsLinux(t)
	w := newWorld(t)
	w.gw.door.bounds.streams.each = 3
	hold := make(chan struct{})
	w.client.hold(hold)
	defer close(hold)
	op, err := w.newPatient().post(context.Background())
	w.ok(err)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watch := func(address string, ctx context.Context) int {
		transport := &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext}
		t.Cleanup(transport.CloseIdleConnections)
		resp, err := transport.RoundTrip(w.request("GET", "/v1/operations/"+op.ID.String()+":watch", nil).WithContext(ctx))
		w.ok(err)
		t.Cleanup(func() { resp.Body.Close() })
		return resp.StatusCode
	}
	for i := range 3 {
		if status := watch("127.0.0.1", ctx); status != http.StatusOK {
			t.Errorf("stream %d: %d", i, status)
		}
	}
	if status := watch("127.0.0.1", context.Background()); status != http.StatusTooManyRequests {
		t.Errorf("one stream too many: %d", status)
	}
	if status := watch("127.0.0.2", ctx); status != http.StatusOK {
		t.Errorf("the stream of another address: %d", status)
	}
}

// TestAttackConnectionsOfOneAddress: whoever opens connections without end has the ones
// too many closed, and others get theirs, also when all are taken.
func TestAttackConnectionsOfOneAddress(t *testing.T) {
	needsLinux(t)
	w := newWorld(t)
	w.gw.door.bounds.conns.mu.Lock()
	w.gw.door.bounds.conns.each, w.gw.door.bounds.conns.all = 4, 6
	w.gw.door.bounds.conns.mu.Unlock()
	ask := func(address, request string) net.Conn {
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		w.ok(err)
		t.Cleanup(func() { c.Close() })
		w.ok(c.SetDeadline(time.Now().Add(3 * time.Second)))
		fmt.Fprint(c, request)
		return c
	}
	served := func(c net.Conn) bool {
		_, err := c.Read(make([]byte, 1))
		return err == nil
	}
	const whole, begun = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost: x\r\n"
	for range 4 {
		ask("127.0.0.3", begun)
	}
	time.Sleep(100 * time.Millisecond)
	if !served(ask("127.0.0.3", whole)) || w.gw.door.bounds.conns.counted()["127.0.0.3"] != 4 { // in the place of one that waits
		t.Errorf("connections: %v", w.gw.door.bounds.conns.counted())
	}
	for range 2 {
		if !served(ask("127.0.0.4", whole)) {
			t.Error("another address has no connection")
		}
	}
	for range 2 { // all are taken: first one of the address that has four, then one of two
		if !served(ask("127.0.0.5", whole)) {
			t.Error("an address has no connection beside one that has many")
		}
	}
	if !served(ask("127.0.0.5", whole)) { // in the place of one of its own
		t.Error("an address has no connection beside what it has kept open")
	}
	if of := w.gw.door.bounds.conns.counted(); of["127.0.0.3"] != 2 || of["127.0.0.4"] != 2 || of["127.0.0.5"] != 2 {
		t.Errorf("connections: %v", of)
	}
}

// counted is how many connections of each address are open.
func (c *conns) counted() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := map[string]int{}
	for from, held := range c.of {
		of[from] = len(held)
	}
	return of
}

func TestAPaceIsKeptPerCallerAndTheLatestAreRemembered(t *testing.T) {
	l := newLimiters(1, 2)
	for i := range maxCallers {
		l.of(fmt.Sprint(i)).Allow()
	}
	if !l.of("0").Allow() || l.of("0").Allow() {
		t.Error("the first caller has another burst than 2")
	}
	l.of("one more") // the one seen longest ago makes place
	if l.recent.Len() != maxCallers || len(l.byWho) != maxCallers || l.of("0").Allow() || l.byWho["1"] != nil {
		t.Errorf("%d callers are remembered in %d", len(l.byWho), l.recent.Len())
	}
}

func TestPlacesAreForgottenWhenTheyAreFree(t *testing.T) {
	p := newPlaces(1)
	leave, err := p.enter(context.Background(), "a")
	if err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := p.enter(soon, "a"); statusOf(err, 0) != http.StatusTooManyRequests {
		t.Errorf("a second place: %v", err)
	}
	other, err := p.enter(context.Background(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	leave()
	if len(p.of) != 0 {
		t.Errorf("%d are remembered", len(p.of))
	}
}

func TestAddressesCountByHostOrNetwork(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1":                  "192.0.2.1",
		"[::ffff:192.0.2.1]:2":         "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:3":     "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::1]:4":     "2001:db8:1:2::/64",
		"[fe80::1%eth0]:5":             "fe80::/64",
		"@":                            "unknown",
		"/run/vitalveil/gateway.sock:": "unknown",
	} {
		if got := addressOf(remote); got != want {
			t.Errorf("%s counts as %s, want %s", remote, got, want)
		}
	}
}

func TestBodiesAreCountedBeforeTheyAreParsed(t *testing.T) {
	for body, ok := range map[string]bool{
		`{}`:                                  true,
		` { "a" : [ 1 , 2 , [] ] } `:          true,
		`{"a":["[,,,\"[,,,"]}`:                true,
		`{"a":[{"b":1,"c":2,"d":3,"e":4}]}`:   true,
		`{"a":[1,2],"b":[3]}`:                 true,
		`{"a":[1,2],"b":[3,4]}`:               false,
		`{"a":[1,2,3,4]}`:                     false,
		`{"a":[[],[],[],[]]}`:                 false,
		`{"a":[,,,,]}`:                        false,
		`{"a":[1,2,3,`:                        false,
		``:                                    false,
		`null`:                                false,
		`[1]`:                                 false,
		`"{}"`:                                false,
		`{}{}`:                                false,
		`{} x`:                                false,
		`{"a":1]`:                             false,
		`{"a":[1}`:                            false,
		`{"a":"`:                              false,
		`{"a":"\`:                             false,
		strings.Repeat(`{"a":`, maxNesting+1): false,
		strings.Repeat(`{"a":`, maxNesting-1) + "{}" + strings.Repeat("}", maxNesting-1): true,
	} {
		if err := scan([]byte(body), 3); (err == nil) != ok {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// FuzzScan compares the count with what a parser finds.
func FuzzScan(f *testing.F) {
	f.Add([]byte(`{"a":[1,"x",{"b":[]}],"c":"[,\"]"}`))
	f.Add([]byte(`{"a":"\\","b":[[[]]]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var v map[string]any
		if json.Unmarshal(body, &v) != nil || v == nil {
			return
		}
		items, depth := count(v)
		if depth >= maxNesting {
			return
		}
		if err := scan(body, items+len(body)); err != nil {
			t.Errorf("%q is refused: %v", body, err)
		}
		if items > 0 && scan(body, items-1) == nil {
			t.Errorf("%q has %d items, and is let through as %d", body, items, items-1)
		}
	})
}

// count returns the items of all lists in a value, and how deep it nests. What a later
// member of the same name hides is not counted.
func count(v any) (int, int) {
	items, depth := 0, 0
	within := func(v any) {
		n, d := count(v)
		items, depth = items+n, max(depth, d+1)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, member := range v {
			within(member)
		}
	case []any:
		items += len(v)
		for _, item := range v {
			within(item)
		}
	}
	return items, depth
}

// TestEveryListThatComesInHasABound: a list without a rule may have no items at all.
func TestEveryListThatComesInHasABound(t *testing.T) {
	for _, m := range []proto.Message{
		&apiv1.PatientEnrolment{}, &apiv1.SignedKeys{}, &apiv1.SignedConsent{}, &apiv1.SignedErasure{},
		&apiv1.DeviceEnrolment{}, &apiv1.Upload{}, &apiv1.SignedRetirement{}, &apiv1.Attest{},
	} {
		checkLists(t, m.ProtoReflect().Descriptor())
	}
	if n := mostItems((&apiv1.Upload{}).ProtoReflect().Descriptor()); n != api.MaxUploadBlobs+api.MaxUploadPointers {
		t.Errorf("an upload has %d items", n)
	}
}

func checkLists(t *testing.T, d protoreflect.MessageDescriptor) {
	t.Helper()
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		if f.IsMap() || f.IsList() && maxItems(f) == 0 {
			t.Errorf("%s has no bound", f.FullName())
		}
		if f.Message() != nil {
			checkLists(t, f.Message())
		}
	}
}

// TestAttackPartiesThatNobodyKnows: names made up cost queries of the ledger, at the
// pace of the address that makes them up; whoever is known is served meanwhile.
func TestAttackPartiesThatNobodyKnows(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	target := "/v1/devices/" + d.ID.String() + "/requests"
	ask := func(id record.ID, key *ecdsa.PrivateKey) (*http.Response, []byte) {
		return w.raw(w.signed(&api.Signer{Party: api.DeviceParty(id), Key: key}, "GET", target, nil, time.Now()))
	}
	ask(d.ID, d.Key)
	w.gw.door.bounds.asks = newLimiters(rate.Every(time.Hour), 2)
	for range 2 {
		resp, body := ask(record.RandomID(), consortium.NewKey())
		problem(t, resp, body, http.StatusUnauthorized, fault.BadSignature)
	}
	resp, body := ask(record.RandomID(), consortium.NewKey())
	if p := problem(t, resp, body, http.StatusTooManyRequests, fault.Unavailable); !p.Retry || resp.Header.Get("Retry-After") == "" {
		t.Errorf("not said to be tried again: %s", body)
	}
	if resp, body := ask(d.ID, d.Key); resp.StatusCode != http.StatusOK {
		t.Errorf("the device that is known: %d %s", resp.StatusCode, body)
	}
}

// TestAttackOneCallerAsksWithoutEnd: an address, or a patient with however many devices,
// is held to its pace, and others are not.
func TestAttackOneCallerAsksWithoutEnd(t *testing.T) {
	needsLinux(t)
	w := newWorld(t)
	p := w.enrolled()
	mine := []*device{p.newDevice(), p.newDevice()}
	for _, d := range mine {
		w.done(w.as("", nil).EnrolDevice(context.Background(), d.Enrolment, d.Seeds))
	}
	other := w.device()
	w.gw.door.bounds.pace = newLimiters(rate.Every(time.Hour), 2)
	ask := func(d *device) int {
		s := &api.Signer{Party: api.DeviceParty(d.ID), Key: d.Key}
		resp, _ := w.raw(w.signed(s, "GET", "/v1/devices/"+d.ID.String()+"/requests", nil, time.Now()))
		return resp.StatusCode
	}
	for i, want := range []int{http.StatusOK, http.StatusOK, http.StatusTooManyRequests, http.StatusTooManyRequests} {
		if got := ask(mine[i%2]); got != want {
			t.Errorf("request %d of the patient's devices: %d, want %d", i, got, want)
		}
	}
	if got := ask(other); got != http.StatusOK {
		t.Errorf("another patient's device: %d", got)
	}
	network := w.request("GET", "/v1/network", nil)
	for i, want := range []int{http.StatusOK, http.StatusOK, http.StatusTooManyRequests} {
		if resp, _ := w.raw(network); resp.StatusCode != want {
			t.Errorf("open request %d: %d, want %d", i, resp.StatusCode, want)
		}
	}
	if resp, _ := w.raw(w.request("GET", "/docs", nil)); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a page: %d", resp.StatusCode)
	}
	if resp, _ := w.raw(w.request("GET", "/healthz", nil)); resp.StatusCode != http.StatusOK {
		t.Errorf("health: %d", resp.StatusCode)
	}
	if status, err := from("127.0.0.2", network); err != nil || status != http.StatusOK {
		t.Errorf("another address: %d, %v", status, err)
	}
}

func TestAGatewayLivesWithoutItsLedgerAndIsNotReady(t *testing.T) {
	w := newWorld(t)
	w.client.deaf.Store(true)
	resp, body := w.raw(w.request("GET", "/readyz", nil))
	problem(t, resp, body, http.StatusServiceUnavailable, fault.Unavailable)
	if resp, _ := w.raw(w.request("GET", "/healthz", nil)); resp.StatusCode != http.StatusOK {
		t.Errorf("health is %d", resp.StatusCode)
	}
}
