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
const savedMagic = "vitalveil index 4"

// Save writes the index, so that Load need not read the ledger from the first
// block. Equal indexes are written as equal bytes. It has what consents say, which
// is not on the chain: keep it as secret as those, and replace it when a patient is
// erased. Blocks wait until it is written, so w should be quick. An index that has
// refused a write (Apply) is fault.Internal.
func (ix *Index) Save(w io.Writer) error {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if ix.broken {
		return fault.New(fault.Internal, "block %d was applied in part: this index is of no use", ix.height)
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
	ix.reading, ix.names = loaded.reading, loaded.names
	return nil
}

func (ix *Index) code(c *codec) {
	magic := []byte(savedMagic)
	if c.bytes(magic); string(magic) != savedMagic {
		c.fail("it does not begin with %q", savedMagic)
	}
	number(c, &ix.height)
	c.id(&ix.lastHash)
	number(c, &ix.txs)
	number(c, &ix.invalid)
	number(c, &ix.available)
	ix.codeRefusals(c)
	c.bool(&ix.guessed)
	number(c, &ix.layout)
	ix.codePolicy(c)
	list(c, &ix.times, func(t *timeAt) { number(c, &t.block); number(c, &t.now) })
	ordered(c, &ix.patientOrder, &ix.patients, func(p *patient) record.ID { return p.state.ID }, ix.codePatient)
	ordered(c, &ix.deviceOrder, &ix.devices, func(d *device) record.ID { return d.state.ID }, ix.codeDevice)
	ix.codeBatches(c)
	ordered(c, &ix.queryOrder, &ix.queries, func(q *query) string { return q.state.ID }, ix.codeQuery)
	ordered(c, &ix.predOrder, &ix.predicates, func(p *record.PredicateEntry) string { return p.ID }, codeDoc)
	list(c, &ix.gaps, func(g *Gap) {
		number(c, &g.Block)
		c.id(&g.Patient)
		c.id(&g.Consent)
		number(c, &g.Version)
	})
	list(c, &ix.erasedOrder, c.id)
}

// codeRefusals codes what was refused, and the votes that count once.
func (ix *Index) codeRefusals(c *codec) {
	number(c, &ix.unprovenWrites)
	list(c, &ix.refusals, func(r *Refusal) {
		r.At.code(c)
		c.text(&r.Tx)
		c.text(&r.What)
		c.text(&r.Reason)
	})
	table(c, &ix.voted, c.text, func(v *bool) { c.bool(v) })
	all := slices.SortedFunc(maps.Keys(ix.ends), func(a, b ending) int {
		return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.member, b.member))
	})
	list(c, &all, func(e *ending) { number(c, &e.epoch); c.text(&e.member) })
	for _, e := range all {
		ix.ends[e] = true
	}
	if ix.voted == nil {
		ix.voted = map[string]bool{}
	}
}

// codePolicy codes what the network has agreed on.
func (ix *Index) codePolicy(c *codec) {
	founded := ix.genesis != nil
	if c.bool(&founded); founded {
		if c.r != nil {
			ix.genesis = &record.Genesis{}
		}
		codeDoc(c, ix.genesis)
	}
	codeDoc(c, &ix.roster)
	table(c, &ix.epochs, func(n *uint32) { number(c, n) }, func(s *record.EpochState) { codeDoc(c, s) })
	table(c, &ix.ticks, c.text, func(t *int64) { number(c, t) })
	number(c, &ix.now)
	number(c, &ix.clockRound)
	number(c, &ix.latest)
	table(c, &ix.clockVotes, c.text, func(v *record.ClockVote) { codeDoc(c, v) })
	table(c, &ix.studies, c.text, func(s *record.StudyState) { codeDoc(c, s) })
	keys := slices.SortedFunc(maps.Values(ix.pieceKeys), func(a, b PieceKey) int {
		return cmp.Or(cmp.Compare(a.State.Epoch, b.State.Epoch), cmp.Compare(a.State.Piece, b.State.Piece))
	})
	list(c, &keys, func(k *PieceKey) { codeDoc(c, &k.State); k.At.code(c) })
	if c.r == nil {
		return
	}
	for _, k := range keys {
		ix.pieceKeys[pieceOf{k.State.Epoch, k.State.Piece}] = k
	}
	// Maps that are written to are not nil.
	for n, s := range ix.epochs {
		if n != s.Epoch.Number {
			c.fail("epoch %d is noted as %d", s.Epoch.Number, n)
		}
	}
	if ix.epochs == nil {
		ix.epochs = map[uint32]record.EpochState{}
	}
	if ix.clockVotes == nil {
		ix.clockVotes = map[string]record.ClockVote{}
	}
	if ix.ticks == nil {
		ix.ticks = map[string]int64{}
	}
	if ix.studies == nil {
		ix.studies = map[string]record.StudyState{}
	}
}

