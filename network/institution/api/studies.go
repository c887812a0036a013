package api

import (
	"context"
	"math"
	"time"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// delta of every epsilon that is shown beside rho.
const delta = 1e-6

const micro = 1_000_000

// Study is a registered study, with what of its budget is left.
type Study struct {
	ID            string    `json:"id" pattern:"^[a-z0-9-]{1,64}$" doc:"Unique at this institution." example:"heart"`
	Title         string    `json:"title" minLength:"1" maxLength:"200" doc:"What patients read."`
	Purpose       string    `json:"purpose,omitempty" maxLength:"64" default:"HRESCH" doc:"HL7 v3 purpose of use."`
	Questions     []string  `json:"questions" minItems:"1" maxItems:"64" doc:"Metrics, pairs such as heart_rate*resp_rate, metrics by stratum." example:"[\"heart_rate\"]"`
	From          time.Time `json:"from" doc:"The first hour that may be asked about, UTC."`
	Until         time.Time `json:"until" doc:"The hour after the last."`
	MinimumCohort int       `json:"minimum_cohort,omitempty" minimum:"11" maximum:"1000000" default:"11" doc:"No answer is about fewer people."`
	Exact         bool      `json:"exact,omitempty" doc:"Ask without privacy noise, where the network allows it."`
	Budget        float64   `json:"budget,omitempty" minimum:"0" maximum:"1000" doc:"Privacy loss in all, rho (zCDP), in steps of a millionth; 0 in an exact study."`
}

// StudyState is a study with its budget.
type StudyState struct {
	Study
	Spent   float64 `json:"spent" doc:"Rho that questions have cost."`
	Left    float64 `json:"left" doc:"Rho that is left."`
	Epsilon float64 `json:"epsilon" doc:"Of what is spent, at delta 1e-6, for people."`
}

func studyState(s record.StudyState) StudyState {
	return StudyState{
		Study: Study{
			ID: s.Study.ID, Title: s.Study.Title, Purpose: s.Study.Purpose, Questions: s.Study.Metrics, From: hour(s.Study.From), Until: hour(s.Study.Until),
			MinimumCohort: s.Study.MinCohort, Exact: s.Study.Exact, Budget: rhoOf(s.Study.Budget),
		},
		Spent: rhoOf(s.Spent), Left: rhoOf(s.Study.Budget - min(s.Spent, s.Study.Budget)), Epsilon: privacy.Epsilon(s.Spent, delta),
	}
}

func hour(h int64) time.Time { return time.Unix(h*3600, 0).UTC() }

// hourOf is the Unix hour that begins at t.
func hourOf(field string, t time.Time) (int64, error) {
	if t.Unix()%3600 != 0 || t.Nanosecond() != 0 || t.Unix() < 0 {
		return 0, fault.New(fault.Invalid, "%s is the beginning of an hour, such as 2027-01-01T00:00:00Z", field)
	}
	return t.Unix() / 3600, nil
}

func hoursOf(from, until time.Time) (int64, int64, error) {
	a, err := hourOf("from", from)
	if err != nil {
		return 0, 0, err
	}
	b, err := hourOf("until", until)
	if err == nil && b <= a {
		err = fault.New(fault.Invalid, "until is after from")
	}
	return a, b, err
}

func rhoOf(m uint64) float64 { return float64(m) / micro }

// microOf is a rho in micro-zCDP. What is finer than a millionth is refused, and nothing
// is rounded.
func microOf(rho float64) (uint64, error) {
	m := math.Round(rho * micro)
	if !(rho >= 0) || rho > 1000 || math.Abs(rho*micro-m) > 1e-6 {
		return 0, fault.New(fault.Invalid, "rho is between 0 and 1000, in steps of a millionth")
	}
	return uint64(m), nil
}

type studyPath struct {
	Study string `path:"study" pattern:"^[a-z0-9-]{1,64}$" doc:"The study."`
	Conditional
}

type listed struct {
	Page
	Conditional
}

type newStudy struct{ Body Study }

type createdStudy struct {
	Location string `header:"Location" doc:"The study."`
	Body     StudyState
}

func (s *Server) studies() {
	read(s, route{path: "/v1/studies", id: "listStudies", group: "studies", summary: "This institution's studies", roles: both}, s.listStudies)
	write(s, route{path: "/v1/studies", id: "createStudy", group: "studies", summary: "Register a study", description: "The same study again changes nothing. A study's questions and budget are on the ledger for everybody to read, and are never changed.", roles: analysts, status: 201}, s.createStudy)
	read(s, route{path: "/v1/studies/{study}", id: "getStudy", group: "studies", summary: "A study, with its budget", roles: both, foreign: "404"}, s.getStudy)
	s.plans()
}

func (s *Server) listStudies(_ context.Context, in *listed) (list[StudyState], error) {
	all := s.desk.Index().StudiesOf(s.desk.MSP(), in.Cursor, in.Limit+1)
	return pageOf(all, in.Page, func(v record.StudyState) string { return v.Study.ID }, studyState), nil
}

func (s *Server) getStudy(_ context.Context, in *studyPath) (StudyState, error) {
	v, err := s.desk.Index().Study(s.desk.MSP(), in.Study)
	return studyState(v), err
}

func (s *Server) createStudy(ctx context.Context, in *newStudy) (*createdStudy, error) {
	b := in.Body
	from, until, err := hoursOf(b.From, b.Until)
	if err != nil {
		return nil, err
	}
	v := record.Study{ID: b.ID, Title: b.Title, Purpose: b.Purpose, Metrics: b.Questions, From: from, Until: until, MinCohort: b.MinimumCohort, Exact: b.Exact}
	if v.Budget, err = microOf(b.Budget); err != nil {
		return nil, err
	}
	if err := s.desk.CreateStudy(ctx, v); err != nil {
		return nil, err
	}
	got, err := s.desk.Index().Study(s.desk.MSP(), v.ID)
	if err != nil {
		return nil, err
	}
	return &createdStudy{"/v1/studies/" + v.ID, studyState(got)}, nil
}
