// Package ceremony is the commands of a ceremony: the parties of a network make the keys
// of a circuit together, over a directory that goes from one to the next.
package ceremony

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/site"
	"github.com/vitalveil/vitalveil/zk/ceremony"
)

// Command is "vitalveil ceremony".
type Command struct {
	Start      startCommand      `cmd:"" help:"Begin a ceremony: say which class of claims, and who contributes, in the order of their turns."`
	Contribute contributeCommand `cmd:"" help:"Verify what others have contributed, and add secrets of your own, which are forgotten. Everybody has two turns."`
	Verify     verifyCommand     `cmd:"" help:"Verify every contribution made so far."`
	Seal       sealCommand       `cmd:"" help:"Verify a complete ceremony and make its keys; whoever does it gets the same."`
}

type dirFlag struct {
	Dir string `help:"The ceremony's directory: hand it on, whole, to who has the next turn." required:"" type:"path"`
}

type startCommand struct {
	dirFlag
	Class        string   `help:"The class of circuit: day or week." default:"day"`
	Contributors []string `arg:"" help:"Who contributes, such as the members' MSP IDs. One who forgets their secrets is enough for the keys to be safe."`
}

// Run begins a ceremony.
func (c startCommand) Run() error {
	made, err := ceremony.Start(c.Dir, c.Class, c.Contributors)
	if err != nil {
		return err
	}
	_, turn := made.Turn()
	_, err = fmt.Printf("a ceremony of class %s has begun; hand %s to %s\n", c.Class, c.Dir, turn)
	return err
}

type contributeCommand struct {
	dirFlag
	As string `help:"Your name among the contributors." required:""`
}

// Run contributes.
func (c contributeCommand) Run() error {
	opened, err := ceremony.Open(c.Dir)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "verifying what there is, and contributing: this takes a minute or more")
	hash, err := opened.Contribute(c.As)
	if err != nil {
		return err
	}
	fmt.Printf("contributed: %s\nkeep this, and look for it with \"vitalveil ceremony verify --mine\" before you accept the keys, which --network compares\n", hash)
	if phase, turn := opened.Turn(); phase > 0 {
		fmt.Printf("hand %s to %s, for phase %d\n", c.Dir, turn, phase)
	} else {
		fmt.Println("everybody has contributed: \"vitalveil ceremony seal\" makes the keys")
	}
	return nil
}

type verifyCommand struct {
	dirFlag
	Mine    []string `help:"What \"contribute\" printed for you: it must be among the contributions."`
	Network string   `help:"The description of a network, network.json: its key of the class must be the one that this ceremony made." type:"existingfile"`
}

// Run verifies.
func (c verifyCommand) Run() error {
	opened, err := ceremony.Open(c.Dir)
	if err != nil {
		return err
	}
	t := opened.Transcript()
	for _, mine := range c.Mine {
		if !slices.ContainsFunc(slices.Concat(t.Phases[0], t.Phases[1]), func(id record.ID) bool { return id.String() == mine }) {
			return fmt.Errorf("%s is not among the contributions: somebody has left yours out", mine)
		}
	}
	if err := c.all(opened); err != nil {
		return err
	}
	fmt.Printf("class %s, contributors %s\n", t.Class, strings.Join(t.Contributors, ", "))
	for phase, hashes := range t.Phases {
		for turn, hash := range hashes {
			fmt.Printf("phase %d, %s: %s\n", phase+1, t.Contributors[turn], hash)
		}
	}
	if phase, turn := opened.Turn(); phase > 0 {
		fmt.Printf("all of it verifies; it is the turn of %s, in phase %d\n", turn, phase)
		return nil
	}
	_, err = fmt.Printf("all of it verifies and is complete; transcript %s\n", t.Digest())
	return err
}

// all verifies the ceremony, and that a network has its key.
func (c verifyCommand) all(opened *ceremony.Ceremony) error {
	if c.Network == "" {
		return opened.Verify()
	}
	d, err := site.Descriptor(c.Network)
	if err != nil {
		return err
	}
	if err := opened.VerifyNetwork(d.Genesis); err != nil {
		return err
	}
	_, err = fmt.Printf("network %q takes proofs by the key of this ceremony\n", d.Genesis.Network)
	return err
}

type sealCommand struct {
	dirFlag
	Keys string `help:"Directory of keys to which the ceremony's are added." required:"" type:"path"`
}

// Run makes the keys.
func (c sealCommand) Run() error {
	opened, err := ceremony.Open(c.Dir)
	if err != nil {
		return err
	}
	keys, err := opened.Seal(c.Keys)
	if err != nil {
		return err
	}
	_, err = fmt.Printf("keys of class %s are in %s\nverifying key SHA-256 %s\ntranscript %s\ncontributors %s\n",
		keys.Class.Name, c.Keys, keys.Hash, keys.Origin.Transcript, strings.Join(keys.Origin.Contributors, ", "))
	return err
}
