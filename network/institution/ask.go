package institution

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// asker puts queries and opens their answers. What it releases is what the holders' shares
// agree on, with a salt that is on disk before the release is posted.
type asker struct {
	*member
	answerer *answerer
	rows     *rows
	progress *progress
}

// Answer is a query's release and what it took.
type Answer struct {
	QueryID string    `json:"query"`
	Metric  string    `json:"metric"` // key of the question
	Attempt int       `json:"attempt"`
	Root    record.ID `json:"root"`
	Want    string    `json:"want,omitempty"`
	Cohort  int       `json:"cohort"` // patients
	Rows    int64     `json:"rows"`   // device hours and corrections, or device days
	Exact   bool      `json:"exact"`
	Rho     uint64    `json:"rho_micro,omitempty"` // micro-zCDP
	// Release is a metric's, by the minute; Persons, Pair and Strata are set instead if
	// the question was about a metric's person-days, a pair or by stratum, and then
	// Values are the sums that were opened.
	Release privacy.Release        `json:"release"`
	Persons *privacy.PersonRelease `json:"persons,omitempty"`
	Pair    *privacy.PairRelease   `json:"pair,omitempty"`
	Strata  *privacy.StrataRelease `json:"strata,omitempty"`
	Values  []int64                `json:"values,omitempty"`
	Hash    record.ID              `json:"hash"` // as posted on the ledger
	// Salt is in what Hash covers, so that nobody finds a small answer by trying.
	Salt record.ID `json:"salt"`
	// Standing is what the members say of the shares (record.StandingFinal, ...).
	// While it is preliminary, Unconfirmed are the shares that one of those who gave
	// them could have made up.
	Standing    string        `json:"standing"`
	Unconfirmed []Unconfirmed `json:"unconfirmed,omitempty"`
	// Missing names the members that gave no share; the others sufficed.
	Missing []string `json:"missing,omitempty"`
	Timing  Timing   `json:"timing"`
	Bytes   Bytes    `json:"bytes"`
}

// Text is the answer in lines for people.
func (a *Answer) Text() string {
	switch {
	case a.Persons != nil:
		return a.Persons.Text()
	case a.Pair != nil:
		return a.Pair.Text()
	case a.Strata != nil:
		return a.Strata.Text()
	}
	return a.Release.Text()
}

// Timing says how long the steps took. Sum and Shares ran at the same time.
type Timing struct {
	Submit time.Duration `json:"submit_ns"` // until the query was on the ledger
	Agree  time.Duration `json:"agree_ns"`  // until members agreed on the cohort
	Sum    time.Duration `json:"sum_ns"`    // to read, check and add the rows
	Shares time.Duration `json:"shares_ns"` // until the last share had come
	Open   time.Duration `json:"open_ns"`   // to open and post the release
	Total  time.Duration `json:"total_ns"`
}

// Bytes says what was read and received.
type Bytes struct {
	Rows   int64 `json:"rows"`
	Shares int64 `json:"shares"`
}

// ReleaseDocument is what a release's hash covers: integers only, and
// a salt that the asker alone has.
type ReleaseDocument struct {
	Salt    record.ID
	Query   string
	Attempt int
	Root    record.ID
	Size    int
	Rows    int64
	Metric  string
	Exact   bool
	N       int64
	Sum     int64
	SumSq   int64
	Counts  []int64
	// Values are the opened sums of a pair, of a metric by stratum or of person-days,
	// field by field in the order of the row schema, 0 for what was not asked; none of a
	// metric by the minute.
	Values []int64 `cbor:",omitempty"`
	// Want is what was asked of person-days.
	Want string `cbor:",omitempty"`
}

// Digest is the release's hash on the ledger (record.PostRelease).
func (d ReleaseDocument) Digest(network string) record.ID {
	return record.Digest(record.DomainRelease, network, d)
}

