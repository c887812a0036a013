package index

import (
	"cmp"
	"sort"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Kinds of history entries.
const (
	EntryConsent = "consent"
	EntryKeys    = "keys"
	EntryQuery   = "query"
	EntryErasure = "erasure"
)

// StateUnproven is the state of a version that does not follow from the patient's
// signatures.
const StateUnproven = "unproven"

// Entry is one event in the life of a patient's data. Exactly one of Consent,
// Keys, Query and Erasure is set.
type Entry struct {
	Kind    string          `json:"kind"`
	Time    int64           `json:"time"` // ledger time
	At      Position        `json:"at"`
	Tx      string          `json:"tx"`
	Consent *ConsentVersion `json:"consent,omitempty"`
	Keys    *KeysEntry      `json:"keys,omitempty"`
	Query   *QueryEntry     `json:"query,omitempty"`

	Erasure *record.ErasureState `json:"erasure,omitempty"`
}

// ConsentVersion is one version of a consent.
type ConsentVersion struct {
	Entry record.ConsentEntry `json:"entry"`
	// State is where the version stands in its life at the newest ledger time
	// (consent.State); those of an erased patient are revoked. StateUnproven is one
	// that permits nothing, since nobody has signed it who could.
	State string `json:"state"`
	// Signed is nil where the details are missing, as after an erasure.
	Signed *consent.Signed `json:"signed,omitempty"`
}

// KeysEntry is a change of the patient's keys.
type KeysEntry struct {
	Signed consent.SignedKeys `json:"signed"`
	// Recovered is true when the recovery code signed, which names another.
	Recovered bool `json:"recovered"`
}

// QueryEntry is a query whose cohort had the patient in it.
type QueryEntry struct {
	State record.QueryState `json:"state"`
	// Metrics are those that the question is about, and About says it in words.
	Metrics []string `json:"metrics"`
	About   string   `json:"about"`
	// Hours is how many of the patient's device hours counted, or, of a query about
	// person-days, Days how many days.
	Hours int64 `json:"hours"`
	Days  int64 `json:"days,omitempty"`
	// Included is false when the query was refused, which opens nothing, and when
	// the patient had withdrawn before the cohort of the attempt that the query
	// reached and no member can have given a share of an earlier one.
	Included bool `json:"included"`
	// Unprotected is true of an answer without privacy noise.
	Unprotected bool `json:"unprotected"`
}

// History returns what happened to a patient's data, oldest first: every
// consent version, every change of the patient's keys and every query whose cohort
// included the patient. What was asked about the patient alone is private, and the
// chaincode's to tell (Predicate:OfPatient).
func (ix *Index) History(patientID record.ID) ([]Entry, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	p := ix.people.patients[patientID]
	if p == nil {
		return nil, fault.New(fault.NotFound, "no patient %s", patientID)
	}
	var out []Entry
	for _, agreed := range p.consents { // sorted below
		for _, v := range agreed.versions {
			c := ix.people.consentVersion(p, v, uint32(len(agreed.versions)))
			out = append(out, Entry{Kind: EntryConsent, Time: v.time, At: v.at, Tx: v.tx, Consent: c})
		}
	}
	out = append(out, p.keysEntries()...)
	if e := p.erased; e != nil {
		out = append(out, Entry{Kind: EntryErasure, Time: e.state.Time, At: e.at, Tx: e.tx, Erasure: &e.state})
	}
	for _, id := range p.queries {
		q := ix.cohorts.queries[id]
		out = append(out, Entry{Kind: EntryQuery, Time: q.state.Asked, At: q.at, Tx: id, Query: ix.cohorts.queryEntry(patientID, q)})
	}
	sort.SliceStable(out, func(i, j int) bool { return before(out[i].At, out[j].At) })
	return out, nil
}

func (pe *people) consentVersion(p *patient, v version, versions uint32) *ConsentVersion {
	c := &ConsentVersion{Entry: v.entry, State: v.entry.Status}
	switch {
	case v.known:
		signed := v.signed
		c.Signed, c.State = &signed, consent.State(p.counts(v, latest), versions, pe.clock.now)
	case v.entry.Version < versions:
		c.State = consent.StateSuperseded
	}
	if v.unproven {
		c.State = StateUnproven
	}
	if c.State == consent.StatusActive && p.erased != nil {
		c.State = consent.StatusRevoked
	}
	return c
}

func before(a, b Position) bool { return a.compare(b) < 0 }

func (p Position) compare(o Position) int {
	return cmp.Or(cmp.Compare(p.Block, o.Block), cmp.Compare(p.Index, o.Index))
}

func (co *cohorts) queryEntry(patientID record.ID, q *query) *QueryEntry {
	asked := co.policy.asked(q.state)
	e := &QueryEntry{State: q.state, Metrics: asked.Metrics, About: asked.Text(), Unprotected: q.state.Exact}
	attempt := q.state.Attempt
	if len(co.unconfirmed(q)) > 0 { // a share of an earlier cohort may have left
		attempt = 0
	}
	reached, _, err := co.members(q, attempt)
	for _, m := range q.members {
		if co.fleet.devices[m.Device].state.Device.Patient != patientID {
			continue
		}
		e.Hours += m.Hours()
		if q.lost > 0 { // which attempt left out whom cannot be told
			e.Included = q.state.Status != record.QueryRefused
		}
		if err == nil && q.state.Status != record.QueryRefused {
			_, found := sort.Find(len(reached), func(i int) int { return m.Device.Compare(reached[i].Device) })
			e.Included = e.Included || found
		}
	}
	if asked.Daily() {
		e.Hours, e.Days = 0, e.Hours/state.DayHours
	}
	return e
}

// Consents returns the newest version of each of the patient's consents whose
// details are known and proven, in order of their identifiers: none of an erased
// patient's.
func (ix *Index) Consents(patientID record.ID) ([]consent.Signed, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	p := ix.people.patients[patientID]
	if p == nil {
		return nil, fault.New(fault.NotFound, "no patient %s", patientID)
	}
	out := make([]consent.Signed, 0, len(p.consents))
	for _, c := range p.consents { // sorted below
		if v := c.versions[len(c.versions)-1]; v.judged && !v.unproven {
			out = append(out, v.signed)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Document.ID.Compare(out[j].Document.ID) < 0 })
	return out, nil
}
