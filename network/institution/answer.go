package institution

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/institution/share"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// answered reports whether a share of the query, of any attempt, has left.
func (in *Institution) answered(query string) (bool, error) {
	for attempt := range index.MaxAttempts {
		_, found, err := in.vault.Get(store.Answer(query, attempt))
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
func (in *Institution) answer(ctx context.Context, asker, id string, attempt int) (*share.GetShareResponse, error) {
	q, err := in.agreed(ctx, asker, id, attempt)
	if err != nil {
		return nil, err
	}
	defer in.queries.lock(id)()
	raw, found, err := in.vault.Get(store.Answer(id, attempt))
	if err != nil {
		return nil, err
	}
	if !found {
		return in.newAnswer(ctx, q)
	}
	if _, err := in.standing(ctx, q); err != nil {
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
// its cohort for it. With that post a member vows that it has given no share of
// an earlier attempt and will not. Agreement of a threshold of members would not
// do: the asker could have the first cohort opened by one member, and the next,
// without those who have revoked, by another, and subtract.
func (in *Institution) agreed(ctx context.Context, asker, id string, attempt int) (record.QueryState, error) {
	var q record.QueryState
	var unconfirmed []string
	ready := func() (bool, error) {
		var err error
		if q, err = in.index.Query(id); err != nil {
			return false, nil // perhaps in the next block
		}
		if q.Asker != asker {
			return false, fault.New(fault.Forbidden, "query %s is not %s's: shares go to the asker only", id, asker)
		}
		if err := in.mine(q); err != nil {
			return false, err
		}
		open := q.Status == record.QueryAsked || q.Status == record.QueryAgreed
		if attempt > 0 && q.Attempt == attempt && q.Status == record.QueryAgreed {
			unconfirmed = in.index.Unconfirmed(id)
		}
		return !open || q.Status == record.QueryAgreed && q.Attempt >= attempt && len(unconfirmed) == 0, nil
	}
	late := func() error {
		if len(unconfirmed) > 0 {
			return fault.New(fault.Unavailable, "%s must confirm that no share of an earlier cohort of query %s has left", strings.Join(unconfirmed, " and "), id)
		}
		return fault.New(fault.Unavailable, "%s has not seen query %s agreed at attempt %d; try again", in.self.MSP, id, attempt)
	}
	if err := in.await(ctx, ready, late); err != nil {
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

// readAll waits until this member has read the newest block of the ledger.
func (in *Institution) readAll(ctx context.Context) error {
	height, err := in.cfg.Height(ctx)
	if err != nil {
		return fault.New(fault.Unavailable, "the ledger's height is not known: %w", err)
	}
	if err := in.notShorter(height); err != nil {
		return err
	}
	height = max(height, in.Least())
	read := func() (bool, error) { return in.index.Height() >= height, nil }
	return in.await(ctx, read, func() error {
		return fault.New(fault.Unavailable, "%s is still reading the ledger; try again", in.self.MSP)
	})
}

// standing reads up to the newest block of the ledger and checks that the
// query's cohort stands there: this member derived the same one, and nobody in
// it has withdrawn. It returns the number of that block.
func (in *Institution) standing(ctx context.Context, q record.QueryState) (uint64, error) {
	if err := in.readAll(ctx); err != nil {
		return 0, err
	}
	if err := in.mine(q); err != nil {
		return 0, err
	}
	c, err := in.index.Cohort(q.ID, q.Attempt)
	if err != nil {
		return 0, err
	}
	if c.Root != q.Root || c.Size != q.Size {
		return 0, fault.New(fault.Conflict, "%s derived another cohort for query %s than the one agreed", in.self.MSP, q.ID)
	}
	checked := in.index.Height() - 1
	gone, err := in.gone(q.ID, q.Attempt)
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
func (in *Institution) newAnswer(ctx context.Context, q record.QueryState) (*share.GetShareResponse, error) {
	if err := in.fresh(q); err != nil {
		return nil, err
	}
	if _, err := in.standing(ctx, q); err != nil { // before any work
		return nil, err
	}
	c, err := in.index.Cohort(q.ID, q.Attempt)
	if err != nil {
		return nil, err
	}
	clear, err := in.shares(ctx, q, c)
	if err != nil {
		return nil, err
	}
	checked, err := in.standing(ctx, q)
	if err != nil {
		return nil, err
	}
	r, err := in.sign(q, checked, clear)
	if err != nil {
		return nil, err
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		return nil, err
	}
	return r, in.vault.PutAll(append(in.Mark(), store.Entry{Name: store.Answer(q.ID, q.Attempt), Value: raw})...)
}

// fresh checks what a first answer needs and a repeated one does not.
func (in *Institution) fresh(q record.QueryState) error {
	if q.Status != record.QueryAgreed {
		return fault.New(fault.Conflict, "query %s is %s, and %s had not answered it", q.ID, q.Status, in.self.MSP)
	}
	if now := in.index.Time(); now >= q.Expires {
		return fault.New(fault.Expired, "query %s expired at %d, ledger time is %d", q.ID, q.Expires, now)
	}
	if least := in.minimum(q); q.Size < least {
		return fault.New(fault.TooFew, "%d patients, the minimum is %d", q.Size, least)
	}
	if slices.Contains(in.index.Stops(q.ID), in.self.MSP) {
		return fault.New(fault.Conflict, "%s has voted that query %s be abandoned", in.self.MSP, q.ID)
	}
	before, err := in.answered(q.ID)
	if err != nil {
		return err
	}
	if before {
		return fault.New(fault.Conflict, "%s has given shares of query %s for another cohort: two cohorts would open their difference", in.self.MSP, q.ID)
	}
	return nil
}

// question is what a query asks in terms of the row schema.
type question struct {
	slot   int // of the metric, the pair or the metric by stratum
	coeffs []int
	plan   *privacy.Plan // nil: exact
}

func (in *Institution) question(q record.QueryState) (question, error) {
	schema := in.params.Schema()
	asked, ok := schema.Question(q.Ask.Metric)
	if !ok {
		return question{}, fault.New(fault.Invalid, "metric %q is unknown to row schema %s", q.Ask.Metric, schema.Name)
	}
	out := question{slot: asked.Slot, coeffs: schema.MetricCoefficients(asked.Slot)}
	if q.Exact {
		if asked.NeedsNoise() {
			return out, fault.New(fault.Forbidden, "query %s: %w", q.ID, privacy.ErrNeedsNoise)
		}
		if !in.cfg.Genesis.Exact {
			return out, fault.New(fault.Forbidden, "this network does not allow releases without privacy noise")
		}
		return out, nil
	}
	var err error
	out.plan, err = schema.Plan(asked.Slot, q.Ask.Until-q.Ask.From, q.Ask.Rho)
	return out, err
}

// shares computes this member's share of every piece that it holds.
func (in *Institution) shares(ctx context.Context, q record.QueryState, c index.Cohort) (map[int][]byte, error) {
	asked, err := in.question(q)
	if err != nil {
		return nil, err
	}
	held := in.params.Sharing().Held(in.cfg.Member)
	out := make([][]byte, len(held))
	g, ctx := errgroup.WithContext(ctx)
	for i, piece := range held {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			var err error
			out[i], err = in.share(q, c, asked, piece)
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

func (in *Institution) share(q record.QueryState, c index.Cohort, asked question, piece int) ([]byte, error) {
	key, err := in.pieceKeyFor(q, piece)
	if err != nil {
		return nil, err
	}
	groups, err := in.sums.Groups(c.Members, piece)
	if err != nil {
		return nil, err
	}
	v, err := in.params.KeyProduct(in.context, asked.coeffs, groups)
	for _, g := range groups {
		clear(g.Secret)
	}
	if err != nil {
		return nil, err
	}
	return in.params.Share(key, he.ShareRequest{
		Network: in.context.Network, Epoch: in.context.Epoch, Query: q.ID, Piece: piece, CohortRoot: c.Root,
		Slot: asked.slot, Coeffs: asked.coeffs, Plan: asked.plan, Rows: c.Rows,
	}, v)
}

// notShorter refuses to work where the ledger has fewer blocks than were read.
func (in *Institution) notShorter(height uint64) error {
	if read := in.index.Height(); height < read {
		return fault.New(fault.Unavailable, "the ledger has %d blocks, and %s has read %d: it lags behind, or was rolled back", height, in.self.MSP, read)
	}
	return nil
}
