package institution

import (
	"context"
	"math/big"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/institution/share"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// answerer gives this member's shares of queries: of one cohort of each, none with a
// patient who had withdrawn at the newest block, and the same bytes whenever it is asked
// again. To post a cohort for a later attempt is its promise that no share of an earlier
// one has left or will.
type answerer struct {
	*member
	pieceKeys *pieceKeys
	locks     *locks // by query
	// standings are of the queries that are open.
	standings *standings

	mu sync.Mutex
	// inherited are the queries that were open when this process had read what was
	// on the ledger at its start; nil before.
	inherited map[string]bool
}

// answered reports whether a share of the query, of any attempt, has left.
func (an *answerer) answered(query string) (bool, error) {
	for attempt := range index.MaxAttempts {
		_, found, err := an.vault.Get(store.Answer(query, attempt))
		if found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// answer gives this member's shares of an agreed query to its asker: the ones
// that left before, byte for byte, or new ones. It never gives shares of two
// cohorts of one query, and none that includes a patient who has withdrawn at
// the newest block of this member's peer.
func (an *answerer) answer(ctx context.Context, asker, id string, attempt int) (*share.GetShareResponse, error) {
	q, err := an.agreed(ctx, asker, id, attempt)
	if err != nil {
		return nil, err
	}
	defer an.locks.lock(id)()
	raw, found, err := an.vault.Get(store.Answer(id, attempt))
	if err != nil {
		return nil, err
	}
	if !found {
		return an.newAnswer(ctx, q)
	}
	if _, err := an.standing(ctx, q); err != nil {
		return nil, err
	}
	r := &share.GetShareResponse{}
	return r, proto.Unmarshal(raw, r)
}

// agreed waits until this member's index has the query at the attempt, and
// checks who asks. The wait bridges the moment in which the asker has read a
// block that this member has not.
//
// A later attempt is answered only when every member but the asker has posted
// its cohort for it. With that post a member promises that it has given no share of
// an earlier attempt and will not. Agreement of a threshold of members would not
// do: the asker could have the first cohort opened by one member, and the next,
// without those who have revoked, by another, and subtract.
func (an *answerer) agreed(ctx context.Context, asker, id string, attempt int) (record.QueryState, error) {
	var q record.QueryState
	var unconfirmed []string
	ready := func() (bool, error) {
		var err error
		if q, err = an.index.Query(id); err != nil {
			return false, nil // perhaps in the next block
		}
		if q.Asker != asker {
			return false, fault.New(fault.Forbidden, "query %s is not %s's: shares go to the asker only", id, asker)
		}
		if err := an.mine(q); err != nil {
			return false, err
		}
		open := q.Status == record.QueryAsked || q.Status == record.QueryAgreed
		if attempt > 0 && q.Attempt == attempt && q.Status == record.QueryAgreed {
			unconfirmed = an.index.Unconfirmed(id)
		}
		return !open || q.Status == record.QueryAgreed && q.Attempt >= attempt && len(unconfirmed) == 0, nil
	}
	late := func() error {
		if len(unconfirmed) > 0 {
			return fault.New(fault.Unavailable, "%s must confirm that no share of an earlier cohort of query %s has left", strings.Join(unconfirmed, " and "), id)
		}
		return fault.New(fault.Unavailable, "%s has not seen query %s agreed at attempt %d; try again", an.self.MSP, id, attempt)
	}
	if err := an.await(ctx, ready, late); err != nil {
		return q, err
	}
	switch {
	case q.Status != record.QueryAgreed && q.Status != record.QueryReleased:
		return q, fault.New(fault.Conflict, "query %s is %s: %s", id, q.Status, q.Reason)
	case q.Attempt != attempt:
		return q, fault.New(fault.TooEarly, "query %s is at attempt %d; ask for that", id, q.Attempt)
	}
	return q, nil
}

// standing reads up to the newest block of the ledger and checks that the
// query's cohort stands there: this member derived the same one, and nobody in
// it has withdrawn. It returns the number of that block.
func (an *answerer) standing(ctx context.Context, q record.QueryState) (uint64, error) {
	if err := an.readAll(ctx); err != nil {
		return 0, err
	}
	if err := an.mine(q); err != nil {
		return 0, err
	}
	c, err := an.index.Cohort(q.ID, q.Attempt)
	if err != nil {
		return 0, err
	}
	if c.Root != q.Root || c.Size != q.Size {
		return 0, fault.New(fault.Conflict, "%s derived another cohort for query %s than the one agreed", an.self.MSP, q.ID)
	}
	checked := an.index.Height() - 1
	gone, err := an.gone(q.ID, q.Attempt)
	if err != nil {
		return 0, err
	}
	if len(gone) > 0 && q.Status == record.QueryReleased {
		return 0, fault.New(fault.Forbidden, "patients have withdrawn since the release; its shares are not given again")
	}
	if len(gone) > 0 {
		return 0, fault.New(fault.TooEarly, "patients have withdrawn or their devices are in quarantine since the cohort of attempt %d was derived: wait for the next", q.Attempt)
	}
	return checked, nil
}

// newAnswer computes shares, checks the newest block last of all, and stores the
// answer before it returns it. The caller holds the query's lock.
func (an *answerer) newAnswer(ctx context.Context, q record.QueryState) (*share.GetShareResponse, error) {
	if err := an.fresh(q); err != nil {
		return nil, err
	}
	if _, err := an.standing(ctx, q); err != nil { // before any work
		return nil, err
	}
	c, err := an.index.Cohort(q.ID, q.Attempt)
	if err != nil {
		return nil, err
	}
	clear, err := an.shares(ctx, q, c)
	if err != nil {
		return nil, err
	}
	checked, err := an.standing(ctx, q)
	if err != nil {
		return nil, err
	}
	r, err := an.sign(q, checked, clear)
	if err != nil {
		return nil, err
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		return nil, err
	}
	return r, an.vault.PutAll(append(an.Mark(), store.Entry{Name: store.Answer(q.ID, q.Attempt), Value: raw})...)
}

// fresh checks what a first answer needs and a repeated one does not.
func (an *answerer) fresh(q record.QueryState) error {
	if q.Status != record.QueryAgreed {
		return fault.New(fault.Conflict, "query %s is %s, and %s had not answered it", q.ID, q.Status, an.self.MSP)
	}
	if now := an.index.Time(); now >= q.Expires {
		return fault.New(fault.Expired, "query %s expired at %d, ledger time is %d", q.ID, q.Expires, now)
	}
	if least := an.minimum(q); q.Size < least {
		return fault.New(fault.TooFew, "%d patients, the minimum is %d", q.Size, least)
	}
	if slices.Contains(an.index.Stops(q.ID), an.self.MSP) {
		return fault.New(fault.Conflict, "%s has voted that query %s be abandoned", an.self.MSP, q.ID)
	}
	before, err := an.answered(q.ID)
	if err != nil {
		return err
	}
	if before {
		return fault.New(fault.Conflict, "%s has given shares of query %s for another cohort: two cohorts would open their difference", an.self.MSP, q.ID)
	}
	return nil
}

// question is what a query asks in terms of the row schema, and of which rows.
type question struct {
	rowKind
	slot   int // of the metric, the pair or the metric by stratum
	coeffs []int
	days   int64         // of a query about person-days
	plan   *privacy.Plan // nil: exact
}

// question is recomputed from the ledger's record by every holder before a share and by
// the asker before a release. Of person-days only what was wanted is opened.
func (an *answerer) question(q record.QueryState) (question, error) {
	asked, err := state.About(an.params.Schema(), q.Ask, q.Exact)
	if err != nil {
		return question{}, fault.New(fault.Invalid, "query %s: %w", q.ID, err)
	}
	out := question{rowKind: an.kind(asked.Daily()), slot: asked.Slot, coeffs: asked.Schema.MetricCoefficients(asked.Slot)}
	if asked.Daily() {
		out.days = asked.Rows(q.Ask)
	}
	if q.Exact {
		if !an.cfg.Genesis.Exact {
			return out, fault.New(fault.Forbidden, "this network does not allow releases without privacy noise")
		}
		return out, nil
	}
	if out.plan, err = asked.Plan(q.Ask); err == nil && asked.Daily() {
		out.coeffs = asked.Schema.Asked(out.plan)
	}
	return out, err
}

// result turns what was opened of so many people into figures.
func (q question) result(opened []*big.Int, people int) (privacy.Result, error) {
	schema, pieces := q.params.Schema(), q.params.Sharing().Pieces()
	if q.days > 0 {
		return schema.ResultDays(q.slot, opened, int64(people), q.days, q.plan, pieces)
	}
	return schema.Result(q.slot, opened, q.plan, pieces)
}

// shares computes this member's share of every piece that it holds.
func (an *answerer) shares(ctx context.Context, q record.QueryState, c index.Cohort) (map[int][]byte, error) {
	asked, err := an.question(q)
	if err != nil {
		return nil, err
	}
	held := an.params.Sharing().Held(an.cfg.Member)
	out := make([][]byte, len(held))
	g, ctx := errgroup.WithContext(ctx)
	for i, piece := range held {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			var err error
			out[i], err = an.share(q, c, asked, piece)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	shares := map[int][]byte{}
	for i, piece := range held {
		shares[piece] = out[i]
	}
	return shares, nil
}

func (an *answerer) share(q record.QueryState, c index.Cohort, asked question, piece int) ([]byte, error) {
	key, err := an.pieceKeys.getFor(q, piece)
	if err != nil {
		return nil, err
	}
	groups, err := an.sums.Groups(c.Members, piece, asked.params.RowHours())
	if err != nil {
		return nil, err
	}
	v, err := asked.params.KeyProduct(an.context, asked.coeffs, groups)
	for _, g := range groups {
		clear(g.Secret)
	}
	if err != nil {
		return nil, err
	}
	return asked.params.Share(key, he.ShareRequest{
		Network: an.context.Network, Epoch: an.context.Epoch, Query: q.ID, Piece: piece, CohortRoot: c.Root,
		Slot: asked.slot, Coeffs: asked.coeffs, Plan: asked.plan, Rows: c.Rows,
	}, v)
}
