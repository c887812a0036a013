package institution

import (
	"context"
	"fmt"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/site"
)

// epochCommand is about which members share secrets from now on.
type epochCommand struct {
	Draft  epochDraftCommand  `cmd:"" help:"Write the document of the next epoch, for members to vote for."`
	Vote   epochVoteCommand   `cmd:"" help:"Vote that an epoch begin: everybody names the same document."`
	Retire epochRetireCommand `cmd:"" help:"Vote that an epoch end: its devices are asked no more, and what opens them is deleted."`
}

// Help says what follows from it.
func (epochCommand) Help() string {
	return `Members join and leave by epochs: devices that enrol from then on share with the members of
the newest one. At least the threshold of the members before and everybody who joins vote.`
}

type epochDraftCommand struct {
	Members   []string `arg:"" help:"The members' member.json, in the order in which they are numbered." type:"existingfile"`
	Number    uint32   `help:"The number of the epoch: one more than the newest." required:""`
	Threshold int      `help:"How many members open an answer together." default:"2"`
	Out       string   `help:"Where to write the document." default:"epoch.json" type:"path"`
}

// Run writes the document.
func (c epochDraftCommand) Run() error {
	e := record.Epoch{Number: c.Number, Threshold: c.Threshold, Profile: he.DefaultProfile().Name}
	if _, err := he.NewSharing(len(c.Members), c.Threshold); err != nil {
		return err
	}
	for _, path := range c.Members {
		var m site.MemberDocument
		if err := site.Load(path, &m); err != nil {
			return err
		}
		e.Members = append(e.Members, m.Member)
	}
	if err := site.Save(c.Out, e); err != nil {
		return err
	}
	_, err := fmt.Printf("epoch %d of %d members is in %s; each of them votes for it\n", e.Number, len(e.Members), c.Out)
	return err
}

type epochVoteCommand struct {
	dirFlag
	Document string `arg:"" help:"The epoch's document." type:"existingfile"`
}

// Run votes.
func (c epochVoteCommand) Run(ctx context.Context) error {
	var e record.Epoch
	if err := site.Load(c.Document, &e); err != nil {
		return err
	}
	var s record.EpochState
	if err := c.call(ctx, "epoch-vote", e, &s); err != nil {
		return err
	}
	return printEpoch(e.Number, s)
}

type epochRetireCommand struct {
	dirFlag
	Number uint32 `arg:"" help:"The epoch."`
}

// Run votes.
func (c epochRetireCommand) Run(ctx context.Context) error {
	var s record.EpochState
	if err := c.call(ctx, "epoch-retire", record.RetireEpoch{Epoch: c.Number}, &s); err != nil {
		return err
	}
	return printEpoch(c.Number, s)
}

func printEpoch(number uint32, s record.EpochState) error {
	standing := "the vote is recorded"
	switch {
	case s.Retired > 0:
		standing = "it is retired"
	case s.From > 0:
		standing = "it has begun"
	}
	_, err := fmt.Printf("epoch %d: %s\n", number, standing)
	return err
}
