package institution

import (
	"context"
	"fmt"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/index/follow"
)

type acceptLedgerCommand struct {
	dirFlag
	Block uint64 `help:"Number of a block of the ledger that you accept; without --hash the newest is shown."`
	Hash  string `help:"Hash of that block, 64 hexadecimal digits, as every other member and the ledger's operator have confirmed it to you."`
}

// givenUp is what accepting another ledger costs.
const givenUp = `What only the ledger before this one had recorded counts no more:
 - patients' revocations, erasures and changes of keys;
 - what queries have cost patients and studies: budgets come back;
 - which hours exact queries have opened, so that they can be opened again, beside
   the shares that this member itself has given;
 - devices put out, retired or reported lost.
Find out first why the ledger is another one. If a copy of it still has the block that
this member has read, restore that copy instead: the member then goes on by itself.
`

// Help says what the command gives up.
func (acceptLedgerCommand) Help() string {
	return `An institution stops when the ledger does not contain the newest block that it has
read: "status" says which. This command tells it to work with the ledger at hand all
the same, by naming a block of it with its hash. There is no other way to say it.

` + givenUp
}

// Run names the block, or shows the newest one.
func (c acceptLedgerCommand) Run(ctx context.Context) error {
	if c.Hash == "" {
		var b follow.Block
		if err := c.call(ctx, "newest", struct{}{}, &b); err != nil {
			return err
		}
		fmt.Print(givenUp)
		return fault.New(fault.Invalid, "to give that up, name the block: the newest of the ledger at hand is --block %d --hash %s", b.Number, b.Hash)
	}
	hash, err := record.ParseID(c.Hash)
	if err != nil {
		return fault.New(fault.Invalid, "--hash: %w", err)
	}
	if err := c.call(ctx, "accept-ledger", follow.Block{Number: c.Block, Hash: hash}, nil); err != nil {
		return err
	}
	_, err = fmt.Printf("accepted: the institution in %s works with the ledger that has block %d with hash %s\n", c.Dir, c.Block, hash)
	return err
}
