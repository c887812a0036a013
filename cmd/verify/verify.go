// Package verify re-checks the state of a demo, or of a site, offline: it believes the network's
// description (network.json) and nothing else that it reads.
//
// Entry points: Command is "vitalveil verify"; Check is the same for tests.
//
// What is checked: the chain of blocks, creators' signatures and that the state
// is what replaying the blocks gives; patients' consents with their versions and
// the salted hashes of them, erasures with the reports of members and that nothing
// erased is left,
// devices' signatures on pointers, blobs and rows behind the pointers, Merkle
// roots of batches, institutions' signatures and the receipts that follow from
// them, the cohorts of queries, the shares that releases rest on, and the proofs of
// attested claims.
//
// What is not: the cohorts before an erasure, which follow from consents that are
// gone; that members have deleted what they signed to have deleted; or that the
// description is the one that people were given: compare the file. An end that was cut
// off the chain shows where somebody has seen it: the gateway, whose journal is held
// against the ledger, the members, who note the newest block that they have read, or whoever kept the tip that an earlier check printed.
package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/network/embedded"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/index/follow"
)

// Command is "vitalveil verify".
type Command struct {
	State string `required:"" help:"State directory of a demo (--dir), or of a site with network.json, ledger, gateway and the members' directories; nothing in it is changed, and no process may have it open." type:"path" placeholder:"DIR"`
	Tip   Tip    `help:"A block that the ledger must have: the tip that an earlier check printed. Without it, blocks that were cut off the end show only where somebody in DIR has seen them." placeholder:"HASH"`
}

// Run runs the command.
func (c Command) Run(ctx context.Context) error {
	return Check(ctx, c.State, c.Tip, os.Stdout)
}

// knownVersion is the newest layout of a state directory that is understood.
const knownVersion = 1

// maxDescription bounds network.json.
const maxDescription = 1 << 20

// maxShown bounds how many failures are printed.
const maxShown = 20

// Check re-checks dir, prints a line per kind of thing checked, and returns an
// error when anything does not hold. A tip that is not zero has to be on the ledger.
func Check(ctx context.Context, dir string, tip Tip, out io.Writer) error {
	if _, err := os.Stat(filepath.Join(dir, "fabric")); err == nil {
		return fmt.Errorf("%s has a Fabric ledger, which its peers hold; verify reads the embedded ledger only", dir)
	}
	c, err := open(dir)
	if err != nil {
		return err
	}
	defer c.blobs.Close()
	rep, err := embedded.Verify(ctx, embedded.Config{Dir: c.places.ledger, Channel: c.genesis.Network, Roots: c.roots})
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	fmt.Fprintf(out, "ledger: %d blocks, %d transactions (%d without effect), tip %s\n", rep.Blocks, rep.Transactions, rep.Invalid, rep.Tip)
	if err := c.read(ctx, rep.Blocks); err != nil {
		return err
	}
	if tip != (Tip{}) {
		if err := c.seen(tip); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		name  string
		check func(context.Context) int
	}{
		{"epochs", c.successions},
		{"patients and devices", c.enrolments},
		{"sealed seeds", c.seeds},
		{"quarantines on evidence", c.quarantines},
		{"keys of pieces, with the evidence against faulty ones", c.keysOfPieces},
		{"changes of patients' keys", c.keys},
		{"consent versions", c.consents},
		{"erasures, with members' reports", c.erasures},
		{"details keys of members", func(context.Context) int { return c.keysLeft() }},
		{"pointers, with rows and day roots", c.pointers},
		{"batches", c.batches},
		{"availability posts", c.posts},
		{"receipts", c.receipts},
		{"transactions, with what follows from signatures", c.refused},
		{"cohorts", c.cohorts},
		{"releases, with the shares they rest on", c.releases},
		{"claims asked, with their proofs", c.claims},
		{"operations that the gateway has told of", c.operations},
		{"members' newest blocks", c.members},
	} {
		before := len(c.failures)
		n := part.check(ctx)
		fmt.Fprintf(out, "%s: %d checked, %d wrong\n", part.name, n, len(c.failures)-before)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return c.verdict(out)
}

func (c *checker) verdict(out io.Writer) error {
	for i, f := range c.failures {
		if i == maxShown {
			fmt.Fprintf(out, "and %d more\n", len(c.failures)-i)
			break
		}
		fmt.Fprintln(out, "WRONG:", f)
	}
	if len(c.failures) > 0 {
		return fmt.Errorf("%d things do not hold", len(c.failures))
	}
	if c.unread > 0 {
		fmt.Fprintf(out, "not read: %d consent versions are sealed, and no member's state here has their key\n", c.unread)
	}
	if c.unseen > 0 {
		fmt.Fprintf(out, "not read: %d claims are sealed, and no member's state here has their key\n", c.unseen)
	}
	fmt.Fprintln(out, "everything holds, up to this tip: compare it with what others have seen (--tip)")
	return nil
}

// open reads the description of the network and prepares what checks need.
func open(dir string) (*checker, error) {
	if err := state.Plain(dir); err != nil {
		return nil, err
	}
	at, err := find(dir)
	if err == nil {
		err = at.plain()
	}
	if err != nil {
		return nil, err
	}
	b, err := state.ReadFile(filepath.Join(dir, "network.json"), maxDescription)
	if err != nil {
		return nil, fmt.Errorf("the state directory has no description of its network: %w", err)
	}
	var d record.Descriptor
	if err := record.DecodeJSON(b, maxDescription, &d); err != nil {
		return nil, fmt.Errorf("network.json: %w", err)
	}
	c := newChecker(d)
	c.places = at
	if c.keyring, err = readKeys(at.members); err != nil {
		return nil, err
	}
	schema, ok := privacy.SchemaByDigest(c.genesis.Schema)
	if !ok {
		return nil, fmt.Errorf("the network uses row schema %s, which this version does not know", c.genesis.Schema.Short())
	}
	c.schema = schema
	if _, err := he.NewSharing(len(c.genesis.Members), c.genesis.Threshold); err != nil {
		return nil, fmt.Errorf("network.json: %w", err)
	}
	if _, err := c.paramsOf(c.genesis.Profile); err != nil {
		return nil, fmt.Errorf("network.json: %w", err)
	}
	if _, err := os.Stat(at.blobs); err != nil {
		return nil, err
	}
	c.blobs, err = blob.Open(at.blobs)
	return c, err
}

// read applies every block to an index and to the checker's own view.
func (c *checker) read(ctx context.Context, blocks uint64) error {
	l, err := embedded.Open(embedded.Config{Dir: c.places.ledger, Channel: c.genesis.Network, Roots: c.roots, ReadOnly: true})
	if err != nil {
		return err
	}
	defer l.Close()
	c.index = index.New()
	c.index.OpenWith(c.keyring)
	return errors.Join(follow.Read(l.Blocks(ctx, 0), c.index, blocks, c.take), ctx.Err())
}
