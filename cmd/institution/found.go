package institution

import (
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/site"
)

// networkCommand puts a network together.
type networkCommand struct {
	Members   []string `arg:"" help:"The members' member.json, in the order in which members are numbered." type:"existingfile"`
	Name      string   `help:"The network's name; with Fabric the channel's." required:""`
	Out       string   `help:"Where to write the document." default:"network.json" type:"path"`
	Threshold int      `help:"How many members open an answer together." default:"2"`
	Registrar string   `help:"The member that vouches for patients and may never ask." required:""`
	Gateways  []string `help:"Members whose gateways may submit for patients and devices. Default: the registrar."`
	Minimum   int      `help:"Smallest cohort of any query." default:"11"`
	DailyAsks int      `help:"How many queries a member may ask in a day (UTC), exact ones included." default:"100"`
	Cap       rho      `help:"Privacy loss of one patient over all askers, rho (zCDP)." default:"3"`
	Exact     bool     `help:"Allow studies without privacy noise: for trials with made-up data only."`
	Clock     string   `help:"wall, or simulated for trials: time is what members post." enum:"wall,simulated" default:"wall"`
	Slot      int64    `help:"Predicates are answered in slots of so many seconds." default:"300"`
	Life      int64    `help:"Predicates expire after so many seconds." default:"86400"`
}

// Run writes the document.
func (c networkCommand) Run() error {
	d, err := c.document()
	if err != nil {
		return err
	}
	if err := site.Save(c.Out, d); err != nil {
		return err
	}
	_, err = fmt.Printf("network %q of %d members, %d of whom open an answer; give %s to all of them\n", d.Genesis.Network, len(d.Genesis.Members), d.Genesis.Threshold, c.Out)
	return err
}

func (c networkCommand) document() (record.Descriptor, error) {
	if len(c.Gateways) == 0 {
		c.Gateways = []string{c.Registrar}
	}
	d := record.Descriptor{Roots: map[string][]byte{}, Genesis: record.Genesis{
		Network: c.Name, Clock: c.Clock, Threshold: c.Threshold, Registrar: c.Registrar, Gateways: c.Gateways, MinCohort: c.Minimum, DailyAsks: c.DailyAsks, Exact: c.Exact,
		Profile: he.DefaultProfile().Name, Schema: privacy.V1().Digest(), CapMicro: uint64(c.Cap), Circuits: []record.Circuit{},
		PredicateSlot: c.Slot, PredicateLife: c.Life,
	}}
	for _, path := range c.Members {
		var m site.MemberDocument
		if err := site.Load(path, &m); err != nil {
			return d, err
		}
		if d.Roots[m.Member.MSP] != nil {
			return d, fmt.Errorf("%s: there is a member %q already", path, m.Member.MSP)
		}
		d.Roots[m.Member.MSP] = m.Root
		d.Genesis.Members = append(d.Genesis.Members, m.Member)
	}
	if _, err := site.MemberOf(d, c.Registrar); err != nil {
		return d, errors.Join(errors.New("the registrar must be a member"), err)
	}
	return d, checkNetwork(d.Genesis)
}

// checkNetwork refuses what the ledger or a member would refuse later, when everybody
// has the document.
func checkNetwork(g record.Genesis) error {
	if err := state.CheckGenesis(g); err != nil {
		return err
	}
	sharing, err := he.NewSharing(len(g.Members), g.Threshold)
	if err != nil {
		return err
	}
	profile, ok := he.ProfileByName(g.Profile)
	if !ok {
		return fmt.Errorf("sealing profile %q is unknown", g.Profile)
	}
	_, err = he.New(profile, privacy.V1(), sharing)
	return err
}