// Document returns what the answer's hash covers.
func (a *Answer) Document() ReleaseDocument {
	r := a.Release
	d := ReleaseDocument{
		Salt: a.Salt, Query: a.QueryID, Attempt: a.Attempt, Root: a.Root, Size: a.Cohort, Rows: a.Rows, Metric: a.Metric, Exact: a.Exact, Want: a.Want,
	}
	if a.Values != nil {
		d.Values = a.Values
		return d
	}
	d.N, d.Sum, d.SumSq, d.Counts = r.N, r.Sum, r.SumSq, r.Counts[:]
	return d
}

// Refusal is the cause of fault.TooFew: the cohort is below the minimum, or, with
// Readings, an exact answer has fewer readings than that, so fewer people have any, or so
// few person-days that it may be so.
type Refusal struct {
	Query    string
	Metric   string
	Size     int // patients
	Minimum  int
	Readings bool
	Days     int64 // of a query about person-days
}

func (r *Refusal) Error() string {
	if r.Readings && r.Days > 0 {
		return fmt.Sprintf("%s has so few person-days on %d days in the cohort of %d patients that fewer than %d of them may have one: the answer is withheld", r.Metric, r.Days, r.Size, r.Minimum)
	}
	if r.Readings {
		return fmt.Sprintf("%s has fewer than %d readings in the cohort of %d patients, so fewer people than that have one: the answer is withheld", r.Metric, r.Minimum, r.Size)
	}
	return fmt.Sprintf("%s has %d eligible patients, the minimum is %d", r.Metric, r.Size, r.Minimum)
}

// Ask makes a query about the devices of this process's epoch, within a study of
// this institution, and returns its release.
// The study is debited whatever comes of it; a query whose cohort this member could not
// know is refused before, with what is missing (fault.Unavailable). A cohort below the minimum is
// fault.TooFew, with a *Refusal as its cause; shares that differ are
// fault.Conflict, with a *Dispute. After any error that names the query, Fetch
// may be tried.
func (as *asker) Ask(ctx context.Context, ask record.Ask) (*Answer, error) {
	start := time.Now()
	ask.Epoch = as.context.Epoch
	if err := as.knowable(ctx, ask); err != nil {
		return nil, err
	}
	q, res, err := submit(ctx, as.member, contracts.QueryAsk, ask)
	if err != nil {
		if fault.Of(err) == fault.Unavailable && res.TxID != "" {
			return nil, fault.New(fault.Unavailable, "whether query %s was made is not known: %w", res.TxID, err)
		}
		return nil, err
	}
	submitted := time.Since(start)
	a, err := as.Fetch(ctx, q.ID)
	if err != nil {
		return nil, err
	}
	a.Timing.Submit, a.Timing.Total = submitted, time.Since(start)
	return a, nil
}

// knowable waits until the cohort of a query would be known here: made up or late, a consent
// that nobody can read must not cost the study.
func (as *asker) knowable(ctx context.Context, ask record.Ask) error {
	var lacking error
	known := func() (bool, error) { lacking = as.index.Lacking(as.self.MSP, ask); return lacking == nil, nil }
	return as.await(ctx, known, func() error { return lacking })
}

// Fetch gets the answer to a query that this institution has made: it waits for
// the members to agree on the cohort, or asks again for shares that have left.
func (as *asker) Fetch(ctx context.Context, id string) (*Answer, error) {
	start := time.Now()
	for least := 0; ; {
		q, err := as.awaitCohort(ctx, id, least)
		if err != nil {
			return nil, err
		}
		agreed := time.Since(start)
		a, err := as.collect(ctx, q)
		if err == nil {
			a.Timing.Agree, a.Timing.Total = agreed, time.Since(start)
			return a, nil
		}
		if fault.Of(err) != fault.TooEarly || q.Attempt+1 >= index.MaxAttempts {
			return nil, fault.New(fault.Of(err), "query %s: %w", id, detail(err))
		}
		least = q.Attempt + 1 // members derive the cohort again, or abandon
	}
}

// detail keeps the text of a fault from carrying its code twice.
func detail(err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return &plain{f}
	}
	return err
}

// plain prints a fault without its code and keeps its causes.
type plain struct{ f *fault.Error }

