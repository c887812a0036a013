package api

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/network/institution"
)

var update = flag.Bool("update", false, "write openapi.json and the table of who may do what")

// unserved is an interface whose routes are looked at only.
func unserved(t *testing.T) *Server {
	t.Helper()
	path := t.TempDir() + "/callers.json"
	if err := os.WriteFile(path, []byte(`{"callers":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Callers: path, Hosts: []string{"localhost"}, Tokens: &TokenConfig{Issuer: "i", Audience: "a", KeysURL: "https://issuer.example/keys"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const tablePage = "../../../docs/institution-api.md"

func TestTheDocumentAndTheTableAreThoseOfTheRoutes(t *testing.T) {
	s := unserved(t)
	document, err := s.Document()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(tablePage)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- who may do what -->\n", "<!-- end -->"
	before, rest, ok := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", tablePage)
	}
	if *update {
		if err := os.WriteFile("openapi.json", document, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(tablePage, []byte(before+begin+s.Matrix()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if stored, err := os.ReadFile("openapi.json"); err != nil || string(stored) != string(document) {
		t.Errorf("openapi.json is not the routes' document (go test ./network/institution/api -run Document -update): %v", err)
	}
	if table != s.Matrix() {
		t.Error("the table in the docs is not the routes' (go test ./network/institution/api -run Document -update)")
	}
}

func TestAnAnalystGetsFromANewStudyToAnAnswer(t *testing.T) {
	w := newWorld(t)
	w.populate(12)
	ana := w.known("ana")
	if a := w.get(ana, "/v1/status"); a.status != http.StatusOK {
		t.Fatalf("status: %d %s", a.status, a.body)
	}
	if a := w.get(ana, "/v1/members"); a.status != http.StatusOK || !strings.Contains(string(a.body), consortium.HospitalB) {
		t.Errorf("members: %d %s", a.status, a.body)
	}
	for range 2 { // the same study again changes nothing
		if a := w.post(ana, "/v1/studies", heart()); a.status != http.StatusCreated || a.header.Get("Location") != "/v1/studies/heart" {
			t.Fatalf("study: %d %s", a.status, a.body)
		}
	}
	other := heart()
	other.Title = "Other hearts"
	if a := w.post(ana, "/v1/studies", other); a.code(t) != "CONFLICT" {
		t.Errorf("another study under the same name: %d %s", a.status, a.body)
	}

	asked := w.askAs(ana, "first question", question(1))
	var q Query
	asked.into(t, &q)
	location := asked.header.Get("Location")
	if asked.status != http.StatusAccepted || location != "/v1/queries/"+q.ID {
		t.Fatalf("ask: %d %s", asked.status, asked.body)
	}
	if again := w.askAs(ana, "first question", question(1)); again.header.Get("Location") != location {
		t.Errorf("the same key made another query: %s", again.body)
	}
	if a := w.askAs(ana, "first question", question(2)); a.code(t) != "CONFLICT" {
		t.Errorf("the same key with another question: %d", a.status)
	}
	if a := w.post(ana, "/v1/queries", question(1)); a.code(t) != "INVALID" {
		t.Errorf("without a key: %d", a.status)
	}
	w.watches(t, ana, location)

	answer := w.settled(ana, location)
	var got Answer
	answer.into(t, &got)
	if answer.status != http.StatusOK || got.People != 12 || got.Counted != "minutes" || got.Standing != "final" {
		t.Errorf("answer: %d %s", answer.status, answer.body)
	}
	for _, f := range got.Figures {
		if (f.State == shown) != (f.Value != nil && f.Low != nil && f.High != nil) {
			t.Errorf("a figure that is %s has the value %v", f.State, f.Value)
		}
	}
	w.formats(t, ana, location, got)
	w.exactly(t, ana)

	var study StudyState
	w.get(ana, "/v1/studies/heart").into(t, &study)
	if study.Spent != 1 || study.Left != 3 {
		t.Errorf("the study has spent %v and has %v left", study.Spent, study.Left)
	}
	w.pages(t, ana, q.ID)
	for _, secret := range []string{q.ID, w.people[0].ID.String(), w.devices[0].ID.String(), "first question", "Hearts"} {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

// exactly asks without noise and compares with the readings.
func (w *world) exactly(t *testing.T, c *http.Client) {
	t.Helper()
	exact := heart()
	exact.ID, exact.Exact, exact.Budget = "exact", true, 0
	if a := w.post(c, "/v1/studies", exact); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	q := question(0)
	q.Study = "exact"
	var got Answer
	w.settled(c, w.askAs(c, "an exact question", q).header.Get("Location")).into(t, &got)
	var truth privacy.HourStats
	for _, d := range w.devices {
		truth = consortium.Add(truth, d.Stats, 1)
	}
	if count := got.Figures[0]; count.Name != "count" || *count.Value != float64(truth.N) || *count.Low != *count.Value {
		t.Errorf("%+v, want %d readings", count, truth.N)
	}
	if mean := got.Figures[1]; mean.Name != "mean" || mean.State != shown || *mean.Low != *mean.Value {
		t.Errorf("%+v", mean)
	}
}

// watches reads the events of a query until the last.
func (w *world) watches(t *testing.T, c *http.Client, location string) {
	t.Helper()
	resp, err := c.Do(w.request(http.MethodGet, location+"/events", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		t.Fatalf("events: %d %s", resp.StatusCode, kind)
	}
	var last Event
	kind := ""
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if k, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			kind = k
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err := json.Unmarshal([]byte(data), &last); err != nil {
				t.Fatal(err)
			}
		}
	}
	if kind != "end" || !last.Opened || last.Of != 3 || last.Query.State != "released" {
		t.Errorf("the last event is %s: %+v", kind, last)
	}
}

func (w *world) formats(t *testing.T, c *http.Client, location string, a Answer) {
	t.Helper()
	as := func(kind, tag string) answered {
		req := w.request(http.MethodGet, location+"/answer", nil)
		req.Header.Set("Accept", kind)
		req.Header.Set("If-None-Match", tag)
		return w.do(c, req)
	}
	table := as("text/csv", "")
	rows, err := csv.NewReader(strings.NewReader(string(table.body))).ReadAll()
	if err != nil || len(rows) != len(a.Figures)+1 || table.header.Get("Content-Type") != "text/csv" {
		t.Errorf("%d lines of CSV for %d figures: %v", len(rows), len(a.Figures), err)
	}
	report := as("application/fhir+json", "")
	if report.header.Get("Content-Type") != "application/fhir+json" {
		t.Errorf("FHIR is %s", report.header.Get("Content-Type"))
	}
	wellTyped(t, report.body)
	if a := as("image/png", ""); a.code(t) != "MEDIA_TYPE" {
		t.Errorf("a picture: %d", a.status)
	}
	if again := as("text/csv", table.header.Get("ETag")); again.status != http.StatusNotModified || len(again.body) > 0 {
		t.Errorf("unchanged CSV: %d, %d bytes", again.status, len(again.body))
	}
	if again := as("application/json", table.header.Get("ETag")); again.status != http.StatusOK {
		t.Errorf("the tag of the table counts for JSON: %d", again.status)
	}
}

// pages goes through the list of queries, two at a time.
func (w *world) pages(t *testing.T, c *http.Client, first string) {
	t.Helper()
	want := []string{first}
	var exact list[Query]
	w.get(c, "/v1/queries?limit=1").into(t, &exact)
	want = append([]string{exact.Items[0].ID}, want...)
	for _, key := range []string{"second question", "third question"} {
		var q Query
		w.askAs(c, key, question(0.1)).into(t, &q)
		want = append([]string{q.ID}, want...)
	}
	var got []string
	for next := "/v1/queries?limit=2"; next != ""; {
		var l list[Query]
		w.get(c, next).into(t, &l)
		for _, q := range l.Items {
			got = append(got, q.ID)
		}
		if next = ""; l.Next != "" {
			next = "/v1/queries?limit=2&cursor=" + l.Next
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the list has %v, want %v", got, want)
	}
	if a := w.get(c, "/v1/queries?cursor=elsewhere"); a.code(t) != "INVALID" {
		t.Errorf("a made-up cursor: %d", a.status)
	}
}

func TestAQuestionAboutTooFewPeopleIsAnsweredAsSuch(t *testing.T) {
	w := newWorld(t)
	w.populate(3)
	ana := w.known("ana")
	w.post(ana, "/v1/studies", heart())
	w.plans(t, ana)
	asked := w.askAs(ana, "too few of them", question(1))
	if a := w.settled(ana, asked.header.Get("Location")); a.code(t) != "TOO_FEW" {
		t.Errorf("%d %s", a.status, a.body)
	}
	// How many they are is not said: not to whoever asks, nor to whoever plans.
	if a := w.get(ana, asked.header.Get("Location")); strings.Contains(string(a.body), "size") {
		t.Errorf("%s", a.body)
	}
}

// plans plans for people who are there, who are too few, and for more.
func (w *world) plans(t *testing.T, c *http.Client) {
	t.Helper()
	var out struct{ Answers []Outlook }
	plan := func(p Plan) Outlook {
		a := w.post(c, "/v1/plan", p)
		a.into(t, &out)
		if a.status != http.StatusOK || len(out.Answers) != 1 {
			t.Fatalf("plan: %d %s", a.status, a.body)
		}
		return out.Answers[0]
	}
	if o := plan(Plan{Study: "heart", Want: "mean", Rho: 0.5}); o.People != 0 {
		t.Errorf("of three people it is said that there are %d", o.People)
	}
	buys := plan(Plan{Study: "heart", Want: "mean", Rho: 0.5, People: 200})
	needs := plan(Plan{Study: "heart", Want: "mean", Half: buys.Half, People: 200})
	if buys.Half <= 0 || needs.Rho < 0.49 || needs.Rho > 0.51 {
		t.Errorf("rho 0.5 buys +- %v, which needs rho %v", buys.Half, needs.Rho)
	}
	if s := w.get(c, "/v1/studies/heart"); !strings.Contains(string(s.body), `"spent":0,`) {
		t.Errorf("a plan touched the budget: %s", s.body)
	}
}

func TestOperatorsLookAfterDevicesAndEndQuestions(t *testing.T) {
	w := newWorld(t)
	w.populate(3)
	opa := w.known("opa")
	device := w.devices[0].ID.String()
	var l list[Device]
	a := w.get(opa, "/v1/devices?limit=2")
	a.into(t, &l)
	if len(l.Items) != 2 || l.Next != "2" || l.Items[0].ID != device || l.Items[0].Hours != 24 || l.Items[0].Gaps != 24-hours {
		t.Errorf("devices: %s", a.body)
	}
	if a := w.post(opa, "/v1/devices/"+device+"/flags", map[string]any{"kind": "outlier", "note": "implausible"}); a.status != http.StatusOK {
		t.Errorf("flag: %d %s", a.status, a.body)
	}
	if a := w.post(opa, "/v1/devices/"+device+"/votes", map[string]any{"reason": "implausible"}); a.status != http.StatusOK {
		t.Errorf("vote: %d %s", a.status, a.body)
	}
	var d Device
	w.get(opa, "/v1/devices/"+device).into(t, &d)
	if d.Flags["outlier"] != 1 || d.Votes != 1 {
		t.Errorf("after a flag and a vote: %+v", d)
	}
	foreign := w.foreign()
	if a := w.get(opa, "/v1/queries/"+foreign); a.status != http.StatusOK {
		t.Errorf("another institution's question: %d %s", a.status, a.body)
	}
	if a := w.post(opa, "/v1/queries/"+foreign+"/abandon", map[string]any{"reason": "not agreed"}); a.code(t) != "CONFLICT" { // members have refused it by then: the vote is too late, not forbidden
		t.Errorf("vote against it: %d %s", a.status, a.body)
	}
}

// foreign makes a query of the other hospital's.
func (w *world) foreign() string {
	w.Helper()
	in := w.members[1]
	s := must(microOf(4))
	study := heart()
	r := studyOf(study, s)
	w.OK(in.CreateStudy(w.Context(), r))
	res := w.Must(consortium.HospitalB, askMethod, askOf(question(1)))
	w.everywhere("the foreign query", func(in *institution.Institution) bool { _, err := in.Index().Query(res.TxID); return err == nil })
	return res.TxID
}

func TestAnInterfaceThatStopsEndsItsStreamsAndTakesNothingNew(t *testing.T) {
	w := newWorld(t)
	w.populate(3)
	ana := w.known("ana")
	w.OK(w.desk.CreateStudy(w.Context(), studyOf(heart(), 4_000_000)))
	res := w.Must(consortium.HospitalA, askMethod, askOf(question(1)))
	w.everywhere("the query", func(in *institution.Institution) bool { _, err := in.Index().Query(res.TxID); return err == nil })
	// Nobody posts what would end it: the others are asked to wait.
	resp, err := ana.Do(w.request(http.MethodGet, "/v1/queries/"+res.TxID+"/events", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	start := time.Now()
	w.stop()
	ends := false
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		ends = ends || lines.Text() == "event: stopping" || lines.Text() == "event: end"
	}
	if !ends || time.Since(start) > drainTime {
		t.Errorf("the stream ended with a last event: %v, in %s", ends, time.Since(start))
	}
	if _, err := ana.Do(w.request(http.MethodGet, "/v1/status", nil)); err == nil {
		t.Error("a stopped interface answers")
	}
}