// ordered codes things that have names, in the order in which they came.
func ordered[K comparable, V any](c *codec, order *[]K, all *map[K]*V, name func(*V) K, code func(*codec, *V)) {
	n := uint64(len(*order))
	c.uint64(&n)
	if c.w != nil {
		for _, k := range *order {
			code(c, (*all)[k])
		}
		return
	}
	for ; n > 0 && c.err == nil; n-- {
		v := new(V)
		if code(c, v); c.err != nil {
			return
		}
		if (*all)[name(v)] != nil {
			c.fail("something is there twice")
			return
		}
		(*all)[name(v)] = v
		*order = append(*order, name(v))
	}
}

func (p *Position) code(c *codec) {
	number(c, &p.Block)
	number(c, &p.Index)
}

// derived makes what follows from the rest, and refuses what contradicts it.
func (ix *Index) derived() error {
	if ix.genesis == nil {
		if len(ix.epochs)+len(ix.patients)+len(ix.devices)+len(ix.batches)+len(ix.queries) > 0 {
			return fmt.Errorf("there are records without a genesis document")
		}
		return nil
	}
	if ix.layout > state.LayoutVersion {
		return fmt.Errorf("layout %d of the ledger's state is not known", ix.layout)
	}
	var ok bool
	if ix.schema, ok = privacy.SchemaByDigest(ix.genesis.Schema); !ok {
		return fmt.Errorf("the row schema %s is not known", ix.genesis.Schema.Short())
	}
	if current := ix.roster.Epoch(ix.roster.Current); current == nil || len(current.Members) == 0 {
		return fmt.Errorf("the current epoch has no members")
	}
	for i, id := range ix.deviceOrder {
		ix.devices[id].number = uint32(i)
		ix.link(ix.devices[id])
	}
	for _, id := range ix.patientOrder {
		p := ix.patients[id]
		ix.persons[p.state.Person] = true
		p.unjudged = p.notJudged()
	}
	if err := ix.derivedRows(); err != nil {
		return err
	}
	for _, id := range ix.erasedOrder {
		if p := ix.patients[id]; p == nil || p.erased == nil {
			return fmt.Errorf("patient %s is not erased", id)
		}
	}
	return ix.derivedQueries()
}

// derivedRows enters the pointers of the batches with their devices.
func (ix *Index) derivedRows() error {
	for i, b := range ix.batchOrder {
		b.number = uint32(i)
		for leaf := range b.pointers {
			p := &b.pointers[leaf]
			if p.kind == kindNone {
				continue
			}
			if int(p.device) >= len(ix.deviceOrder) {
				return fmt.Errorf("a pointer of a device that is not there")
			}
			d := ix.devices[ix.deviceOrder[p.device]]
			if !d.of(p.kind).add(slot{index: p.index, batch: b.number, leaf: uint16(leaf), correction: p.correction}) {
				return fmt.Errorf("two pointers of a device have one place")
			}
			ix.anchored++
		}
	}
	return nil
}

// derivedQueries notes with patients which queries they were in.
func (ix *Index) derivedQueries() error {
	for _, id := range ix.queryOrder {
		q := ix.queries[id]
		rows := q.members
		for _, c := range q.candidates {
			if rows = append(rows[:len(rows):len(rows)], c.rows...); c.verdict != nil {
				rows = append(rows, c.verdict.rows...)
			}
		}
		for _, m := range rows {
			if ix.devices[m.Device] == nil || len(m.Ranges) == 0 {
				return fmt.Errorf("query %s has a device that is not there", id)
			}
		}
		if q.waits {
			ix.waiting = append(ix.waiting, q)
			continue
		}
		for _, p := range ix.owners(q.members) {
			p.queries = append(p.queries, id)
		}
	}
	for _, g := range ix.gaps {
		p := ix.patients[g.Patient]
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
