package index

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// What a consent says is off-chain, and may come late. A version whose
// details are not there is a gap: until Supply fills it, or its patient is
// erased, nobody can know whether the patient is in a cohort.

// Gap is a version of a consent whose details this index has not got.
type Gap struct {
	Block   uint64 // that recorded it
	Patient record.ID
	Consent record.ID
	Version uint32
}

// putConsent enters a version and, where they came, its details. Those that are
// not what the chain has a salted hash of are no gap but an error: the contract
// does not record them.
func (pe *people) putConsent(w write) error {
	s, err := decode[state.ConsentPublic](w)
	if err != nil {
		return err
	}
	p, err := pe.owner(s.Entry.Patient)
	if err != nil {
		return err
	}
	hash := record.ID(sha256.Sum256([]byte(state.ConsentDetailsKey(s.Entry.ID, s.Entry.Version))))
	for _, private := range w.tx.Private {
		if private.Collection != state.Collection || private.KeyHash != hash || private.Delete {
			continue
		}
		c := p.agreement(s.Entry.ID)
		number := len(c.versions) + 1
		c.versions = append(c.versions, version{at: w.at, time: pe.clock.now, tx: w.tx.ID, entry: s.Entry})
		v := &c.versions[number-1]
		if int64(s.Entry.Version) != int64(number) {
			v.judged, v.unproven = true, true
			return refuse("version %d cannot follow version %d", s.Entry.Version, number-1)
		}
		p.unjudged = append(p.unjudged, place{c, number - 1})
		value, here, err := pe.openPrivate(p, private)
		if err != nil {
			return err
		}
		if !here {
			pe.gaps = append(pe.gaps, Gap{Block: w.at.Block, Patient: p.state.ID, Consent: s.Entry.ID, Version: s.Entry.Version})
			return nil
		}
		if err := v.fill(pe.policy.genesis.Network, value); err != nil {
			return err
		}
		pe.judgeKnown(p)
		return nil
	}
	return errors.New("a consent without details, which no contract records")
}

// place names a version.
type place struct {
	consent *agreement
	number  int // from 0
}

func (l place) version() *version { return &l.consent.versions[l.number] }

// judgeKnown judges a patient's versions in the order of the ledger, up to the first
// whose details are missing: what comes after may depend on what they say.
func (pe *people) judgeKnown(p *patient) {
	for len(p.unjudged) > 0 && p.unjudged[0].version().known {
		l := p.unjudged[0]
		p.unjudged = p.unjudged[1:]
		v := l.version()
		v.judged = true
		err := doubt(pe.judgeConsent(p, l))
		if v.unproven = err != nil; v.unproven {
			_ = pe.refusals.keep(v.at, v.tx, fmt.Sprintf("consent %s version %d", l.consent.id, l.number+1), err)
		}
	}
}

// judgeConsent applies the contracts' rules to a version at its place, with the keys,
// the consents and the time there.
func (pe *people) judgeConsent(p *patient, l place) error {
	v := l.version()
	d := v.signed.Document
	if v.digest.IsZero() { // it was loaded
		v.digest = d.Digest(pe.policy.genesis.Network)
	}
	if err := consent.Validate(d); err != nil {
		return err
	}
	if err := v.signed.VerifyDigest(v.digest, pe.policy.genesis.RelyingParties, p.asOf(v.at)); err != nil {
		return err
	}
	var last *consent.Document
	if l.number > 0 {
		previous := l.consent.versions[l.number-1]
		last = &previous.signed.Document
		if previous.unproven {
			return errors.New("the version before it is not proven")
		}
		if d.Status == consent.StatusActive && p.counts(previous, v.at).Status != last.Status {
			return errors.New("its patient had revoked everything, which is final")
		}
	}
	if err := consent.Follows(pe.policy.genesis.Network, last, d); err != nil {
		return err
	}
	return p.cooledOff(last, v)
}

// cooledOff applies the rule that no institution is permitted more within a day of a
// revocation, and that a denial holds for a day: the patient could have been talked into
// it.
func (p *patient) cooledOff(last *consent.Document, v *version) error {
	d := v.signed.Document
	if !consent.Widens(last, d) {
		return nil
	}
	if r := p.revocation(v.at); r != nil && v.time < r.state.Time+state.CoolingOff {
		return fmt.Errorf("everything was revoked at %d", r.state.Time)
	}
	for _, c := range p.consents { // any of them
		n := c.before(v.at)
		if n == 0 {
			continue
		}
		o := c.versions[n-1]
		if c.id == d.ID && d.Effect == consent.EffectDeny && v.time < o.time+state.CoolingOff {
			return fmt.Errorf("%s was denied at %d", d.Grantee, o.time)
		}
		if o.entry.Status != consent.StatusActive && v.time < o.time+state.CoolingOff && o.signed.Document.Grantee == d.Grantee {
			return fmt.Errorf("a consent for %s was revoked at %d", d.Grantee, o.time)
		}
	}
	return nil
}

// before returns how many versions there were before a position.
func (c *agreement) before(until Position) int {
	return sort.Search(len(c.versions), func(i int) bool { return !before(c.versions[i].at, until) })
}

// openPrivate opens what a transaction wrote off-chain about a patient; false
// where it, or the patient's key, is not here.
func (pe *people) openPrivate(p *patient, w network.PrivateWrite) ([]byte, bool, error) {
	if !w.Available || pe.keys == nil {
		return nil, false, nil
	}
	k, here := pe.detailsKey(p)
	if !here {
		return nil, false, nil
	}
	value, err := k.Open(pe.policy.genesis.Network, p.state.ID, w.Key, w.Value)
	return value, err == nil, err
}

