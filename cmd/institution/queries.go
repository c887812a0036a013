package institution

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	role "github.com/vitalveil/vitalveil/network/institution"
)

// What an operator may have to say about queries and devices, beside asking.

type fetchCommand struct {
	dirFlag
	Query string `arg:"" help:"The query's transaction."`
	JSON  bool   `help:"Print JSON."`
}

// Help says when to use it.
func (fetchCommand) Help() string {
	return `Gets the answer to a query of this institution's again: after an interruption, after a
member came back that had been away, or to see whether an answer that was preliminary is
final by now. Nothing is debited.`
}

// Run fetches and prints the answer.
func (c fetchCommand) Run(ctx context.Context) error {
	var a role.Answer
	if err := c.call(ctx, "fetch", fetchRequest{Query: c.Query}, &a); err != nil {
		return err
	}
	return printAnswer(os.Stdout, &a, a.Rho, c.JSON)
}

type abandonCommand struct {
	dirFlag
	Query  string `arg:"" help:"The query's transaction."`
	Reason string `help:"What the others and patients read." required:""`
}

// Help says what it does to whose query.
func (abandonCommand) Help() string {
	return `Ends a query of this institution's. Of another's query it is a vote: as many as the
threshold end it, and this institution gives no more shares of it in any case.`
}

// Run ends the query or votes for that.
func (c abandonCommand) Run(ctx context.Context) error {
	return c.call(ctx, "abandon", record.Abandon{Query: c.Query, Reason: c.Reason}, nil)
}

type confirmCommand struct {
	dirFlag
	Query string `arg:"" help:"The query's transaction."`
}

// Help says what it is for.
func (confirmCommand) Help() string {
	return `Says on the ledger what this institution's own shares of a released query are, so that
the answer becomes final or is disputed. It does so by itself where that is missing; this
is for answers that are final without it.`
}

// Run confirms and prints how the release stands then.
func (c confirmCommand) Run(ctx context.Context) error {
	var q record.QueryState
	if err := c.call(ctx, "confirm", fetchRequest{Query: c.Query}, &q); err != nil {
		return err
	}
	_, err := fmt.Printf("the answer to query %s is %s\n", q.ID, q.Standing)
	return err
}

type quarantineCommand struct {
	dirFlag
	Device record.ID `arg:"" help:"The device's identifier."`
	Lift   bool      `help:"Vote that it come out again."`
	Reason string    `help:"What the others read." required:""`
}

// Run votes.
func (c quarantineCommand) Run(ctx context.Context) error {
	return c.call(ctx, "quarantine", record.VoteQuarantine{Device: c.Device, Lift: c.Lift, Reason: c.Reason}, nil)
}

type flagCommand struct {
	dirFlag
	Device record.ID `arg:"" help:"The device's identifier."`
	Kind   string    `help:"outlier: what it contributes is implausible; proof: its proofs do not verify; pointer: what it sent was refused." enum:"outlier,proof,pointer" required:""`
	Note   string    `help:"For people; never about anybody's health." required:""`
}

// Run flags the device.
func (c flagCommand) Run(ctx context.Context) error {
	return c.call(ctx, "flag", record.FlagDevice{Device: c.Device, Kind: c.Kind, Note: c.Note}, nil)
}

type callCommand struct {
	dirFlag
	Function string `arg:"" help:"Contract and method, such as Registry:VoteEpoch."`
	Document string `arg:"" help:"Its argument: JSON, or the path of a file with it after an @." default:"{}"`
}

// Help says what it can do.
func (callCommand) Help() string {
	return `Submits a document to a contract as this institution, and prints what it answers. It is
for what has no command of its own.
The contracts refuse what an institution may not do. What institutions post by themselves
(cohorts, availability, releases) is not to be posted by hand.`
}

// callRequest is what to submit.
type callRequest struct {
	Function string          `json:"function"`
	Document json.RawMessage `json:"document"`
}

// Run submits the document.
func (c callCommand) Run(ctx context.Context) error {
	doc := []byte(c.Document)
	if len(doc) > 1 && doc[0] == '@' {
		var err error
		if doc, err = os.ReadFile(string(doc[1:])); err != nil {
			return err
		}
	}
	if !json.Valid(doc) {
		return fault.New(fault.Invalid, "the document is not JSON")
	}
	var out json.RawMessage
	if err := c.call(ctx, "call", callRequest{c.Function, doc}, &out); err != nil {
		return err
	}
	_, err := fmt.Println(string(out))
	return err
}
