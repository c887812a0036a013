package index

import (
	"slices"
	"sort"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Cohort is who and what a query covers in one attempt.
type Cohort struct {
	Query   string
	Attempt int
	// Position is the last block the cohort depends on when Attempt > 0, as it
	// goes into record.PostCohort; attempt 0 is at the query's own place.
	Position uint64
	Members  []record.CohortMember // sorted by device
	Root     record.ID
	// Daily says that the rows are day rows: members' hours are those of whole days.
	Daily bool
	Size  int   // patients
	Rows  int64 // device hours, and the corrections of these hours; or days
}

// derive computes the members for a question in the newest state, which is the
// one before until, sorted by device, and the number of patients. It is false
// where that depends on a consent whose details are missing.
func (co *cohorts) derive(q question, until Position) ([]record.CohortMember, int, bool) {
	var members []record.CohortMember
	size := 0
	for _, id := range co.people.order {
		p := co.people.patients[id]
		docs, known := p.documents(until)
		span := [2]int64{q.from, q.until}
		if !known {
			if len(co.candidateRows(p, q, span)) > 0 {
				return nil, 0, false
			}
			continue
		}
		allowed := decide(docs, q, span, q.now)
		if !allowed.Permit || co.spent(p, q, allowed) {
			continue
		}
		got := co.candidateRows(p, q, [2]int64{allowed.From, allowed.Until})
		if q.enough(got) && !p.openedBefore(q, got) {
			members = append(members, got...)
			size++
		}
	}
	sortMembers(members)
	return members, size, true
}

func sortMembers(m []record.CohortMember) {
	sort.Slice(m, func(i, j int) bool { return m[i].Device.Compare(m[j].Device) < 0 })
}

// spent reports whether a cap keeps the patient out: the network's over all askers,
// or the asker's own part of it.
func (co *cohorts) spent(p *patient, q question, allowed consent.Decision) bool {
	return !within(p.spent, q.rho, co.policy.genesis.CapMicro) || !within(p.spentBy[q.asker], q.rho, co.part(q, allowed))
}

// part is how much of the network's cap the asker may use up of a patient: what the
// consent says and, unless it says otherwise, no more than an equal share of it
// among the institutions of the query's epoch that may ask. So nobody's questions cost
// the others theirs.
func (co *cohorts) part(q question, allowed consent.Decision) uint64 {
	if allowed.BeyondShare {
		return allowed.CapMicro
	}
	return min(allowed.CapMicro, co.policy.genesis.CapMicro/q.sharers)
}

// openedBefore reports whether the once-only rule keeps the patient out.
func (p *patient) openedBefore(q question, rows []record.CohortMember) bool {
	return q.exact && slices.ContainsFunc(rows, func(m record.CohortMember) bool { return p.wasOpened(q, m.Ranges) })
}

// candidateRows returns the patient's countable rows of the hours of only,
// whether the patient allows it or not.
func (co *cohorts) candidateRows(p *patient, q question, only [2]int64) []record.CohortMember {
	byDevice := map[record.ID]*Hours{}
	for _, span := range p.designatedHours(q) {
		d := co.fleet.devices[span.device]
		if d == nil || d.state.Device.Epoch != q.epoch || d.state.Quarantined != nil || !co.fleet.ready(d) {
			continue
		}
		rows := q.within(q.rows(d), max(only[0], span.from), min(only[1], span.until))
		if len(rows) == 0 {
			continue
		}
		if byDevice[span.device] == nil {
			byDevice[span.device] = &Hours{}
		}
		byDevice[span.device].AddAll(rows)
	}
	var out []record.CohortMember
	for id, h := range byDevice { // sorted below
		m := record.CohortMember{Device: id, Ranges: h.Ranges()}
		if !q.daily {
			m.Corrections = co.fleet.devices[id].corrected.within(h.ranges)
		}
		out = append(out, m)
	}
	sortMembers(out)
	return out
}

// within reports whether a loss of rho more keeps to the limit. No loss, that is
// an exact query, always does.
func within(spent, rho, limit uint64) bool {
	return rho == 0 || rho <= limit && spent <= limit-rho
}

// ready reports whether every member of the device's epoch has acknowledged its
// seeds.
func (fl *fleet) ready(d *device) bool {
	for _, m := range fl.policy.epochOf(d).Members {
		if !slices.Contains(d.acks, m.MSP) {
			return false
		}
	}
	return true
}

// debit enters a new query with its members and notes what it costs them:
// privacy loss, or hours that no other exact query may open again. One that opens
// nothing, such as a cohort below the minimum, costs nothing.
func (co *cohorts) debit(q *query, opens bool) {
	for _, p := range co.owners(q.members) {
		p.queries = append(p.queries, q.state.ID)
	}
	if opens {
		co.charge(q, q.members)
	}
}

// charge charges the owners of rows for a query that opens them.
func (co *cohorts) charge(q *query, rows []record.CohortMember) {
	for _, p := range co.owners(rows) {
		p.spent += q.state.Ask.Rho
		if p.spentBy == nil {
			p.spentBy = map[string]uint64{}
		}
		p.spentBy[q.state.Asker] += q.state.Ask.Rho
	}
	if !q.state.Exact {
		return
	}
	for _, m := range rows {
		p := co.people.patients[co.fleet.devices[m.Device].state.Device.Patient]
		p.open(co.policy.asked(q.state).Metrics, m.Ranges)
	}
}

// owners returns the patients of members, each once.
func (co *cohorts) owners(members []record.CohortMember) []*patient {
	seen := map[record.ID]bool{}
	var out []*patient
	for _, m := range members {
		if id := co.fleet.devices[m.Device].state.Device.Patient; !seen[id] {
			seen[id] = true
			out = append(out, co.people.patients[id])
		}
	}
	return out
}

// minimum is the smallest cohort that a query opens.
func (po *policy) minimum(s record.QueryState) int { return max(s.MinCohort, po.genesis.MinCohort) }

// root is the Merkle root over the members' digests.
func (co *cohorts) root(members []record.CohortMember) record.ID {
	leaves := make([]record.ID, len(members))
	for i, m := range members {
		leaves[i] = record.Digest(record.DomainCohortMember, co.policy.genesis.Network, m)
	}
	return record.Root(leaves)
}

func (co *cohorts) seal(q *query, attempt int, position uint64, members []record.CohortMember) Cohort {
	c := Cohort{Query: q.state.ID, Attempt: attempt, Position: position, Members: members, Root: co.root(members), Daily: q.state.Ask.Want != ""}
	patients := map[record.ID]bool{}
	for _, m := range members {
		patients[co.fleet.devices[m.Device].state.Device.Patient] = true
	}
	c.Size = len(patients)
	c.countRows()
	return c
}

func (c *Cohort) countRows() {
	for _, m := range c.Members {
		if c.Daily {
			c.Rows += m.Hours() / state.DayHours
			continue
		}
		c.Rows += m.Rows()
	}
}

// MaxAttempts is how often a cohort is derived: once, and twice again after
// members have withdrawn.
const MaxAttempts = 3

// Cohort returns the cohort of a query. Attempt 0 is derived at the query's own
// place on the ledger. Attempt n+1 is attempt n without the members whose
// consent no longer permitted it at the end of the first block at which that
// was so for any of them (Stale): a function of the ledger alone, so members
// agree on it whenever they look. The result is shared and must not be changed. An
// attempt that nothing has called for is fault.TooEarly; an unknown query
// fault.NotFound.
func (ix *Index) Cohort(queryID string, attempt int) (Cohort, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	q, err := ix.cohorts.query(queryID)
	if err != nil {
		return Cohort{}, err
	}
	return ix.cohorts.cohort(q, attempt)
}

func (co *cohorts) query(id string) (*query, error) {
	if q := co.queries[id]; q != nil {
		return q, nil
	}
	return nil, fault.New(fault.NotFound, "no query %q on the ledger as far as it was read", id)
}

func (co *cohorts) cohort(q *query, attempt int) (Cohort, error) {
	q.sealing.Lock()
	defer q.sealing.Unlock()
	if c, ok := q.sealed[attempt]; ok {
		return c, nil
	}
	members, position, err := co.members(q, attempt)
	if err != nil {
		return Cohort{}, err
	}
	if q.sealed == nil {
		q.sealed = map[int]Cohort{}
	}
	q.sealed[attempt] = co.seal(q, attempt, position, members)
	return q.sealed[attempt], nil
}

// members returns the members of an attempt and the block it was derived at.
func (co *cohorts) members(q *query, attempt int) ([]record.CohortMember, uint64, error) {
	if attempt < 0 || attempt >= MaxAttempts {
		return nil, 0, fault.New(fault.Invalid, "attempts are 0 to %d, not %d", MaxAttempts-1, attempt)
	}
	if err := co.knowable(q); err != nil {
		return nil, 0, err
	}
	members, position := q.members, uint64(0)
	for n := 0; n < attempt; n++ {
		block, gone, err := co.stale(q, members)
		if err != nil {
			return nil, 0, err
		}
		if len(gone) == 0 {
			return nil, 0, fault.New(fault.TooEarly, "nobody in attempt %d of query %s has withdrawn, so there is no attempt %d", n, q.state.ID, n+1)
		}
		position = block
		members = without(members, gone)
	}
	return members, position, nil
}

// without returns members except those whose device is in the sorted gone.
func without(members []record.CohortMember, gone []record.ID) []record.CohortMember {
	out := make([]record.CohortMember, 0, len(members))
	for _, m := range members {
		if _, found := slices.BinarySearchFunc(gone, m.Device, record.ID.Compare); !found {
			out = append(out, m)
		}
	}
	return out
}

// Stale reports whether members of an attempt have withdrawn since it was
// derived: their consent was revoked, denied or has expired, or their device was
// put into quarantine, which would spoil the sum of all. It returns their
// devices, sorted, and the block at whose end that was first so for any member;
// no devices means that nobody has.
func (ix *Index) Stale(queryID string, attempt int) (uint64, []record.ID, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	q, err := ix.cohorts.query(queryID)
	if err != nil {
		return 0, nil, err
	}
	members, _, err := ix.cohorts.members(q, attempt)
	if err != nil {
		return 0, nil, err
	}
	return ix.cohorts.stale(q, members)
}

// Eligible answers who would be in a query if it were made now; nothing is charged. Query
// and Root stay empty, Position is the newest block.
func (ix *Index) Eligible(asker, purpose string, exact bool, ask record.Ask) (Cohort, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if ix.policy.genesis == nil {
		return Cohort{}, fault.New(fault.Unavailable, "the ledger has no genesis document yet")
	}
	q := record.QueryState{Ask: ask, Asker: asker, Purpose: purpose, Exact: exact, Asked: ix.clock.now}
	members, size, ok := ix.cohorts.derive(ix.cohorts.questionOf(q), latest)
	if !ok || len(ix.cohorts.waiting) > 0 {
		return Cohort{}, fault.New(fault.Unavailable, "the cohort is not known: %s", ix.people.lacking())
	}
	c := Cohort{Members: members, Size: size, Daily: ask.Want != ""}
	if ix.height > 0 {
		c.Position = ix.height - 1
	}
	c.countRows()
	return c, nil
}