// agreement returns the patient's consent of this name, a new one if there is none.
func (p *patient) agreement(id record.ID) *agreement {
	for _, c := range p.consents {
		if c.id == id {
			return c
		}
	}
	c := &agreement{id: id}
	p.consents = append(p.consents, c)
	return c
}

// fill takes a version's details if they are the ones that were hashed.
func (v *version) fill(networkName string, value []byte) error {
	var d consent.Details
	if err := record.Unmarshal(value, &d); err != nil {
		return err
	}
	v.digest = d.Signed.Document.Digest(networkName)
	if d.EntryOf(networkName, v.digest) != v.entry {
		return fmt.Errorf("the details of consent %s version %d are not those whose hash is on the chain", v.entry.ID.Short(), v.entry.Version)
	}
	v.signed, v.known = d.Signed, true
	return nil
}

// Missing returns the gaps, oldest first. Those of erased patients are none:
// their details are gone for good.
func (ix *Index) Missing() []Gap {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return append([]Gap(nil), ix.people.gaps...)
}

// Supply takes a block that was applied before, read again, and fills the gaps
// for which it has the details now. It returns how many. Details that are not
// the ones hashed on the chain are fault.Invalid; those before them are kept.
func (ix *Index) Supply(b *network.Block) (int, error) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	filled := 0
	for _, tx := range b.Txs {
		for _, private := range tx.Private {
			if private.Collection != state.Collection || !private.Available || private.Delete {
				continue
			}
			ok, err := ix.people.supply(b.Number, private)
			if err != nil {
				return filled, fault.New(fault.Invalid, "block %d: %w", b.Number, err)
			}
			if ok {
				filled++
			}
		}
	}
	ix.cohorts.settle()
	return filled, nil
}

func (pe *people) supply(block uint64, private network.PrivateWrite) (bool, error) {
	for i, g := range pe.gaps {
		if g.Block != block || state.ConsentDetailsKey(g.Consent, g.Version) != private.Key {
			continue
		}
		p := pe.patients[g.Patient]
		value, here, err := pe.openPrivate(p, private)
		if err != nil || !here {
			return false, err
		}
		if err := p.agreement(g.Consent).versions[g.Version-1].fill(pe.policy.genesis.Network, value); err != nil {
			return false, err
		}
		pe.gaps = append(pe.gaps[:i:i], pe.gaps[i+1:]...)
		pe.judgeKnown(p)
		return true, nil
	}
	return false, nil
}

// Reconcile reads again, through client, the blocks with gaps, and supplies what
// they have now. Gaps that stay are fault.Unavailable: call it again later.
func (ix *Index) Reconcile(ctx context.Context, client network.Client) error {
	read := map[uint64]bool{}
	for _, g := range ix.Missing() {
		if read[g.Block] {
			continue
		}
		read[g.Block] = true
		for b, err := range client.Blocks(ctx, g.Block) {
			if err == nil {
				_, err = ix.Supply(b)
			}
			if err != nil {
				return err
			}
			break
		}
	}
	if left := ix.Missing(); len(left) > 0 {
		return fault.New(fault.Unavailable, "the details of %d versions of consents have not arrived, the oldest of block %d", len(left), left[0].Block)
	}
	return nil
}

// lacking says what is missing.
func (pe *people) lacking() string {
	if len(pe.gaps) == 0 {
		return "details of consents have not arrived here yet"
	}
	g := pe.gaps[0]
	text := fmt.Sprintf("the details of version %d of consent %s of patient %s, which block %d recorded, have not arrived here", g.Version, g.Consent.Short(), g.Patient.Short(), g.Block)
	if more := len(pe.gaps) - 1; more > 0 {
		text += fmt.Sprintf(", nor those of %d others", more)
	}
	return text
}

// Lacking is fault.Unavailable, and names what is missing, where the cohort of a query
// that a member makes now would not be known here: it would be debited and, unless the
// details arrive, expire. Elsewhere, and where there is no such study, it is nil.
func (ix *Index) Lacking(asker string, ask record.Ask) error {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	study, ok := ix.cohorts.studies[asker+"/"+ask.Study]
	if !ok || len(ix.people.gaps) == 0 {
		return nil
	}
	q := ix.cohorts.questionOf(record.QueryState{Ask: ask, Asker: asker, Purpose: study.Study.Purpose, Exact: study.Study.Exact, Asked: ix.clock.now})
	if _, _, known := ix.cohorts.derive(q, latest); known && len(ix.cohorts.waiting) == 0 {
		return nil
	}
	return fault.New(fault.Unavailable, "the cohort of the query would not be known: %s", ix.people.lacking())
}

// hasGap reports whether details of the patient's consents are missing.
func (pe *people) hasGap(p *patient) bool {
	for _, g := range pe.gaps {
		if g.Patient == p.state.ID {
			return true
		}
	}
	return false
}

// notJudged lists, in ledger order, the versions that wait to be judged.
func (p *patient) notJudged() []place {
	var out []place
	if p.erased != nil {
		return nil
	}
	for _, c := range p.consents { // sorted below
		for i := range c.versions {
			if !c.versions[i].judged {
				out = append(out, place{c, i})
			}
		}
	}
	slices.SortFunc(out, func(a, b place) int { return a.version().at.compare(b.version().at) })
	return out
}
