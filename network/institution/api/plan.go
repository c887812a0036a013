package api

import (
	"context"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution"
)

type newPlan struct{ Body Plan }

// Plan is what somebody considers to ask about people's days.
type Plan struct {
	Study     string   `json:"study" pattern:"^[a-z0-9-]{1,64}$"`
	Questions []string `json:"questions,omitempty" maxItems:"64" doc:"None: all of the study."`
	Want      string   `json:"want,omitempty" default:"mean" maxLength:"100" doc:"Figures of person-days, with the mean among them."`
	Days      []int64  `json:"days,omitempty" maxItems:"16" doc:"Look at the last so many days of the study, for each number. None: all of them."`
	Rho       float64  `json:"rho,omitempty" minimum:"0" maximum:"1000" doc:"What each question may cost. With none of rho, half and epsilon: what it needs to be worth printing."`
	Half      float64  `json:"half,omitempty" minimum:"0" doc:"Half the 95 % interval wanted of one question's mean, in its unit."`
	Epsilon   float64  `json:"epsilon,omitempty" minimum:"0" maximum:"1000" doc:"Share this, at delta 1e-6, among the questions by what each needs."`
	People    int64    `json:"people,omitempty" minimum:"0" maximum:"10000000" doc:"So many people in each answer. None: those who were eligible at midnight, rounded to 5."`
}

// Outlook is what one question will be worth.
type Outlook struct {
	Question string  `json:"question"`
	Unit     string  `json:"unit" doc:"UCUM."`
	People   int64   `json:"people" doc:"0: too few for an answer."`
	Days     int64   `json:"days"`
	Rho      float64 `json:"rho"`
	Epsilon  float64 `json:"epsilon" doc:"At delta 1e-6."`
	Half     float64 `json:"half" doc:"Of the 95 % interval of the noise in the mean."`
	Print    float64 `json:"print" doc:"The half interval that is worth printing."`
	Usable   bool    `json:"usable"`
	WorthOf  float64 `json:"worth_of" doc:"Of how many people an exact answer would be as good."`
	Note     string  `json:"note,omitempty"`
}

type outlooks struct {
	Body struct {
		Answers []Outlook `json:"answers"`
	}
}

// rounding of how many people are eligible.
const rounding = 5

// eligible is how many people would have been in a query at midnight: rounded, never below
// the minimum cohort, and 0 where they are fewer than that.
func (s *Server) eligible(study record.Study, ask record.Ask) (int64, error) {
	n, _, err := s.desk.Index().EligibleAtMidnight(s.desk.MSP(), study.Purpose, study.Exact, ask)
	if err != nil || n < study.MinCohort {
		return 0, err
	}
	return int64(max(study.MinCohort, (n+rounding/2)/rounding*rounding)), nil
}

func (s *Server) plan(_ context.Context, in *newPlan) (*outlooks, error) {
	b := in.Body
	study, err := s.desk.Index().Study(s.desk.MSP(), b.Study)
	if err != nil {
		return nil, err
	}
	r := institution.PlanRequest{Study: b.Study, Metrics: b.Questions, Want: b.Want, Days: b.Days, Half: b.Half, People: b.People}
	if r.Rho, err = microOf(b.Rho); err != nil {
		return nil, err
	}
	if b.Epsilon > 0 {
		r.Total = privacy.RhoFor(b.Epsilon, delta)
	}
	all, err := institution.Outlooks(s.desk.Schema(), s.desk.Pieces(), study.Study, r, func(a record.Ask) (int64, error) { return s.eligible(study.Study, a) })
	if err != nil {
		return nil, err
	}
	out := &outlooks{}
	out.Body.Answers = []Outlook{}
	for _, o := range all {
		out.Body.Answers = append(out.Body.Answers, Outlook{
			Question: o.Metric, Unit: o.Unit, People: o.People, Days: o.Days, Rho: rhoOf(o.RhoMicro), Epsilon: privacy.Epsilon(o.RhoMicro, delta),
			Half: o.Half, Print: o.Print, Usable: o.Usable, WorthOf: o.WorthOf, Note: o.Note,
		})
	}
	return out, nil
}

func (s *Server) plans() {
	write(s, route{path: "/v1/plan", id: "plan", group: "studies", summary: "What answers about people's days will be worth", description: "No budget is touched. What this rho buys, what plus or minus so much needs, or what each question needs to be worth printing.", roles: analysts}, s.plan)
}
