package institution

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	role "github.com/vitalveil/vitalveil/network/institution"
	"github.com/vitalveil/vitalveil/network/site"
)

type planCommand struct {
	dirFlag
	Study   string   `arg:"" help:"The study's identifier."`
	Metrics []string `arg:"" optional:"" help:"Questions of the study. Default: all of them."`
	Want    string   `help:"Figures about person-days, with the mean among them." default:"mean"`
	From    int64    `help:"First Unix hour. Default: the study's."`
	Until   int64    `help:"Unix hour after the last. Default: the study's."`
	Days    []int64  `help:"Look at the last so many days; several numbers are looked at in turn." placeholder:"N,..."`
	Rho     rho      `help:"What each query may cost (zCDP). Default: what it needs to be worth printing." xor:"by"`
	Half    float64  `help:"Half the 95 % interval of one metric's mean, in its unit." xor:"by"`
	Epsilon float64  `help:"Share this among the queries by what each needs: epsilon in all, at delta 1e-6." xor:"by"`
	People  int64    `help:"So many people in each answer, and no institution needs to run. Default: those who would be in it now."`
	JSON    bool     `help:"Print JSON."`
}

// Help says what it answers.
func (planCommand) Help() string {
	return `Says before asking what an answer about people is worth, and debits nothing:

  plan --dir a heart                       what every metric of the study needs, and the sum
  plan --dir a heart heart_rate --rho 0.1  what a rho buys
  plan --dir a heart heart_rate --half 2   what +- 2 /min needs
  plan --dir a heart --epsilon 4           four, shared by need
  plan --dir a heart --days 1,7,30         for several numbers of days
  plan --dir a heart --people 200          for people who are not there yet

The interval is that of the privacy noise. "worth of" is of how many people an exact answer
would be as good. Noise is sized for every day that is asked: more days of as many people
leave the noise in a mean as it is.`
}

// planned is what the command prints as JSON.
type planned struct {
	Answers []role.Outlook `json:"answers"`
	Totals  []total        `json:"totals"` // for each number of days
}

// total is what all questions of some days cost together.
type total struct {
	Days    int64   `json:"days"`
	Rho     float64 `json:"rho"`
	Epsilon float64 `json:"epsilon"`
	Delta   float64 `json:"delta"`
}

// Run plans and prints.
func (c planCommand) Run(ctx context.Context) error {
	if c.Epsilon < 0 || c.Half < 0 || c.People < 0 {
		return fault.New(fault.Invalid, "an epsilon, an interval and a number of people are above zero")
	}
	r := role.PlanRequest{
		Study: c.Study, Metrics: c.Metrics, Want: c.Want, From: c.From, Until: c.Until, Days: c.Days, Rho: uint64(c.Rho),
		Half: c.Half, Total: privacy.RhoFor(c.Epsilon, delta), People: c.People,
	}
	all, err := c.plan(ctx, r)
	if err != nil {
		return err
	}
	out := planned{Answers: all, Totals: totals(all)}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(out)
	}
	return out.print(os.Stdout)
}

// totals sums up what is asked of the same days.
func totals(all []role.Outlook) []total {
	var out []total
	var rho uint64
	for i, o := range all {
		if i == 0 || all[i-1].Days != o.Days {
			out, rho = append(out, total{Days: o.Days, Delta: delta}), 0
		}
		rho += o.RhoMicro
		t := &out[len(out)-1]
		t.Rho, t.Epsilon = float64(rho)/1e6, privacy.Epsilon(rho, delta)
	}
	return out
}

// plan asks the running institution, or, for people who are not there yet, needs none.
func (c planCommand) plan(ctx context.Context, r role.PlanRequest) ([]role.Outlook, error) {
	if r.People > 0 && len(r.Metrics) > 0 && (len(r.Days) > 0 || r.Until > r.From) {
		return c.apart(r)
	}
	var out []role.Outlook
	return out, c.call(ctx, "plan", r, &out)
}

// apart plans by the network's document alone.
func (c planCommand) apart(r role.PlanRequest) ([]role.Outlook, error) {
	cfg, err := Load(c.Dir)
	if err != nil {
		return nil, err
	}
	d, err := site.Descriptor(string(cfg.Network))
	if err != nil {
		return nil, err
	}
	params, err := he.ForNetwork(d.Genesis)
	if err != nil {
		return nil, err
	}
	if r.Until <= r.From && len(r.Days) > 0 {
		r.From, r.Until = 0, state.DayHours*privacy.MaxDays
	}
	s := record.Study{ID: c.Study, Metrics: r.Metrics, From: r.From, Until: r.Until, MinCohort: d.Genesis.MinCohort}
	return role.Outlooks(params.Schema(), params.Sharing().Pieces(), s, r, func(record.Ask) (int64, error) { return r.People, nil })
}

func (p planned) print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "question\tpeople\tdays\trho\t+-\tworth printing\tworth of\tit needs")
	for _, o := range p.Answers {
		if o.People == 0 {
			fmt.Fprintf(table, "%s\t0\t%d\t\t\t\t\t%s\n", o.Metric, o.Days, o.Note)
			continue
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%.3g\t%.2g %s\t%.2g\t%.0f\t%s\n", o.Metric, o.People, o.Days, float64(o.RhoMicro)/1e6, o.Half, o.Unit, o.Print, o.WorthOf, needs(o))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, t := range p.Totals {
		fmt.Fprintf(w, "all of %d days: rho %.3g, epsilon %.2f at delta %g\n", t.Days, t.Rho, t.Epsilon, t.Delta)
	}
	for _, o := range p.Answers {
		if o.Note != "" && o.People > 0 {
			fmt.Fprintf(w, "%s: %s\n", o.Metric, o.Note)
		}
	}
	return nil
}

// needs says what would do where an answer is not worth printing.
func needs(o role.Outlook) string {
	if o.Half <= o.Need.Half*1.001 {
		return "nothing more"
	}
	out := fmt.Sprintf("%d people", o.Need.People)
	if o.Need.RhoMicro > 0 {
		out += fmt.Sprintf(" or rho %.3g", float64(o.Need.RhoMicro)/1e6)
	}
	return out + fmt.Sprintf(" for +- %.2g", o.Need.Half)
}

// before says what an answer that is about to be asked will be worth; empty where nothing
// can be said.
func before(o role.Outlook) string {
	if o.People == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "before: %d people, noise of about +- %.2g %s at rho %g", o.People, o.Half, o.Unit, float64(o.RhoMicro)/1e6)
	if !o.Usable {
		fmt.Fprintf(&b, "; too noisy to be worth printing: %s would do", needs(o))
	}
	if o.Note != "" {
		fmt.Fprintf(&b, "; %s", o.Note)
	}
	return b.String() + "\n"
}