func (p *plain) Error() string { return p.f.Detail }
func (p *plain) Unwrap() error { return p.f }

// awaitCohort waits until the members have agreed on the cohort of an attempt
// not below least.
func (as *asker) awaitCohort(ctx context.Context, id string, least int) (record.QueryState, error) {
	var q record.QueryState
	done := func() (bool, error) {
		var err error
		if q, err = as.index.Query(id); err != nil {
			return false, nil // perhaps in the next block
		}
		over := q.Status != record.QueryAsked && q.Status != record.QueryAgreed
		return over || q.Status == record.QueryAgreed && q.Attempt >= least, nil
	}
	late := func() error {
		missing := as.index.NotPosted(id, max(q.Attempt, least))
		return fault.New(fault.Unavailable, "the members have not agreed on the cohort of query %s: no post by %s", id, strings.Join(missing, " and "))
	}
	if err := as.await(ctx, done, late); err != nil {
		return q, err
	}
	switch q.Status {
	case record.QueryRefused:
		return q, fault.New(fault.TooFew, "%w", &Refusal{Query: q.ID, Metric: q.Ask.Metric, Size: q.Size, Minimum: as.minimum(q)})
	case record.QueryAbandoned:
		return q, fault.New(fault.Conflict, "query %s was abandoned: %s", id, q.Reason)
	case record.QueryFailed:
		return q, failed(id)
	}
	if q.Asker != as.self.MSP {
		return q, fault.New(fault.Forbidden, "query %s is %s's", id, q.Asker)
	}
	return q, nil
}

