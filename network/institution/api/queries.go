package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Question is what is asked.
type Question struct {
	Study    string    `json:"study" pattern:"^[a-z0-9-]{1,64}$"`
	Question string    `json:"question" minLength:"1" maxLength:"100" doc:"One of the study's." example:"heart_rate"`
	From     time.Time `json:"from" doc:"The first hour, UTC; midnight for person-days."`
	Until    time.Time `json:"until" doc:"The hour after the last."`
	Want     string    `json:"want,omitempty" maxLength:"100" doc:"Figures about person-days, in this order: mean,spread,within,limits,range,distribution. None: figures about minutes." example:"mean,spread"`
	Rho      float64   `json:"rho,omitempty" minimum:"0" maximum:"1000" doc:"Privacy loss (zCDP) that it costs; 0 in an exact study."`
}

// Query is a question on the ledger, with what became of it.
type Query struct {
	ID string `json:"id"`
	Question
	Asker       string    `json:"asker"`
	Exact       bool      `json:"exact"`
	Asked       time.Time `json:"asked"`
	Expires     time.Time `json:"expires"`
	State       string    `json:"state" enum:"asked,agreed,refused,abandoned,released,failed,expired" doc:"asked: members derive who is in it. agreed: they did. released: it is answered. The others end it without an answer."`
	Standing    string    `json:"standing,omitempty" doc:"Of an answer: preliminary while a share is unconfirmed, final, or disputed."`
	Preliminary bool      `json:"preliminary" doc:"A share that one of those who gave it could have made up is not confirmed yet."`
	Reason      string    `json:"reason,omitempty" doc:"Why it was abandoned."`
	// Restarted is whether who is in it was agreed again, without anybody's number or name.
	Restarted bool `json:"restarted" doc:"Who is in it has changed after it was asked."`
}

// Event is how far a query is.
type Event struct {
	Query   Query    `json:"query"`
	Cohorts []string `json:"cohorts" doc:"Members that have derived who is in it."`
	Shares  []string `json:"shares" doc:"Members whose shares have come."`
	Of      int      `json:"of" doc:"Members in all."`
	Opened  bool     `json:"opened" doc:"The answer can be read."`
	Problem string   `json:"problem,omitempty" doc:"Why it does not go on at the moment."`
}

func (s *Server) queryOf(q record.QueryState) Query {
	v := Query{
		ID: q.ID, Question: Question{Study: q.Ask.Study, Question: q.Ask.Metric, From: hour(q.Ask.From), Until: hour(q.Ask.Until), Want: q.Ask.Want, Rho: rhoOf(q.Ask.Rho)},
		Asker: q.Asker, Exact: q.Exact, Asked: time.Unix(q.Asked, 0).UTC(), Expires: time.Unix(q.Expires, 0).UTC(), State: q.Status, Standing: q.Standing,
		Preliminary: q.Standing == record.StandingPreliminary, Reason: q.Reason, Restarted: q.Attempt > 0,
	}
	if (q.Status == record.QueryAsked || q.Status == record.QueryAgreed) && s.desk.Index().Time() >= q.Expires {
		v.State = "expired"
	}
	return v
}

type newQuery struct {
	Key  string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" doc:"Of your choice, such as a UUID. The same key is the same question, whatever happens meanwhile; it is kept for a day after the answer."`
	Body Question
}

type acceptedQuery struct {
	Location   string `header:"Location" doc:"The query."`
	RetryAfter int    `header:"Retry-After" doc:"Seconds after which to look again."`
	Body       Query
}

type queryPath struct {
	Query string `path:"query" pattern:"^[0-9a-f]{64}$" doc:"The query."`
	Conditional
}

type abandonQuery struct {
	Query string `path:"query" pattern:"^[0-9a-f]{64}$"`
	Body  struct {
		Reason string `json:"reason" minLength:"1" maxLength:"200" doc:"What members and patients read."`
	}
}

type confirmQuery struct {
	Query string `path:"query" pattern:"^[0-9a-f]{64}$"`
}

type changedQuery struct{ Body Query }

func (s *Server) queries() {
	write(s, route{path: "/v1/queries", id: "ask", group: "queries", summary: "Ask", description: "The question is on the ledger, and its study debited, when the answer to this request comes; it is answered whether or not anybody waits. Who asks about fewer people than the minimum is debited too, and gets none.", roles: analysts, status: http.StatusAccepted}, s.ask)
	read(s, route{path: "/v1/queries", id: "listQueries", group: "queries", summary: "This institution's questions, newest first", roles: both}, s.listQueries)
	read(s, route{path: "/v1/queries/{query}", id: "getQuery", group: "queries", summary: "A question and what became of it", roles: both, foreign: "operator yes, analyst 404"}, s.getQuery)
	s.events()
	s.answers()
	write(s, route{path: "/v1/queries/{query}/abandon", id: "abandon", group: "queries", summary: "End a question", description: "Of another institution's question it is an operator's vote; as many as the threshold end it.", roles: both, foreign: "operator yes, analyst 404"}, s.abandon)
	write(s, route{path: "/v1/queries/{query}/confirm", id: "confirm", group: "queries", summary: "Confirm or dispute an answer by this institution's own shares", roles: operators, foreign: "operator yes"}, s.confirm)
}

