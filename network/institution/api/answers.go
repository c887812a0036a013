package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/vitalveil/vitalveil/internal/fault"
)

const (
	jsonType = "application/json"
	csvType  = "text/csv"
	fhirType = "application/fhir+json"
)

type answerRequest struct {
	Query  string `path:"query" pattern:"^[0-9a-f]{64}$" doc:"The query."`
	Accept string `header:"Accept" maxLength:"200" doc:"application/json, text/csv or application/fhir+json."`
	Conditional
}

type answerFile struct {
	ContentType string `header:"Content-Type"`
	ETag        string `header:"ETag"`
	Body        []byte
}

func (s *Server) answers() {
	text := &huma.Schema{Type: huma.TypeString}
	r := route{
		method: http.MethodGet, path: "/v1/queries/{query}/answer", id: "getAnswer", group: "queries", summary: "The answer to a question", roles: analysts, foreign: "404",
		description: "As JSON, as a table (text/csv), or as a FHIR R4 MeasureReport, by Accept. While there is none it is a problem with the code TOO_EARLY.",
		formats: map[string]*huma.MediaType{
			jsonType: {Schema: s.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Answer](), true, "")},
			csvType:  {Schema: text},
			fhirType: {Schema: s.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[MeasureReport](), true, "")},
		},
	}
	huma.Register(s.huma, describe(s, s.add(r)), func(ctx context.Context, in *answerRequest) (*answerFile, error) {
		f, err := s.answer(in)
		if err != nil {
			return nil, problemOf(err)
		}
		return f, nil
	})
}

func (s *Server) answer(in *answerRequest) (*answerFile, error) {
	kind, err := wanted(in.Accept)
	if err != nil {
		return nil, err
	}
	q, err := s.desk.Index().Query(in.Query)
	if err != nil || q.Asker != s.desk.MSP() {
		return nil, fault.New(fault.NotFound, "no query %s of this institution's", in.Query)
	}
	opened, err := s.desk.Opened(in.Query)
	if err != nil {
		return nil, err
	}
	a := answerOf(s.queryOf(q), opened)
	body, err := render(kind, a, s.desk.MSP())
	if err != nil {
		return nil, err
	}
	tag := tagOf(body)
	if matches(in.IfNoneMatch, tag) {
		return nil, unchanged(tag)
	}
	return &answerFile{kind, tag, body}, nil
}

func render(kind string, a Answer, msp string) ([]byte, error) {
	switch kind {
	case csvType:
		return csvOf(a)
	case fhirType:
		return json.Marshal(reportOf(a, msp))
	}
	return json.Marshal(a)
}

// wanted is the first of the formats that an Accept header lists; JSON where it takes
// anything. What it weighs as 0 it does not want.
func wanted(accept string) (string, error) {
	if strings.TrimSpace(accept) == "" {
		return jsonType, nil
	}
	for one := range strings.SplitSeq(accept, ",") {
		kind, params, err := mime.ParseMediaType(one)
		if err != nil {
			continue
		}
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil && q == 0 {
			continue
		}
		switch kind {
		case jsonType, csvType, fhirType:
			return kind, nil
		case "*/*", "application/*":
			return jsonType, nil
		case "text/*":
			return csvType, nil
		}
	}
	return "", newProblem(MediaType, "an answer is application/json, text/csv or application/fhir+json")
}

// csvOf is an answer as a table (RFC 4180), a figure a line. What is preliminary says so on
// each line, since lines are copied.
func csvOf(a Answer) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	rows := [][]string{{"question", "from", "until", "people", "standing", "figure", "group", "unit", "state", "value", "low", "high", "population_low", "population_high"}}
	for _, f := range a.Figures {
		rows = append(rows, []string{
			a.Query.Question.Question, a.Query.From.Format(time.RFC3339), a.Query.Until.Format(time.RFC3339), strconv.Itoa(a.People), a.Standing,
			f.Name, f.Group, f.Unit, f.State, decimal(f.Value), decimal(f.Low), decimal(f.High), decimal(f.PopulationLow), decimal(f.PopulationHigh),
		})
	}
	if err := w.WriteAll(rows); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func decimal(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'f', -1, 64)
}
