package index

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// savedMagic begins a saved index; its last character is the version of the form.
// A program of another version reads the ledger again instead.
const savedMagic = "vitalveil index 5"

// Save writes the index, so that Load need not read the ledger from the first
// block. Equal indexes are written as equal bytes. It has what consents say, which
// is not on the chain: keep it as secret as those, and replace it when a patient is
// erased. Blocks wait until it is written, so w should be quick. An index that has
// refused a write (Apply) is fault.Internal.
func (ix *Index) Save(w io.Writer) error {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if ix.broken {
		return fault.New(fault.Internal, "block %d was applied in part: this index is unusable", ix.height)
	}
	c := saving(w)
	ix.code(c)
	c.end()
	return c.err
}

// Load reads what Save has written. Anything else is fault.Invalid: read the ledger
// from its first block then. That the blocks were those of the ledger at hand is
// for the caller to see (Head, Resume).
func Load(r io.Reader) (*Index, error) {
	ix := New()
	c := loading(r)
	ix.code(c)
	c.end()
	if c.err == nil {
		c.err = ix.derived()
	}
	if c.err != nil {
		return nil, fault.New(fault.Invalid, "this is no saved index of this version, or a damaged one: %w", c.err)
	}
	return ix, nil
}

// Head returns the number of blocks read and the hash of the last of them, zero
// where there is none.
func (ix *Index) Head() (uint64, record.ID) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.height, ix.lastHash
}

// Resume goes on from a loaded index, which is not to be used any more. It is
// fault.Conflict where ix has read a block itself.
func (ix *Index) Resume(loaded *Index) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.height > 0 {
		return fault.New(fault.Conflict, "this index has read %d blocks already", ix.height)
	}
	loaded.people.keys, loaded.people.near = ix.people.keys, ix.people.near
	ix.reading = loaded.reading
	return nil
}

// code codes the parts in turn.
func (r *reading) code(c *codec) {
	magic := []byte(savedMagic)
	if c.bytes(magic); string(magic) != savedMagic {
		c.fail("it does not begin with %q", savedMagic)
	}
	number(c, &r.height)
	c.id(&r.lastHash)
	number(c, &r.txs)
	number(c, &r.invalid)
	number(c, &r.anchors.available)
	r.refusals.code(c)
	r.policy.codeVotes(c)
	c.bool(&r.cohorts.guessed)
	number(c, &r.policy.layout)
	r.policy.code(c)
	r.clock.code(c)
	table(c, &r.cohorts.studies, c.text, func(s *record.StudyState) { codeDoc(c, s) })
	r.policy.codeKeys(c)
	list(c, &r.clock.times, func(t *timeAt) { number(c, &t.block); number(c, &t.now) })
	ordered(c, &r.people.order, r.people.patients, func(p *patient) record.ID { return p.state.ID }, r.people.codePatient)
	ordered(c, &r.fleet.order, r.fleet.devices, func(d *device) record.ID { return d.state.ID }, r.fleet.codeDevice)
	r.anchors.codeBatches(c)
	ordered(c, &r.cohorts.order, r.cohorts.queries, func(q *query) string { return q.state.ID }, r.cohorts.codeQuery)
	ordered(c, &r.claims.order, r.claims.predicates, func(p *record.PredicateEntry) string { return p.ID }, codeDoc)
	list(c, &r.people.gaps, func(g *Gap) {
		number(c, &g.Block)
		c.id(&g.Patient)
		c.id(&g.Consent)
		number(c, &g.Version)
	})
	list(c, &r.people.erased, c.id)
}

func (re *refusals) code(c *codec) {
	number(c, &re.count)
	list(c, &re.list, func(r *Refusal) {
		r.At.code(c)
		c.text(&r.Tx)
		c.text(&r.What)
		c.text(&r.Reason)
	})
}

// codeVotes codes the votes that count once.
func (po *policy) codeVotes(c *codec) {
	table(c, &po.voted, c.text, func(v *bool) { c.bool(v) })
	all := slices.SortedFunc(maps.Keys(po.ends), func(a, b ending) int {
		return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.member, b.member))
	})
	list(c, &all, func(e *ending) { number(c, &e.epoch); c.text(&e.member) })
	for _, e := range all {
		po.ends[e] = true
	}
}

func (po *policy) code(c *codec) {
	founded := po.genesis != nil
	if c.bool(&founded); founded {
		if c.r != nil {
			po.genesis = &record.Genesis{}
		}
		codeDoc(c, po.genesis)
	}
	codeDoc(c, &po.roster)
	table(c, &po.epochs, func(n *uint32) { number(c, n) }, func(s *record.EpochState) { codeDoc(c, s) })
	for n, s := range po.epochs {
		if n != s.Epoch.Number {
			c.fail("epoch %d is noted as %d", s.Epoch.Number, n)
		}
	}
}

