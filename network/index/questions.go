package index

import (
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
)

// question is what decides a cohort, apart from the ledger's state.
type question struct {
	asker, purpose string
	// metrics whose readings the answer would contain: one, or the two of a pair.
	// Consent, designation and the once-only rule hold for each. None, for what the
	// network's schema has no answer to, makes an empty cohort.
	metrics     []string
	daily       bool // about person-days: a day counts as a whole or not at all
	from, until int64
	rho         uint64
	exact       bool
	now         int64
	epoch       uint32
	sharers     uint64 // institutions of the epoch that may ask
}

// enough reports whether a patient with these rows counts: with any, and in an exact
// query with privacy.ExactHours hours of them. What is in the rows nobody knows.
func (q question) enough(rows []record.CohortMember) bool {
	hours := int64(0)
	for _, m := range rows {
		hours += m.Hours()
	}
	return hours > 0 && (!q.exact || hours >= privacy.ExactHours)
}

func (co *cohorts) questionOf(s record.QueryState) question {
	asked := co.policy.asked(s)
	return question{
		asker: s.Asker, purpose: s.Purpose, metrics: asked.Metrics, daily: asked.Daily(), from: s.Ask.From, until: s.Ask.Until,
		rho: s.Ask.Rho, exact: s.Exact, now: s.Asked, epoch: s.Ask.Epoch, sharers: co.policy.sharers(s.Ask.Epoch),
	}
}

// asked is what a query asks of the network's row schema: nothing, where that has no
// answer to it.
func (po *policy) asked(s record.QueryState) state.Asked {
	asked, err := state.About(po.schema, s.Ask, s.Exact)
	if err != nil {
		return state.Asked{Want: asked.Want}
	}
	return asked
}

// rows is the hours of a device's rows that a query may be about: of its day rows those of
// whole days.
func (q question) rows(d *device) *Hours {
	if q.daily {
		return &d.daily
	}
	return &d.countable
}

// within is what of these hours lies in [from, until): of days, those that do as a whole.
func (q question) within(h *Hours, from, until int64) [][2]int64 {
	if q.daily {
		from, until = state.WholeDays(from, until)
	}
	return h.Within(from, until)
}

// sharers is how many institutions share the network's cap for the patients whose
// devices are of an epoch: its members but the registrar, which may never ask. It
// does not change while the epoch lives.
func (po *policy) sharers(epoch uint32) uint64 {
	n := uint64(0)
	for _, m := range po.epochs[epoch].Epoch.Members {
		if m.MSP != po.genesis.Registrar {
			n++
		}
	}
	return max(1, n)
}

// decide asks the patient's documents for the hours of span at a time. All
// metrics of the question must be permitted; what is allowed is what is allowed
// for each.
func decide(docs []consent.Document, q question, span [2]int64, at int64) consent.Decision {
	var all consent.Decision
	for i, metric := range q.metrics {
		d := consent.Decide(docs, consent.Request{
			Grantee: q.asker, Purpose: q.purpose, Operation: consent.OpAggregate, Metric: metric,
			From: span[0], Until: span[1], At: at, Exact: q.exact,
		})
		if !d.Permit {
			return d
		}
		if i == 0 {
			all = d
			continue
		}
		all.From, all.Until = max(all.From, d.From), min(all.Until, d.Until)
		all.CapMicro, all.BeyondShare = min(all.CapMicro, d.CapMicro), all.BeyondShare && d.BeyondShare
	}
	return all
}

// span is the hours [from, until) in which a device is the designated one.
type span struct {
	device      record.ID
	from, until int64
}

// designatedHours cuts the hours asked at the days at which the patient's device
// changes, and keeps those in which one device is designated for every metric of
// the question: both values of a minute are then in one row.
func (p *patient) designatedHours(q question) []span {
	var out []span
	for i, metric := range q.metrics {
		spans := p.designatedFor(metric, q.from, q.until)
		if i == 0 {
			out = spans
			continue
		}
		out = common(out, spans)
	}
	return out
}

// designatedFor is designatedHours for one metric, in order of hours.
func (p *patient) designatedFor(metric string, from, until int64) []span {
	var out []span
	list := p.devicesFor(metric)
	for i, d := range list {
		s := span{d.device, max(d.fromDay*24, from), until}
		if i+1 < len(list) {
			s.until = min(until, list[i+1].fromDay*24)
		}
		if s.from < s.until {
			out = append(out, s)
		}
	}
	return out
}

// common is the hours in which both have the same device.
func common(a, b []span) []span {
	var out []span
	for _, x := range a {
		for _, y := range b {
			s := span{x.device, max(x.from, y.from), min(x.until, y.until)}
			if x.device == y.device && s.from < s.until {
				out = append(out, s)
			}
		}
	}
	return out
}

// wasOpened reports whether an exact query has opened one of the question's
// metrics in any of the hours. A pair's sums contain those of both its metrics
// over some of the minutes, so a pair and a metric of it open the difference as
// two queries on the metric would.
func (p *patient) wasOpened(q question, hours [][2]int64) bool {
	return slices.ContainsFunc(q.metrics, func(metric string) bool {
		h := p.opened[metric]
		return h != nil && h.Touches(hours)
	})
}

// open notes that an exact query has opened hours of the metrics.
func (p *patient) open(metrics []string, hours [][2]int64) {
	if p.opened == nil {
		p.opened = map[string]*Hours{}
	}
	for _, metric := range metrics {
		if p.opened[metric] == nil {
			p.opened[metric] = &Hours{}
		}
		p.opened[metric].AddAll(hours)
	}
}
