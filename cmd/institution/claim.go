package institution

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution"
	"github.com/vitalveil/vitalveil/zk/claim"
)

type claimCommand struct {
	dirFlag
	Patient  record.ID     `arg:"" help:"The patient, who allows this institution such claims."`
	Claim    string        `arg:"" help:"The claim, as a sentence."`
	Language string        `help:"The language of the sentence: en or de." default:"en"`
	Purpose  string        `help:"HL7 v3 purpose of use." default:"HRESCH"`
	Wait     time.Duration `help:"Wait so long for the outcome."`
	JSON     bool          `help:"Print JSON."`
}

// Help says what is learned.
func (claimCommand) Help() string {
	return `Asks a patient's device for a proof that a sentence about one metric on one day, or seven
days in a row, is true, such as

  on 2025-01-01, heart rate was between 50 and 90 /min in at least 600 of the 1440 minutes 00:00-24:00 UTC
  on at least 6 of the 7 days from 2025-01-01, heart rate was between 50 and 90 /min in at least
    400 of the 480 minutes 00:00-06:00 and 22:00-24:00 UTC of each day

("vitalveil consent claim" lists all that can be said.) What comes back is the proof or
nothing: the patient may decline, the claim may be false, the device may be away, and nobody
can tell which. "claimed" shows the outcome later.`
}

// ask is the document that is asked.
func (c claimCommand) ask() (record.AskPredicate, error) {
	l, err := claim.ByTag(c.Language)
	if err != nil {
		return record.AskPredicate{}, err
	}
	said, err := l.Parse(c.Claim)
	if err != nil {
		return record.AskPredicate{}, fault.New(fault.Invalid, "%w", err)
	}
	a, err := said.Ask()
	a.Patient, a.Purpose = c.Patient, c.Purpose
	return a, err
}

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
	Request string        `arg:"" optional:"" help:"The request's transaction. Without one, all are shown, and all their proofs are checked here in one batch."`
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
	if c.Request == "" {
		return c.all(ctx)
	}
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
	_, err := fmt.Printf("request %s: %s\n%s\n", s.ID, claim.Sentence(s.Ask, claim.English), outcome)
	return err
}

// all shows the requests of this institution, with what it has found itself.
func (c claimedCommand) all(ctx context.Context) error {
	var list []institution.Claimed
	if err := c.call(ctx, "claims", struct{}{}, &list); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(list)
	}
	attested, wrong := 0, 0
	for _, a := range list {
		status := a.State.Status
		switch {
		case a.Wrong != "":
			status, wrong = "WRONG, "+a.Wrong, wrong+1
		case status == record.PredicateAttested:
			attested++
		}
		fmt.Printf("%s patient %s: %s (%s)\n", a.State.ID[:8], a.State.Ask.Patient.Short(), claim.Sentence(a.State.Ask, claim.English), status)
	}
	fmt.Printf("%d requests, %d attested with proofs that hold\n", len(list), attested)
	if wrong > 0 {
		return fmt.Errorf("%d attestations on the ledger are none", wrong)
	}
	return nil
}

// maxClaims bounds how many requests are shown.
const maxClaims = 1000

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