func (po *policy) codeKeys(c *codec) {
	keys := slices.SortedFunc(maps.Values(po.pieceKeys), func(a, b PieceKey) int {
		return cmp.Or(cmp.Compare(a.State.Epoch, b.State.Epoch), cmp.Compare(a.State.Piece, b.State.Piece))
	})
	list(c, &keys, func(k *PieceKey) { codeDoc(c, &k.State); k.At.code(c) })
	for _, k := range keys {
		po.pieceKeys[pieceOf{k.State.Epoch, k.State.Piece}] = k
	}
}

func (cl *clock) code(c *codec) {
	table(c, &cl.ticks, c.text, func(t *int64) { number(c, t) })
	number(c, &cl.now)
	number(c, &cl.round)
	number(c, &cl.latest)
	table(c, &cl.votes, c.text, func(v *record.ClockVote) { codeDoc(c, v) })
}

// ordered codes things that have names, in the order in which they came.
func ordered[K comparable, V any](c *codec, order *[]K, all map[K]*V, name func(*V) K, code func(*codec, *V)) {
	n := uint64(len(*order))
	c.uint64(&n)
	if c.w != nil {
		for _, k := range *order {
			code(c, all[k])
		}
		return
	}
	for ; n > 0 && c.err == nil; n-- {
		v := new(V)
		if code(c, v); c.err != nil {
			return
		}
		if all[name(v)] != nil {
			c.fail("something is there twice")
			return
		}
		all[name(v)] = v
		*order = append(*order, name(v))
	}
}

func (p *Position) code(c *codec) {
	number(c, &p.Block)
	number(c, &p.Index)
}

// derived makes what follows from the rest, and refuses what contradicts it.
func (r *reading) derived() error {
	if r.policy.genesis == nil {
		if len(r.policy.epochs)+len(r.people.patients)+len(r.fleet.devices)+len(r.anchors.batches)+len(r.cohorts.queries) > 0 {
			return fmt.Errorf("there are records without a genesis document")
		}
		return nil
	}
	if r.policy.layout > state.LayoutVersion {
		return fmt.Errorf("layout %d of the ledger's state is not known", r.policy.layout)
	}
	var ok bool
	if r.policy.schema, ok = privacy.SchemaByDigest(r.policy.genesis.Schema); !ok {
		return fmt.Errorf("the row schema %s is not known", r.policy.genesis.Schema.Short())
	}
	if current := r.policy.current(); current == nil || len(current.Members) == 0 {
		return fmt.Errorf("the current epoch has no members")
	}
	for i, id := range r.fleet.order {
		r.fleet.devices[id].number = uint32(i)
		r.fleet.link(r.fleet.devices[id])
	}
	for _, id := range r.people.order {
		p := r.people.patients[id]
		r.people.persons[p.state.Person] = true
		p.unjudged = p.notJudged()
	}
	if err := r.anchors.derivedRows(); err != nil {
		return err
	}
	for _, id := range r.people.erased {
		if p := r.people.patients[id]; p == nil || p.erased == nil {
			return fmt.Errorf("patient %s is not erased", id)
		}
	}
	return r.cohorts.derivedQueries()
}

// derivedRows enters the pointers of the batches with their devices.
func (an *anchors) derivedRows() error {
	for i, b := range an.order {
		b.number = uint32(i)
		for leaf := range b.pointers {
			p := &b.pointers[leaf]
			if p.kind == kindNone {
				continue
			}
			if int(p.device) >= len(an.fleet.order) {
				return fmt.Errorf("a pointer of a device that is not there")
			}
			d := an.fleet.devices[an.fleet.order[p.device]]
			if !d.of(p.kind).add(slot{index: p.index, batch: b.number, leaf: uint16(leaf), correction: p.correction}) {
				return fmt.Errorf("two pointers of a device have one place")
			}
			an.anchored++
		}
	}
	return nil
}

// derivedQueries notes with patients which queries they were in.
func (co *cohorts) derivedQueries() error {
	for _, id := range co.order {
		q := co.queries[id]
		rows := q.members
		for _, c := range q.candidates {
			if rows = append(rows[:len(rows):len(rows)], c.rows...); c.verdict != nil {
				rows = append(rows, c.verdict.rows...)
			}
		}
		for _, m := range rows {
			if co.fleet.devices[m.Device] == nil || len(m.Ranges) == 0 {
				return fmt.Errorf("query %s has a device that is not there", id)
			}
		}
		if q.waits {
			co.waiting = append(co.waiting, q)
			continue
		}
		for _, p := range co.owners(q.members) {
			p.queries = append(p.queries, id)
		}
	}
	for _, g := range co.people.gaps {
		p := co.people.patients[g.Patient]
		if p == nil || g.Version == 0 || int64(g.Version) > int64(len(p.versionsOf(g.Consent))) {
			return fmt.Errorf("details of a consent that is not there are missing")
		}
	}
	return nil
}

// versionsOf returns the versions of a consent, none where the patient has not got
// it.
func (p *patient) versionsOf(id record.ID) []version {
	for _, c := range p.consents {
		if c.id == id {
			return c.versions
		}
	}
	return nil
}
