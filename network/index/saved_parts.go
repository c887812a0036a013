package index

import (
	"cmp"
	"slices"

	"github.com/vitalveil/vitalveil/internal/record"
)

func (pe *people) codePatient(c *codec, p *patient) {
	codeDoc(c, &p.state)
	list(c, &p.consents, func(a **agreement) {
		if c.r != nil {
			*a = &agreement{}
		}
		c.id(&(*a).id)
		list(c, &(*a).versions, func(v *version) { v.code(c) })
		if len((*a).versions) == 0 {
			c.fail("a consent without versions")
		}
	})
	list(c, &p.changes, func(k *keysChange) {
		k.at.code(c)
		c.text(&k.tx)
		codeDoc(c, &k.state)
		c.bool(&k.unproven)
	})
	number(c, &p.spent)
	table(c, &p.spentBy, func(k *string) { pe.names.code(c, k) }, func(v *uint64) { number(c, v) })
	table(c, &p.opened, func(k *string) { pe.names.code(c, k) }, func(h **Hours) {
		if c.r != nil {
			*h = &Hours{}
		}
		(*h).code(c)
	})
	erased := p.erased != nil
	if c.bool(&erased); erased {
		if c.r != nil {
			p.erased = &erasure{}
		}
		p.erased.code(c)
	}
}

// code codes a text of which one copy is enough.
func (na *names) code(c *codec, s *string) {
	c.text(s)
	if c.r != nil {
		*s = na.one(*s)
	}
}

func (v *version) code(c *codec) {
	v.at.code(c)
	number(c, &v.time)
	c.text(&v.tx)
	codeDoc(c, &v.entry)
	if c.bool(&v.known); v.known {
		codeDoc(c, &v.signed)
	}
	c.bool(&v.judged)
	c.bool(&v.unproven)
}

func (h *Hours) code(c *codec) {
	ranges(c, &h.ranges)
	for i, r := range h.ranges {
		if r[0] >= r[1] || i > 0 && r[0] <= h.ranges[i-1][1] {
			c.fail("hours out of order")
			return
		}
	}
}

func ranges(c *codec, r *[][2]int64) {
	list(c, r, func(r *[2]int64) { number(c, &r[0]); number(c, &r[1]) })
}

func (e *erasure) code(c *codec) {
	e.at.code(c)
	c.text(&e.tx)
	codeDoc(c, &e.state)
	c.bool(&e.unsure)
	list(c, &e.reports, func(r *record.SignedErasureReport) { codeDoc(c, r) })
	type leaving struct {
		membership
		block uint64
	}
	var all []leaving
	for m, block := range e.left { // sorted below
		all = append(all, leaving{m, block})
	}
	slices.SortFunc(all, func(a, b leaving) int {
		return cmp.Or(cmp.Compare(a.query, b.query), a.device.Compare(b.device))
	})
	list(c, &all, func(l *leaving) { c.text(&l.query); c.id(&l.device); number(c, &l.block) })
	if c.r == nil {
		return
	}
	e.left = map[membership]uint64{}
	for _, l := range all {
		e.left[l.membership] = l.block
	}
}

func (fl *fleet) codeDevice(c *codec, d *device) {
	codeDoc(c, &d.state)
	if _, ok := fl.policy.epochs[d.state.Device.Epoch]; !ok || fl.people.patients[d.state.Device.Patient] == nil {
		c.fail("a device of nobody, or of no epoch")
	}
	list(c, &d.standing, func(s *standing) { s.at.code(c); c.bool(&s.quarantined) })
	table(c, &d.votes, func(k *string) { fl.names.code(c, k) }, func(v *record.DeviceVote) { codeDoc(c, v) })
	table(c, &d.flags, func(k *string) { fl.names.code(c, k) }, func(n *int) { number(c, n) })
	list(c, &d.acks, func(m *string) { fl.names.code(c, m) })
	d.countable.code(c)
	d.daily.code(c)
	list(c, &d.corrected, func(w *window) { number(c, &w.hour); number(c, &w.number) })
}

func (an *anchors) codeBatches(c *codec) {
	list(c, &an.order, func(b **batch) {
		if c.r != nil {
			*b = &batch{}
		}
		an.codeBatch(c, *b)
		if c.r == nil || c.err != nil {
			return
		}
		if an.batches[(*b).id] != nil {
			c.fail("a batch is there twice")
		}
		an.batches[(*b).id] = *b
	})
}

func (an *anchors) codeBatch(c *codec, b *batch) {
	c.id(&b.id)
	c.id(&b.root)
	number(c, &b.count)
	list(c, &b.pointers, func(p *pointer) { p.code(c) })
	if len(b.pointers) > record.MaxBatch {
		c.fail("a batch of %d pointers", len(b.pointers))
	}
	list(c, &b.posts, func(p *record.SignedAvailable) {
		c.id(&p.Post.Batch)
		number(c, &p.Post.Count)
		c.blob(&p.Post.Bitmap)
		an.names.code(c, &p.Member)
		c.blob(&p.Signature)
	})
}

func (p *pointer) code(c *codec) {
	number(c, &p.kind)
	if p.kind > kindPersonDay {
		c.fail("a pointer of kind %d", p.kind)
	}
	if p.kind == kindNone {
		return
	}
	number(c, &p.device)
	number(c, &p.index)
	number(c, &p.correction)
	number(c, &p.posts)
	c.id(&p.blob)
	c.id(&p.commitment)
	c.bytes(p.signature[:])
}

func (co *cohorts) codeQuery(c *codec, q *query) {
	codeDoc(c, &q.state)
	if _, ok := co.policy.epochs[q.state.Ask.Epoch]; !ok {
		c.fail("a query in no epoch")
	}
	q.at.code(c)
	codeMembers(c, &q.members)
	number(c, &q.size)
	number(c, &q.lost)
	c.bool(&q.waits)
	list(c, &q.candidates, func(k *candidate) { co.codeCandidate(c, k) })
	table(c, &q.posts, func(attempt *int) { number(c, attempt) }, func(m *map[string]record.PostCohort) {
		table(c, m, func(k *string) { co.names.code(c, k) }, func(p *record.PostCohort) { codeDoc(c, p) })
	})
	if c.r != nil && q.posts == nil {
		q.posts = map[int]map[string]record.PostCohort{}
	}
	list(c, &q.stops, func(m *string) { co.names.code(c, m) })
}

func codeMembers(c *codec, m *[]record.CohortMember) {
	list(c, m, func(m *record.CohortMember) {
		c.id(&m.Device)
		ranges(c, &m.Ranges)
		ranges(c, &m.Corrections)
	})
}

func (co *cohorts) codeCandidate(c *codec, k *candidate) {
	var id record.ID
	if k.patient != nil {
		id = k.patient.state.ID
	}
	c.id(&id)
	if c.r != nil {
		k.patient = co.people.patients[id]
	}
	if k.patient == nil {
		c.fail("a candidate who is not there")
		return
	}
	codeMembers(c, &k.rows)
	judged := k.verdict != nil
	if c.bool(&judged); judged {
		if c.r != nil {
			k.verdict = &verdict{}
		}
		codeMembers(c, &k.verdict.rows)
		codeDoc(c, &k.verdict.allowed)
	}
}
