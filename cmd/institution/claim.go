package institution

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

type claimCommand struct {
	dirFlag
	Patient record.ID     `arg:"" help:"The patient, who allows this institution such claims."`
	Metric  string        `arg:"" help:"The metric."`
	Day     time.Time     `help:"The (first) day, UTC, as in 2026-01-31." format:"2006-01-02" required:""`
	Low     int64         `help:"Least value, in steps of the metric's resolution (\"vitalveil metrics\"); with --high."`
	High    int64         `help:"Greatest value; with --low."`
	Minutes uint32        `help:"In how many minutes at least the value was from --low to --high."`
	Count   uint32        `help:"How many minutes at least have a value at all."`
	Purpose string        `help:"HL7 v3 purpose of use." default:"HRESCH"`
	Class   string        `help:"Circuit class." default:"day"`
	Bounds  string        `help:"All bounds as a JSON document in the place of those above, for other kinds of claims: a file." type:"existingfile"`
	Wait    time.Duration `help:"Wait so long for the outcome."`
	JSON    bool          `help:"Print JSON."`
}

// Help says what is learned.
func (claimCommand) Help() string {
	return `Asks a patient's device for a proof that a claim about one metric on one day is true.
What comes back is the proof or nothing: the patient may decline, the claim may be false,
the device may be away, and nobody can tell which. "claimed" shows the outcome later.`
}

// ask is the document that is asked.
func (c claimCommand) ask() (record.AskPredicate, error) {
	a := record.AskPredicate{Patient: c.Patient, Purpose: c.Purpose, Class: c.Class, Metric: c.Metric, FirstDay: c.Day.Unix() / 86400}
	m, ok := wearable.ByKey(c.Metric)
	if !ok {
		return a, fault.New(fault.Invalid, "there is no metric %q (\"vitalveil metrics\" lists them)", c.Metric)
	}
	if c.Bounds != "" {
		b, err := os.ReadFile(c.Bounds)
		if err == nil {
			err = record.DecodeJSON(b, maxBounds, &a.Bounds)
		}
		return a, err
	}
	low, fits := m.Code(c.Low)
	high, also := m.Code(c.High)
	if !fits || !also {
		return a, fault.New(fault.Invalid, "--low and --high are from %d to %d for %s", m.MinUnits(), m.MaxUnits(), m.Key)
	}
	a.Bounds = verifier.Unbounded()
	a.Bounds.Lo, a.Bounds.Hi, a.Bounds.K, a.Bounds.MinCount = uint32(low), uint32(high), c.Minutes, max(c.Count, c.Minutes)
	return a, nil
}

// maxBounds bounds a file with bounds, in bytes.
const maxBounds = 4 << 10

// Run asks, and waits for the outcome.
func (c claimCommand) Run(ctx context.Context) error {
	a, err := c.ask()
	if err != nil {
		return err
	}
	var id string
	if err := c.call(ctx, "claim", a, &id); err != nil {
		return err
	}
	return claimedCommand{c.dirFlag, id, c.Wait, c.JSON}.Run(ctx)
}

type claimedCommand struct {
	dirFlag
	Request string        `arg:"" help:"The request's transaction."`
	Wait    time.Duration `help:"Wait so long for the outcome."`
	JSON    bool          `help:"Print JSON."`
}

// claimedRequest asks for the outcome of a request.
type claimedRequest struct {
	Request string `json:"request"`
	Wait    int64  `json:"wait_seconds"`
}

// Run shows how a request stands.
func (c claimedCommand) Run(ctx context.Context) error {
	var s record.PredicateState
	if err := c.call(ctx, "claimed", claimedRequest{c.Request, int64(c.Wait / time.Second)}, &s); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(s)
	}
	outcome := map[string]string{
		record.PredicateAsked:    "not answered yet",
		record.PredicateAttested: "attested, with a proof that the ledger has verified",
		record.PredicateExpired:  "not proven within its time",
	}[s.Status]
	_, err := fmt.Printf("request %s: %s\n%s\n", s.ID, s.Text, outcome)
	return err
}

// claimed is the state of a request, after a while if it is open.
func (p *Process) claimed(ctx context.Context, r *claimedRequest) (record.PredicateState, error) {
	if r.Wait <= 0 {
		return p.Predicate(ctx, r.Request)
	}
	waiting, cancel := context.WithTimeout(ctx, time.Duration(r.Wait)*time.Second)
	defer cancel()
	s, err := p.WaitPredicate(waiting, r.Request)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		return p.Predicate(ctx, r.Request)
	}
	return s, err
}
