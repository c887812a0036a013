package patient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/consent/words"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/site"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/claim"
)

type consentCommand struct {
	dirFlag
	Grantee      string   `help:"The institution, by its identifier such as HospitalA." required:""`
	Purpose      string   `help:"HL7 v3 purpose of use." default:"HRESCH"`
	Metrics      []string `help:"What it is about, as in \"vitalveil metrics\"." required:""`
	From         string   `help:"Beginning of the measurements: a Unix hour, or a time such as 2026-01-31T08:00:00Z." required:""`
	Until        string   `help:"Their end." required:""`
	NotBefore    string   `help:"From when on it counts. Default: now, by the network's time."`
	Expires      string   `help:"Until when it counts, unless it is taken back. Default: a year after the measurements' end."`
	Cap          float64  `help:"How much all statistics together may tell about you (rho, zCDP)." default:"1"`
	BeyondShare  bool     `help:"Let the institution use up more than its equal share of what the network allows for you."`
	Exact        bool     `help:"Permit statistics without privacy noise: nothing protects what they say about you."`
	NoStatistics bool     `help:"Permit no statistics."`
	Claim        []string `help:"A claim that may be asked, such as \"on a day, heart rate was between 50 and 90 /min in at least 600 of the 1440 minutes 00:00-24:00 UTC\" (\"vitalveil consent claim\"). May be repeated." sep:"none"`
	Terms        string   `help:"A JSON file with claims, or limits for claims, that may be asked." type:"existingfile"`
	Claims       uint32   `help:"How many claims may be asked in all. Default: as many as are listed."`
	Language     string   `help:"The language of claims: en or de." default:"en"`
	Share        bool     `help:"Let the institution pass on what was proven about you."`
	Deny         bool     `help:"Forbid instead, whatever else you have allowed."`
	Out          string   `help:"Also write the signed consent to this file, for \"vitalveil bridge consent\"." type:"path"`
	Yes          bool     `help:"Sign without asking."`
}

// Run shows a consent in words, signs it and hands it in.
func (c consentCommand) Run(ctx context.Context) error {
	h, err := c.confirmed()
	if err != nil {
		return err
	}
	client, key, err := h.client()
	if err != nil {
		return err
	}
	defer client.Close()
	n, err := client.Network(ctx)
	if err != nil {
		return err
	}
	now, err := h.now(n.LedgerTime)
	if err != nil {
		return err
	}
	d, err := c.document(h.Patient, now)
	if err != nil {
		return err
	}
	if err := agree(words.Of(d), c.Yes); err != nil {
		return err
	}
	s := consent.Signed{Document: d, Key: record.PublicKeyBytes(&key.PublicKey)}
	if s.Signature, err = record.Sign(key, d.Digest(h.genesis.Network)); err != nil {
		return err
	}
	if c.Out != "" { // before it is handed in: what was signed is not lost
		if err := site.Save(c.Out, s); err != nil {
			return err
		}
	}
	op, err := client.PutConsent(ctx, s)
	if err := Done(ctx, client, op, err); err != nil {
		return err
	}
	_, err = fmt.Printf("consent %s\n", d.ID)
	return err
}

const yearHours = 365 * 24

// document is what is to be signed.
func (c consentCommand) document(patient record.ID, now int64) (consent.Document, error) {
	d := consent.Document{
		ID: record.RandomID(), Version: 1, Patient: patient, Grantee: c.Grantee, Purpose: c.Purpose,
		Status: consent.StatusActive, Effect: consent.EffectPermit, Metrics: c.Metrics,
		NotBefore: now, BeyondShare: c.BeyondShare, Exact: c.Exact, Claims: c.Claims,
	}
	if c.Deny {
		d.Effect = consent.EffectDeny
	}
	if !(c.Cap >= 0 && c.Cap <= consent.MaxCapMicro/1e6) { // NaN is neither
		return d, fmt.Errorf("--cap is 0 to %g", consent.MaxCapMicro/1e6)
	}
	d.CapMicro = uint64(math.Round(c.Cap * 1e6))
	if !c.NoStatistics {
		d.Operations = append(d.Operations, consent.OpAggregate)
	}
	if len(c.Claim) > 0 || c.Terms != "" || c.Deny {
		d.Operations = append(d.Operations, consent.OpPredicate)
	}
	if c.Share {
		d.Operations = append(d.Operations, consent.OpShare)
	}
	if err := c.times(&d); err != nil {
		return d, err
	}
	if err := c.terms(&d); err != nil {
		return d, err
	}
	if err := consent.Validate(d); err != nil {
		return d, fmt.Errorf("this is no consent: %w", err)
	}
	return d, nil
}

