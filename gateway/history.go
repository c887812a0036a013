package gateway

import (
	"fmt"
	"strings"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/consent/words"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/index"
	language "github.com/vitalveil/vitalveil/zk/claim"
)

// historyEntry puts an event of the index into the form that patients read.
func historyEntry(e index.Entry) *apiv1.HistoryEntry {
	m := &apiv1.HistoryEntry{Kind: e.Kind, Id: e.Tx, Time: e.Time}
	switch {
	case e.Consent != nil:
		consentEntry(m, e.Consent)
	case e.Keys != nil:
		keysEntry(m, e.Keys)
	case e.Erasure != nil:
		m.Subject, m.Text = e.Erasure.Signed.Erasure.Patient.String(), "You demanded to be erased"
	case e.Query != nil:
		queryEntry(m, e.Query)
	}
	return m
}

func predicateEntry(p record.PredicateState) *apiv1.HistoryEntry {
	m := &apiv1.HistoryEntry{
		Kind: "predicate", Id: p.ID, Time: p.Asked, Institution: p.Asker, Purpose: p.Ask.Purpose, Metrics: []string{p.Ask.Metric},
		Status: p.Status, Included: p.Status == record.PredicateAttested,
		From: p.Ask.FirstDay * 24, Until: (p.Ask.FirstDay + int64(len(p.Roots))) * 24,
		Text: fmt.Sprintf("%s asked for a proof: %s (%s)", p.Asker, language.Sentence(p.Ask, language.English), p.Status),
	}
	for _, s := range p.Shared {
		m.Text += ", passed on to " + s.To
	}
	return m
}

func consentEntry(m *apiv1.HistoryEntry, c *index.ConsentVersion) {
	m.Subject, m.Status = c.Entry.ID.String(), c.State
	if c.Signed == nil {
		m.Text = fmt.Sprintf("You signed version %d of a consent whose details are not here", c.Entry.Version)
		return
	}
	d := c.Signed.Document
	m.Institution, m.Purpose, m.Metrics, m.From, m.Until = d.Grantee, d.Purpose, d.Metrics, d.DataFrom, d.DataUntil
	verb := "You consented"
	switch {
	case d.Status == consent.StatusRevoked:
		verb = "You revoked the consent given"
	case d.Status == consent.StatusInError:
		verb = "You withdrew as entered in error what was consented"
	case d.Effect == consent.EffectDeny:
		verb = "You denied access"
	}
	m.Text = fmt.Sprintf("%s to %s (version %d)", verb, d.Grantee, d.Version)
	if d.Status != consent.StatusActive {
		return
	}
	if d.Exact {
		m.Text += ", statistics without privacy noise too, which protect nothing"
	}
	m.Claims = words.Claims(d)
}

func queryEntry(m *apiv1.HistoryEntry, q *index.QueryEntry) {
	s := q.State
	m.Institution, m.Purpose, m.Subject, m.Status = s.Asker, s.Purpose, s.Ask.Study, s.Status
	m.Metrics, m.From, m.Until, m.RhoMicro = q.Metrics, s.Ask.From, s.Ask.Until, s.Ask.Rho
	m.Cohort, m.Hours, m.Included, m.Unprotected = uint32(max(s.Size, 0)), q.Hours, q.Included, q.Unprotected
	m.Want, m.Days = s.Ask.Want, q.Days
	if !s.Release.IsZero() {
		m.Release = s.Release.String()
	}
	about, amount := q.About, fmt.Sprintf("%d hours", q.Hours)
	if s.Ask.Want != "" {
		about = fmt.Sprintf("people's days of %s (%s)", q.About, strings.ReplaceAll(s.Ask.Want, ",", ", "))
		amount = fmt.Sprintf("%d days", q.Days)
	}
	share := "without your data"
	if q.Included {
		share = fmt.Sprintf("with %s of your data among %d patients", amount, s.Size)
	}
	status := s.Status
	if s.Standing != "" && s.Standing != record.StandingFinal {
		status += ", " + s.Standing
	}
	m.Text = fmt.Sprintf("%s asked for statistics of %s in study %s, %s (%s)", s.Asker, about, s.Ask.Study, share, status)
	if q.Unprotected {
		m.Text += ", unprotected: without privacy noise"
	}
}

func keysEntry(m *apiv1.HistoryEntry, e *index.KeysEntry) {
	c := e.Signed.Change
	m.Subject, m.Status = c.Patient.String(), "changed"
	by := "one of your keys"
	if e.Recovered {
		by = "your recovery code, which is used up and replaced"
	}
	m.Text = fmt.Sprintf("Your keys were changed (change %d, now %d) with %s", c.Version, len(c.ConsentKeys), by)
	if c.RevokeAll {
		m.Status = "revoked"
		m.Text += "; everything that you had permitted was revoked"
	}
}
