package chaincode

import (
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Ask records a query within a study of the caller (record.Ask,
// record.QueryState) and debits the study's budget, before anything is opened.
// The debit is final. Every call that commits is a query and a debit of its own.
func (*Query) Ask(tx transaction, arg string) (string, error) {
	return serve(tx, asker, timed, arg, smallArgument, ask)
}

// Get returns the record.QueryState of a query.
func (*Query) Get(tx transaction, arg string) (string, error) {
	return serveText(tx, arg, (*call).query)
}

func (c *call) query(id string) (*record.QueryState, error) {
	if !validTxID(id) {
		return nil, fault.New(fault.Invalid, "a query is named by the transaction that asked it, 64 hexadecimal digits")
	}
	q := new(record.QueryState)
	return q, c.need(state.QueryKey(id), q, "query "+id[:8])
}

// validTxID accepts the form of Fabric's transaction identifiers.
func validTxID(id string) bool {
	_, err := record.ParseID(id)
	return err == nil
}

func ask(c *call, a record.Ask) (*record.QueryState, error) {
	epoch, err := c.seatIn(a.Epoch)
	if err != nil {
		return nil, err
	}
	study, err := c.study(c.msp, a.Study)
	if err != nil {
		return nil, err
	}
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	q, err := c.checkAsk(a, study.Study, now)
	if err != nil {
		return nil, err
	}
	if err := c.countAsk(now); err != nil {
		return nil, err
	}
	if err := c.debit(epoch, a, q, study); err != nil {
		return nil, err
	}
	asked := &record.QueryState{
		ID: c.stub.GetTxID(), Ask: a, Asker: c.msp, Purpose: study.Study.Purpose, Exact: study.Study.Exact,
		MinCohort: study.Study.MinCohort, Asked: now, Expires: now + state.QueryLife, Status: record.QueryAsked,
	}
	return asked, c.put(state.QueryKey(asked.ID), asked)
}

// checkAsk checks a question against its study and the network's row schema.
func (c *call) checkAsk(a record.Ask, s record.Study, now int64) (state.Asked, error) {
	if err := askedInStudy(a, s, now); err != nil {
		return state.Asked{}, err
	}
	schema, err := c.schema()
	if err != nil {
		return state.Asked{}, err
	}
	q, err := state.About(schema, a, s.Exact)
	if err != nil {
		return q, fault.New(fault.Invalid, "%w", err)
	}
	return q, nil
}

func askedInStudy(a record.Ask, s record.Study, now int64) error {
	if !slices.Contains(s.Metrics, a.Metric) {
		return fault.New(fault.Invalid, "metric %q is not one of the study's", clip(a.Metric))
	}
	if err := checkHours(a.From, a.Until); err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	if a.Until-a.From > privacy.MaxHours {
		return fault.New(fault.Invalid, "a query covers at most %d hours, not %d", privacy.MaxHours, a.Until-a.From)
	}
	if a.From < s.From || a.Until > s.Until {
		return fault.New(fault.Invalid, "hours [%d, %d) are not within the study's [%d, %d)", a.From, a.Until, s.From, s.Until)
	}
	if s.Exact && (a.From%privacy.ExactUnit != 0 || a.Until%privacy.ExactUnit != 0) {
		return fault.New(fault.Invalid, "an exact query covers whole days: from and until are multiples of %d hours (UTC), not %d and %d", privacy.ExactUnit, a.From, a.Until)
	}
	if end := a.Until * state.Hour; end > now+MaxAhead {
		return fault.New(fault.TooEarly, "the last hour ends at %d, ledger time is %d", end, now)
	}
	return nil
}

// debit charges the study, unless it is exact. What could not be answered is
// refused first: noise that has no room, or loss that no patient's cap allows.
func (c *call) debit(epoch *record.Epoch, a record.Ask, q state.Asked, study *record.StudyState) error {
	if study.Study.Exact {
		if a.Rho != 0 {
			return fault.New(fault.Invalid, "an exact study has no noise: rho_micro is 0")
		}
		return nil
	}
	if a.Rho > c.genesis.CapMicro {
		return fault.New(fault.Invalid, "rho_micro is %d, more than any patient's cap of %d", a.Rho, c.genesis.CapMicro)
	}
	if err := c.checkNoise(epoch, a, q, study.Study.MinCohort); err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	if left := study.Study.Budget - study.Spent; a.Rho > left {
		return fault.New(fault.Exhausted, "the query costs %d and the study has %d of %d left", a.Rho, left, study.Study.Budget)
	}
	study.Spent += a.Rho
	return c.put(state.StudyKey(study.Owner, study.Study.ID), study)
}

// Abandon ends a query without a release (record.Abandon, record.QueryState): at
// once if its asker calls, and otherwise by the votes of as many members of its epoch
// as the threshold. A member that has voted gives no share.
func (*Query) Abandon(tx transaction, arg string) (string, error) {
	return serve(tx, member, timed, arg, smallArgument, abandon)
}

func abandon(c *call, a record.Abandon) (*record.QueryState, error) {
	if !state.ValidName(a.Reason) {
		return nil, fault.New(fault.Invalid, "reason is 1 to %d bytes of printable text", state.MaxName)
	}
	q, err := c.query(a.Query)
	if err != nil {
		return nil, err
	}
	epoch, err := c.seatIn(q.Ask.Epoch)
	switch {
	case err != nil:
		return nil, err
	case q.Status == record.QueryAbandoned:
		return q, nil
	case q.Status != record.QueryAsked && q.Status != record.QueryAgreed:
		return nil, fault.New(fault.Conflict, "the query is %s", q.Status)
	}
	if c.msp != q.Asker {
		votes, err := c.voteAbandon(epoch, a)
		if err != nil || votes < epoch.Threshold {
			return q, err
		}
	}
	q.Status, q.Reason = record.QueryAbandoned, a.Reason
	return q, c.put(state.QueryKey(q.ID), q)
}

// voteAbandon records the caller's vote and returns how many there are with it.
func (c *call) voteAbandon(epoch *record.Epoch, a record.Abandon) (int, error) {
	mine := record.AbandonVote{Vote: a, Member: c.msp}
	key := func(msp string) string { return state.AbandonKey(a.Query, msp) }
	all, err := votes(c, epoch.Members, key, mine, func(record.AbandonVote) bool { return true })
	if err != nil {
		return 0, err
	}
	return len(all), c.put(key(c.msp), mine)
}

// Fail records that a query cannot be opened although its shares agree
// (record.FailQuery, record.QueryState). Nothing more of what it asked is given; its
// debit stays. Members now look for the devices whose rows are none.
func (*Query) Fail(tx transaction, arg string) (string, error) {
	return serve(tx, asker, timed, arg, smallArgument, failQuery)
}

func failQuery(c *call, f record.FailQuery) (*record.QueryState, error) {
	q, err := c.query(f.Query)
	if err != nil {
		return nil, err
	}
	switch {
	case q.Asker != c.msp:
		return nil, fault.New(fault.Forbidden, "the query is %s's", q.Asker)
	case q.Status == record.QueryFailed:
		return q, nil
	case q.Status != record.QueryAgreed:
		return nil, fault.New(fault.Conflict, "the query is %s", q.Status)
	}
	if err := c.checkLife(q); err != nil {
		return nil, err
	}
	q.Status, q.Reason = record.QueryFailed, "the shares agree and do not open the rows"
	return q, c.put(state.QueryKey(q.ID), q)
}

// PostRelease records the digest of what the asker opened, and which shares opened it
// (record.PostRelease, record.QueryState).
func (*Query) PostRelease(tx transaction, arg string) (string, error) {
	return serve(tx, asker, timed, arg, largeArgument, postRelease)
}

func postRelease(c *call, p record.PostRelease) (*record.QueryState, error) {
	if p.Hash.IsZero() {
		return nil, fault.New(fault.Invalid, "hash is missing")
	}
	q, err := c.query(p.Query)
	if err != nil {
		return nil, err
	}
	switch {
	case q.Asker != c.msp:
		return nil, fault.New(fault.Forbidden, "the query is %s's", q.Asker)
	case q.Status == record.QueryReleased && q.Release == p.Hash:
		return q, nil
	case q.Status != record.QueryAgreed:
		return nil, fault.New(fault.Conflict, "the query is %s", q.Status)
	}
	if err := c.checkLife(q); err != nil {
		return nil, err
	}
	epoch, err := c.living(q.Ask.Epoch)
	if err != nil {
		return nil, err
	}
	if err := state.OpenRelease(c.genesis.Network, epoch, q, p.Shares); err != nil {
		return nil, err
	}
	q.Status, q.Release = record.QueryReleased, p.Hash
	return q, c.put(state.QueryKey(q.ID), q)
}

func (c *call) checkLife(q *record.QueryState) error {
	now, err := c.now()
	if err != nil {
		return err
	}
	if now >= q.Expires {
		return fault.New(fault.Expired, "the query expired at %d", q.Expires)
	}
	return nil
}
