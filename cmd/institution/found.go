package institution

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/site"
	"github.com/vitalveil/vitalveil/zk"
)

// networkCommand puts a network together.
type networkCommand struct {
	Members      []string          `arg:"" help:"The members' member.json, in the order in which members are numbered." type:"existingfile"`
	Name         string            `help:"The network's name; with Fabric the channel's." required:""`
	Out          string            `help:"Where to write the document." default:"network.json" type:"path"`
	Threshold    int               `help:"How many members open an answer together." default:"2"`
	Registrar    string            `help:"The member that vouches for patients and may never ask." xor:"vouching" required:""`
	Vouchers     int               `help:"How many members must vouch for a patient together, in the place of a registrar: at least the threshold." xor:"vouching" required:""`
	Gateways     []string          `help:"Members whose gateways may submit for patients and devices. Default: the registrar."`
	Minimum      int               `help:"Smallest cohort of any query." default:"11"`
	DailyAsks    int               `help:"How many queries a member may ask in a day (UTC), exact ones included." default:"100"`
	Cap          rho               `help:"Privacy loss of one patient over all askers, rho (zCDP)." default:"3"`
	Exact        bool              `help:"Allow studies without privacy noise: for trials with made-up data only."`
	Clock        string            `help:"wall, or simulated for trials: time is what members post." enum:"wall,simulated" default:"wall"`
	Slot         int64             `help:"Predicates are answered in slots of so many seconds." default:"300"`
	Life         int64             `help:"Predicates expire after so many seconds." default:"86400"`
	Schema       string            `help:"The row schema: what is measured and can be asked." default:"vitals-v3"`
	Circuits     string            `help:"Directory of the proving keys of the circuits, made there where they are missing (a development setup); without it nobody asks claims." type:"path"`
	Classes      []string          `help:"Which claims can be asked: about a day, a week. A week's keys take half a minute to make." default:"day"`
	Ceremony     bool              `help:"Take keys of ceremonies only, which must be in the directory of circuits; the network then has no others."`
	RelyingParty map[string]string `help:"A portal on which patients may sign with passkeys, as DOMAIN=ORIGIN, with more origins after commas; repeat it."`
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
	if len(c.Gateways) == 0 && c.Registrar == "" {
		return record.Descriptor{}, errors.New("without a registrar, name the members whose gateways may submit for patients with --gateways")
	}
	if len(c.Gateways) == 0 {
		c.Gateways = []string{c.Registrar}
	}
	schema, ok := privacy.SchemaByName(cmp.Or(c.Schema, privacy.V3().Name))
	if !ok {
		return record.Descriptor{}, fmt.Errorf("there is no row schema %q", c.Schema)
	}
	d := record.Descriptor{Roots: map[string][]byte{}, Genesis: record.Genesis{
		Network: c.Name, Clock: c.Clock, Threshold: c.Threshold, Registrar: c.Registrar, Gateways: c.Gateways, MinCohort: c.Minimum, DailyAsks: c.DailyAsks, Exact: c.Exact,
		Profile: he.DefaultProfile().Name, Schema: schema.Digest(), CapMicro: uint64(c.Cap), Circuits: []record.Circuit{}, Vouchers: c.Vouchers,
		PredicateSlot: c.Slot, PredicateLife: c.Life, Ceremony: c.Ceremony,
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
	if err := c.more(&d.Genesis); err != nil {
		return d, err
	}
	if _, err := site.MemberOf(d, c.Registrar); err != nil && c.Registrar != "" {
		return d, errors.Join(errors.New("the registrar must be a member"), err)
	}
	return d, checkNetwork(d.Genesis)
}

// more adds circuits and portals.
func (c networkCommand) more(g *record.Genesis) error {
	for _, id := range slices.Sorted(maps.Keys(c.RelyingParty)) {
		g.RelyingParties = append(g.RelyingParties, record.RelyingParty{ID: id, Origins: strings.Split(c.RelyingParty[id], ",")})
	}
	if c.Circuits == "" {
		return nil
	}
	for _, class := range c.Classes {
		k, err := c.keys(class)
		if err != nil {
			return err
		}
		g.Circuits = append(g.Circuits, k.Circuit())
	}
	return nil
}

// keys loads the keys of a class, and makes them unless they must be of a ceremony.
func (c networkCommand) keys(class string) (*zk.Keys, error) {
	if c.Ceremony {
		return zk.ReadKeys(c.Circuits, class)
	}
	return zk.LoadKeys(c.Circuits, class, func(s string) { fmt.Fprintln(os.Stderr, s) })
}

// checkNetwork refuses what the ledger or a member would refuse later, when everybody
// has the document.
func checkNetwork(g record.Genesis) error {
	if err := state.CheckGenesis(g); err != nil {
		return err
	}
	_, err := he.ForNetwork(g)
	return err
}