// ask poses a question. A caller's keys are its own.
func (s *Server) ask(ctx context.Context, in *newQuery) (*acceptedQuery, error) {
	b := in.Body
	from, until, err := hoursOf(b.From, b.Until)
	if err != nil {
		return nil, err
	}
	ask := record.Ask{Study: b.Study, Metric: b.Question, From: from, Until: until}
	if ask.Rho, err = microOf(b.Rho); err != nil {
		return nil, err
	}
	if b.Want != "" {
		want, err := privacy.ParseWant(b.Want)
		if err != nil {
			return nil, fault.New(fault.Invalid, "want: %w", err)
		}
		ask.Want = want.String()
	}
	key := record.SumID([]byte(callerOf(ctx).Name + "\x00" + in.Key))
	q, err := s.desk.Pose(ctx, key, ask)
	if err != nil {
		return nil, err
	}
	return &acceptedQuery{"/v1/queries/" + q.ID, 1, s.queryOf(q)}, nil
}

func (s *Server) listQueries(_ context.Context, in *listed) (list[Query], error) {
	all, err := s.desk.Index().QueriesOf(s.desk.MSP(), in.Cursor, in.Limit+1)
	if err != nil {
		return list[Query]{}, err
	}
	return pageOf(all, in.Page, func(q record.QueryState) string { return q.ID }, s.queryOf), nil
}

// mine is a query that the caller may see: an analyst the institution's own, an operator
// others too, which the institution has a part in.
func (s *Server) mine(ctx context.Context, id string) (record.QueryState, error) {
	q, err := s.desk.Index().Query(id)
	if err != nil || q.Asker != s.desk.MSP() && callerOf(ctx).Role != Operator {
		return q, fault.New(fault.NotFound, "no query %s of this institution's", id)
	}
	return q, nil
}

func (s *Server) getQuery(ctx context.Context, in *queryPath) (Query, error) {
	q, err := s.mine(ctx, in.Query)
	return s.queryOf(q), err
}

func (s *Server) abandon(ctx context.Context, in *abandonQuery) (*changedQuery, error) {
	if _, err := s.mine(ctx, in.Query); err != nil {
		return nil, err
	}
	if err := s.desk.Abandon(ctx, in.Query, in.Body.Reason); err != nil {
		return nil, err
	}
	q, err := s.desk.Index().Query(in.Query)
	return &changedQuery{s.queryOf(q)}, err
}

func (s *Server) confirm(ctx context.Context, in *confirmQuery) (*changedQuery, error) {
	q, err := s.desk.Confirm(ctx, in.Query)
	if err != nil {
		return nil, err
	}
	return &changedQuery{s.queryOf(q)}, nil
}

// heartbeat is how often a stream says that it lives.
const heartbeat = 15 * time.Second

func (s *Server) events() {
	schema := &huma.Schema{Type: huma.TypeString, Description: "Server-sent events: \"progress\", each with an Event in JSON as its data, then \"end\" with the last."}
	r := route{
		method: http.MethodGet, path: "/v1/queries/{query}/events", id: "watchQuery", group: "queries", summary: "How far a question is, as it goes on", roles: both, foreign: "404",
		description: "A stream of events (text/event-stream): one now, and one whenever something changes, until there is an answer or there will be none.",
		formats:     map[string]*huma.MediaType{"text/event-stream": {Schema: schema}},
	}
	huma.Register(s.huma, describe(s, s.add(r)), func(ctx context.Context, in *confirmQuery) (*huma.StreamResponse, error) {
		if q, err := s.desk.Index().Query(in.Query); err != nil || q.Asker != s.desk.MSP() {
			return nil, problemOf(fault.New(fault.NotFound, "no query %s of this institution's", in.Query))
		}
		name := callerOf(ctx).Name
		if !s.streams.take(name) {
			return nil, limited("%d event streams of %s are open already", callerStreams, name)
		}
		return &huma.StreamResponse{Body: func(c huma.Context) {
			defer s.streams.leave(name)
			c.SetHeader("Content-Type", "text/event-stream")
			c.SetStatus(http.StatusOK)
			s.stream(c, in.Query)
		}}, nil
	})
}

// over reports whether nothing more will happen.
func (e Event) over() bool {
	return e.Opened || slices.Contains([]string{"refused", "abandoned", "failed", "expired"}, e.Query.State)
}

// stream writes events until the query is over, the caller goes away or does not read, or
// the server stops.
func (s *Server) stream(c huma.Context, id string) {
	w, ok := c.BodyWriter().(http.ResponseWriter)
	if !ok {
		return
	}
	control := http.NewResponseController(w)
	send := func(text string) bool {
		if control.SetWriteDeadline(time.Now().Add(writeTime)) != nil {
			return false
		}
		_, err := fmt.Fprint(w, text)
		return err == nil && control.Flush() == nil
	}
	last := ""
	for {
		block := s.desk.Next()
		p, changed, err := s.desk.Progress(id)
		if err != nil {
			return
		}
		e := Event{Query: s.queryOf(p.Query), Cohorts: orNone(p.Cohorts), Shares: orNone(p.Shares), Of: p.Of, Opened: p.Opened, Problem: p.Problem}
		raw, err := json.Marshal(e)
		if err != nil {
			return
		}
		kind := "progress"
		if e.over() {
			kind = "end"
		}
		if text := "event: " + kind + "\ndata: " + string(raw) + "\n\n"; text != last {
			if last = text; !send(text) {
				return
			}
		}
		if e.over() {
			return
		}
		select {
		case <-block:
		case <-changed:
		case <-time.After(heartbeat):
			if !send(": still here\n\n") {
				return
			}
		case <-c.Context().Done():
			return
		case <-s.draining:
			send("event: stopping\ndata: {}\n\n")
			return
		}
	}
}

func orNone(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}