// collect sums the rows while the shares come in, opens and posts the release.
func (as *asker) collect(ctx context.Context, q record.QueryState) (*Answer, error) {
	c, err := as.index.Cohort(q.ID, q.Attempt)
	if err != nil {
		return nil, err
	}
	if c.Root != q.Root {
		return nil, fault.New(fault.Conflict, "%s derived another cohort than the one agreed", as.self.MSP)
	}
	asked, err := as.answerer.question(q)
	if err != nil {
		return nil, err
	}
	a := &Answer{QueryID: q.ID, Metric: q.Ask.Metric, Want: q.Ask.Want, Attempt: q.Attempt, Root: c.Root, Cohort: c.Size, Rows: c.Rows, Exact: q.Exact, Rho: q.Ask.Rho}
	var sum *he.Sum
	var got *gathered
	start := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		var err error
		sum, a.Bytes.Rows, err = as.rows.sum(gctx, c, asked.coeffs)
		a.Timing.Sum = time.Since(start)
		return err
	})
	g.Go(func() error {
		var err error
		got, err = as.gather(gctx, q)
		a.Timing.Shares = time.Since(start)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	a.Bytes.Shares = got.bytes
	for _, r := range got.failed {
		as.log.Warn("a member gave no share", "of", as.cfg.Genesis.Members[r.member].MSP, "query", q.ID, "err", r.err)
		a.Missing = append(a.Missing, as.cfg.Genesis.Members[r.member].MSP)
	}
	start = time.Now()
	defer func() { a.Timing.Open = time.Since(start) }()
	if err := as.release(ctx, q, a, sum, got, asked); err != nil {
		return nil, err
	}
	return a, as.postRelease(ctx, q, a, got)
}

// release opens the sum.
func (as *asker) release(ctx context.Context, q record.QueryState, a *Answer, sum *he.Sum, got *gathered, asked question) error {
	opened, err := asked.params.Open(sum, got.shares)
	if err != nil {
		return as.unopened(ctx, q, got, err)
	}
	r, err := asked.result(opened, a.Cohort)
	if err != nil {
		return as.unopened(ctx, q, got, err)
	}
	if r.Metric != nil {
		a.Release = *r.Metric
	} else {
		a.Persons, a.Pair, a.Strata, a.Values = r.Persons, r.Pair, r.Strata, r.Values
	}
	if err := as.manyEnough(ctx, q, a, asked.days); err != nil {
		return err
	}
	if a.Salt, err = as.salt(q.ID); err != nil {
		return err
	}
	a.Hash = a.Document().Digest(as.cfg.Genesis.Network)
	return nil
}

// counted is how many readings, or person-days, an answer counts.
func (a *Answer) counted() int64 {
	switch {
	case a.Persons != nil:
		return a.Persons.Raw.N
	case a.Pair != nil:
		return a.Pair.Sums.N
	}
	return a.Release.N
}

// manyEnough withholds an exact answer with fewer readings than the minimum cohort has
// people: fewer people than that had one. How many had one cannot be known otherwise,
// since rows do not tell whether they are empty. Of person-days each person has one a day
// at most, so as many people as the minimum must have had one for there to be so many.
func (as *asker) manyEnough(ctx context.Context, q record.QueryState, a *Answer, days int64) error {
	least := int64(as.minimum(q))
	if days > 0 {
		least = (least-1)*days + 1
	}
	if !a.Exact || a.counted() >= least {
		return nil
	}
	if err := as.answerer.stop(ctx, q, "fewer readings than the minimum cohort"); err != nil {
		return err
	}
	return fault.New(fault.TooFew, "%w", &Refusal{Query: q.ID, Metric: q.Ask.Metric, Size: q.Size, Minimum: as.minimum(q), Readings: true, Days: days})
}

// salt returns the salt of a query's release, made and stored before the release is
// posted for the first time. Whoever lost it can open the answer again and not show
// that it is the one posted.
func (as *asker) salt(query string) (record.ID, error) {
	defer as.answerer.locks.lock(store.Salt(query))()
	raw, found, err := as.vault.Get(store.Salt(query))
	if err != nil {
		return record.ID{}, err
	}
	if !found {
		fresh := record.RandomID()
		return fresh, as.vault.Put(store.Salt(query), fresh[:])
	}
	if len(raw) != len(record.ID{}) {
		return record.ID{}, fault.New(fault.Internal, "the salt of query %s in the state has %d bytes", query, len(raw))
	}
	return record.ID(raw), nil
}

// unopened says which shares nobody else has confirmed. Where there are none, a device
// is to blame: the query has failed, and the members look for it.
func (as *asker) unopened(ctx context.Context, q record.QueryState, got *gathered, err error) error {
	var alone []string
	for _, u := range as.unconfirmed(got) {
		alone = append(alone, fmt.Sprintf("piece %d, of %s", u.Piece, strings.Join(u.From, " and ")))
	}
	if len(alone) > 0 {
		return fault.New(fault.Conflict, "the release does not open; shares that nobody confirmed: %s: %w", strings.Join(alone, "; "), err)
	}
	if q.Status == record.QueryAgreed {
		if err := perform(ctx, as.member, contracts.QueryFail, record.FailQuery{Query: q.ID}); err != nil {
			return err
		}
	}
	return failed(q.ID)
}

// failed tells what to do about a query whose shares agree and do not open the rows.
func failed(id string) error {
	return fault.New(fault.Conflict, "query %s failed: a device has sealed what is no row. The members look for it and put it out; ask again then, as a new query with a debit of its own", id)
}

// postRelease posts what was opened, or holds it against what was posted before, and
// takes from the ledger how the answer stands.
func (as *asker) postRelease(ctx context.Context, q record.QueryState, a *Answer, got *gathered) error {
	if q.Status == record.QueryReleased {
		if q.Release != a.Hash {
			return fault.New(fault.Conflict, "the release is not the one posted: %s instead of %s", a.Hash.Short(), q.Release.Short())
		}
		return as.settle(a, q)
	}
	post := record.PostRelease{Query: q.ID, Hash: a.Hash}
	for _, r := range got.replies {
		signed, err := signedShares(r.answer)
		if err != nil {
			return err
		}
		post.Shares = append(post.Shares, signed)
	}
	released, _, err := submit(ctx, as.member, contracts.QueryPostRelease, post)
	if err != nil {
		return err
	}
	return as.settle(a, released)
}