// times reads the flags with times.
func (c consentCommand) times(d *consent.Document) error {
	from, err := seconds(c.From)
	if err != nil {
		return err
	}
	until, err := seconds(c.Until)
	if err != nil {
		return err
	}
	d.DataFrom, d.DataUntil = wearable.HourOf(from), wearable.HourOf(until)
	d.Expires = (d.DataUntil + yearHours) * 3600
	if c.NotBefore != "" {
		if d.NotBefore, err = seconds(c.NotBefore); err != nil {
			return err
		}
	}
	if c.Expires != "" {
		d.Expires, err = seconds(c.Expires)
	}
	return err
}

// seconds reads a Unix hour, or a time.
func seconds(text string) (int64, error) {
	if hour, err := strconv.ParseInt(text, 10, 32); err == nil {
		return hour * 3600, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a Unix hour nor a time such as 2026-01-31T08:00:00Z", text)
	}
	return t.Unix(), nil
}

// terms lists what may be claimed: sentences, and what a file has.
func (c consentCommand) terms(d *consent.Document) error {
	l, err := claim.ByTag(c.Language)
	if err != nil {
		return err
	}
	if c.Terms != "" {
		if err := site.Load(c.Terms, &d.Predicates); err != nil {
			return err
		}
	}
	for _, text := range c.Claim {
		said, err := l.Parse(text)
		if err != nil {
			return err
		}
		if !said.Anytime {
			return fmt.Errorf("a consent is about any day of the measurements: %q", claim.Claim{Metric: said.Metric, Days: said.Days, Anytime: true, Bounds: said.Bounds}.Text(l))
		}
		d.Predicates = append(d.Predicates, consent.Terms{Metric: said.Metric.Key, Days: uint32(said.Days), Claim: &said.Bounds})
	}
	switch {
	case len(d.Predicates) == 0 && c.Claims > 0:
		return errors.New("say which claims may be asked, with --claim or --terms")
	case c.Claims == 0:
		d.Claims = uint32(len(d.Predicates))
	}
	return nil
}

type revokeCommand struct {
	dirFlag
	Consent string `arg:"" optional:"" help:"The consent's identifier."`
	All     bool   `help:"Take back everything permitted so far."`
	Out     string `help:"Also write what was signed to this file, for \"vitalveil bridge consent\"." type:"path"`
	Yes     bool   `help:"Sign without asking."`
}

// Run takes back a consent, or all.
func (c revokeCommand) Run(ctx context.Context) error {
	if (c.Consent == "") != c.All {
		return errors.New("name one consent, or --all")
	}
	if c.All && c.Out != "" {
		return errors.New("--out is for one consent: what --all signs is left in the directory, for \"vitalveil bridge keys\"")
	}
	h, err := c.confirmed()
	if err != nil {
		return err
	}
	if c.All {
		return h.change(ctx, c.Yes, func(k *record.PatientKeys) error {
			k.RevokeAll = true
			return nil
		})
	}
	id, err := record.ParseID(c.Consent)
	if err != nil {
		return err
	}
	client, key, err := h.client()
	if err != nil {
		return err
	}
	defer client.Close()
	s, err := answered(ctx, func(ctx context.Context) (consent.Signed, error) { return client.Consent(ctx, id) })
	if err != nil {
		return err
	}
	if s.Document.ID != id || s.Document.Patient != h.Patient || s.CheckSignature(h.genesis.Network, h.genesis.RelyingParties) != nil {
		return errors.New("the gateway shows another document than this consent")
	}
	d := s.Document
	d.Previous, d.Version, d.Status = d.Digest(h.genesis.Network), d.Version+1, consent.StatusRevoked
	if err := consent.Follows(h.genesis.Network, &s.Document, d); err != nil {
		return err
	}
	if err := agree(words.Of(d), c.Yes); err != nil {
		return err
	}
	revoked := consent.Signed{Document: d, Key: record.PublicKeyBytes(&key.PublicKey)}
	if revoked.Signature, err = record.Sign(key, d.Digest(h.genesis.Network)); err != nil {
		return err
	}
	if c.Out != "" {
		if err := site.Save(c.Out, revoked); err != nil {
			return err
		}
	}
	op, err := client.PutConsent(ctx, revoked)
	if err := Done(ctx, client, op, err); err != nil {
		return err
	}
	_, err = fmt.Printf("consent %s is revoked\n", d.ID)
	return err
}

type historyCommand struct {
	dirFlag
	JSON bool `help:"Print JSON."`
}

// Run shows what happened.
func (c historyCommand) Run(ctx context.Context) error {
	h, err := c.confirmed()
	if err != nil {
		return err
	}
	client, _, err := h.client()
	if err != nil {
		return err
	}
	defer client.Close()
	entries, err := answered(ctx, func(ctx context.Context) ([]*api.HistoryEntry, error) { return client.History(ctx, h.Patient) })
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(entries)
	}
	for _, e := range entries {
		fmt.Printf("%s  %s\n", clock(e.Time), site.Plain(e.Text))
		for _, claim := range e.Claims {
			fmt.Printf("    %s\n", site.Plain(claim))
		}
	}
	_, err = fmt.Printf("%d entries\n", len(entries))
	return err
}
