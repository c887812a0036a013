package institution

import (
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// PlanRequest is what an institution considers to ask about person-days.
type PlanRequest struct {
	Study   string   `json:"study"`
	Metrics []string `json:"metrics,omitempty"` // none: the study's
	Want    string   `json:"want"`              // figures, with the mean; of pairs and strata it is the mean
	// From and Until bound the hours; 0 stands for the study's. With Days, the last so
	// many days of them are looked at, for each number.
	From  int64   `json:"from,omitempty"`
	Until int64   `json:"until,omitempty"`
	Days  []int64 `json:"days,omitempty"`
	// Rho (micro-zCDP) is for each question; 0 stands for what each needs to be worth
	// printing, or for half an interval of Half. With a total, what they need is scaled to
	// it.
	Rho   uint64  `json:"rho_micro,omitempty"`
	Half  float64 `json:"half,omitempty"`
	Total uint64  `json:"total_rho_micro,omitempty"`
	// People in each answer; 0: those who would be in it now.
	People int64 `json:"people,omitempty"`
}

// Outlook is what an answer will be worth.
type Outlook struct {
	privacy.Forecast
	Need privacy.Need `json:"need"`
	// Note says what else to know before asking, empty if nothing.
	Note string `json:"note,omitempty"`
}

// Outlooks looks at what may be asked in a study, without touching a budget: each
// question, for each number of days. eligible counts who would be in a query.
func Outlooks(schema *privacy.Schema, pieces int, s record.Study, r PlanRequest, eligible func(record.Ask) (int64, error)) ([]Outlook, error) {
	if schema.Day() == nil {
		return nil, fault.New(fault.Invalid, "rows of schema %s have no person-days", schema.Name)
	}
	if err := r.complete(s); err != nil {
		return nil, err
	}
	var out []Outlook
	for _, days := range r.Days {
		var all []considered
		for _, metric := range r.Metrics {
			c, err := r.look(schema, pieces, metric, days, eligible)
			if err != nil {
				return nil, err
			}
			all = append(all, c)
		}
		r.scale(all)
		for _, c := range all {
			o, err := r.outlook(c, pieces)
			if err != nil {
				return nil, fault.New(fault.Invalid, "%w", err)
			}
			o.Note = note(o, s.MinCohort, r.Metrics)
			out = append(out, o)
		}
	}
	return out, nil
}

// considered is a question, with how many people and days it would be about and what it
// would cost.
type considered struct {
	state.Asked
	people, days int64
	rho          uint64
}

// complete fills in what the study says, and refuses what cannot be planned.
func (r *PlanRequest) complete(s record.Study) error {
	if len(r.Metrics) == 0 {
		r.Metrics = s.Metrics
	}
	if r.From == 0 && r.Until == 0 {
		r.From, r.Until = s.From, s.Until
	}
	r.From, r.Until = state.WholeDays(r.From, r.Until)
	if len(r.Days) == 0 {
		r.Days = []int64{min((r.Until-r.From)/state.DayHours, privacy.MaxDays)}
	}
	switch {
	case r.Want == "":
		return fault.New(fault.Invalid, "a plan is about figures of person-days: want at least the mean")
	case s.Exact:
		return fault.New(fault.Invalid, "study %q is exact: its answers have no noise to plan", s.ID)
	case r.Half != 0 && len(r.Metrics) > 1:
		return fault.New(fault.Invalid, "an interval is of one metric: name it, or plan all of them by what is worth printing")
	case !(r.Half >= 0) || r.People < 0:
		return fault.New(fault.Invalid, "an interval and a number of people are above zero")
	case r.Rho != 0 && (r.Half != 0 || r.Total != 0) || r.Half != 0 && r.Total != 0:
		return fault.New(fault.Invalid, "plan by one of the privacy loss of each query, an interval, and a total")
	}
	return nil
}

// look considers one question.
func (r *PlanRequest) look(schema *privacy.Schema, pieces int, metric string, days int64, eligible func(record.Ask) (int64, error)) (considered, error) {
	c := considered{people: r.People, days: days, rho: r.Rho}
	ask := record.Ask{Study: r.Study, Metric: metric, Want: r.Want, From: r.Until - days*state.DayHours, Until: r.Until, Rho: r.Rho}
	if q, known := schema.Day().Question(metric); known && q.Shape != privacy.ShapePerson {
		ask.Want = q.Whole().String()
	}
	var err error
	if c.Asked, err = state.About(schema, ask, false); err != nil {
		return c, fault.New(fault.Invalid, "%w", err)
	}
	for range 2 { // who still has so much left depends on what it costs, and that on how many they are
		if r.People == 0 {
			if c.people, err = eligible(ask); err != nil {
				return c, err
			}
		}
		if r.Rho > 0 || c.people == 0 {
			return c, nil
		}
		if c.rho, err = c.Schema.RhoByNeed(c.Slot, c.Want, c.people, days, r.Half, pieces); err != nil {
			return c, fault.New(fault.Invalid, "%w", err)
		}
		ask.Rho = c.rho
	}
	return c, nil
}

// scale divides the total, if there is one, by what each question needs.
func (r *PlanRequest) scale(all []considered) {
	var needed uint64
	for _, c := range all {
		needed += c.rho
	}
	for i, c := range all {
		if r.Total > 0 && c.people > 0 {
			all[i].rho = max(uint64(float64(r.Total)*float64(c.rho)/float64(needed)), 100)
		}
	}
}

func (r *PlanRequest) outlook(c considered, pieces int) (Outlook, error) {
	if c.people == 0 {
		return Outlook{Forecast: privacy.Forecast{Metric: c.Key, Days: c.days, RhoMicro: c.rho}}, nil
	}
	f, err := c.Schema.Forecast(c.Slot, c.Want, c.people, c.days, c.rho, pieces)
	return Outlook{Forecast: f, Need: f.Need(r.Half)}, err
}

// note says what a table cannot.
func note(o Outlook, minimum int, metrics []string) string {
	switch {
	case o.People < int64(minimum):
		return fmt.Sprintf("would be refused: the smallest cohort has %d people", minimum)
	case o.Unit == "" && !o.Usable:
		return "a correlation between people needs thousands of them"
	case o.Metric == "pulse_rate" && slices.Contains(metrics, "heart_rate"):
		return "heart and pulse rate of a person are one quantity: asking both pays for it twice"
	}
	return ""
}

// Plan says what may be asked in one of this institution's studies, and what each answer
// will be worth. Nothing is debited.
func (as *asker) Plan(r PlanRequest) ([]Outlook, error) {
	known, err := as.index.Study(as.self.MSP, r.Study)
	if err != nil {
		return nil, err
	}
	s := known.Study
	return Outlooks(as.params.Schema(), as.params.Sharing().Pieces(), s, r, func(ask record.Ask) (int64, error) {
		ask.Epoch = as.context.Epoch
		c, err := as.index.Eligible(as.self.MSP, s.Purpose, s.Exact, ask)
		return int64(c.Size), err
	})
}
