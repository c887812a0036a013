package institution

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// poser puts queries under their callers' keys, once each, and gets the answers without
// anybody waiting for them, across kills of the process. What became of a query is the
// ledger's to say; kept here are the keys, and answers that were opened.
type poser struct {
	*member
	asker  *asker
	posing *locks

	mu       sync.Mutex
	pending  map[string]bool   // queries whose answers are being got
	problems map[string]string // why that does not succeed at the moment
	wake     chan struct{}     // of which one is in it: there is something to do
}

func newPoser(me *member, as *asker) *poser {
	return &poser{member: me, asker: as, posing: newLocks(), pending: map[string]bool{}, problems: map[string]string{}, wake: make(chan struct{}, 1)}
}

const (
	// settled is how long a transaction that was on its way when nobody listened any more
	// may take to be ordered. After that it is not there if the ledger does not have it.
	settleTime = 30 * time.Second
	// keyLife is how long a key is kept once its query is answered.
	keyLife = 24 * time.Hour
	// maxKeys bounds keys, and maxFetching how many answers are got at once.
	maxKeys     = 10_000
	maxFetching = 4
	// An answer that cannot be got is tried again after pauses that double.
	firstTry, lastTry = time.Second, time.Minute
)

// posed is what is kept under a key.
type posed struct {
	Ask    record.Ask `json:"ask"`
	Height uint64     `json:"height"`          // blocks that were read before it was submitted
	At     int64      `json:"at"`              // Unix seconds of this machine when it was submitted, or ended
	Tx     string     `json:"tx,omitempty"`    // of which nobody has heard whether it was ordered
	Query  string     `json:"query,omitempty"` // its transaction, once that is on the ledger
	Ended  bool       `json:"ended,omitempty"`
}

// Pose makes a query within a study of this institution, and has its answer got. It is
// made once for a key, however often it is posed and whenever a process dies meanwhile: the key is
// on disk before the query is submitted, and the query on the ledger when Pose returns.
// The key with another question is fault.Conflict. Until it is certain whether a query was made
// that was on its way when a process died, Pose is fault.Unavailable.
func (po *poser) Pose(ctx context.Context, key record.ID, ask record.Ask) (record.QueryState, error) {
	defer po.posing.lock(key.String())()
	ask.Epoch = po.context.Epoch
	name := store.Posed(key)
	var p posed
	if err := po.vault.GetJSON(name, &p); err != nil {
		return record.QueryState{}, err
	}
	known := p.At != 0
	if known && p.Ask != ask {
		return record.QueryState{}, fault.New(fault.Conflict, "the idempotency key was used for another question: take a new one")
	}
	if known && p.Query == "" {
		if err := po.find(ctx, name, &p); err != nil {
			return record.QueryState{}, err
		}
	}
	if p.Query != "" {
		return po.reach(ctx, p.Query)
	}
	return po.pose(ctx, name, ask)
}

// pose submits a query under a key that has none.
func (po *poser) pose(ctx context.Context, name string, ask record.Ask) (record.QueryState, error) {
	if err := po.sweep(); err != nil {
		return record.QueryState{}, err
	}
	if err := po.asker.knowable(ctx, ask); err != nil {
		return record.QueryState{}, err
	}
	p := posed{Ask: ask, Height: po.index.Height(), At: po.cfg.Clock().Unix()}
	if err := po.write(name, p); err != nil {
		return record.QueryState{}, err
	}
	q, res, err := submit(ctx, po.member, contracts.QueryAsk, ask)
	switch {
	case err == nil:
		p.Query = q.ID
	case fault.Of(err) == fault.Unavailable: // made or not: find tells
		p.Tx = res.TxID
	default:
		return record.QueryState{}, joinNil(err, po.vault.Remove(name))
	}
	if werr := po.write(name, p); werr != nil {
		return record.QueryState{}, werr
	}
	if err != nil {
		return record.QueryState{}, err
	}
	return po.reach(ctx, q.ID)
}

func joinNil(err, other error) error {
	if other != nil {
		return other
	}
	return err
}

// find looks on the ledger for the query of a key whose process died, or gave up, before
// it heard of the transaction. A query that belongs to another key is not the one.
func (po *poser) find(ctx context.Context, name string, p *posed) error {
	if err := po.readAll(ctx); err != nil {
		return err
	}
	if _, err := po.index.Query(p.Tx); err == nil {
		p.Query = p.Tx
		return po.write(name, *p)
	}
	others, err := po.keyed()
	if err != nil {
		return err
	}
	for _, q := range po.index.AskedSince(po.self.MSP, p.Height) {
		if p.Tx == "" && q.Ask == p.Ask && !others[q.ID] {
			p.Query = q.ID
			return po.write(name, *p)
		}
	}
	if left := time.Unix(p.At, 0).Add(settleTime).Sub(po.cfg.Clock()); left > 0 {
		return fault.New(fault.Unavailable, "whether this question reached the ledger before it was interrupted is certain in %s; try again then, with the same key", left.Round(time.Second))
	}
	return nil
}

// keyed are the queries that keys have.
func (po *poser) keyed() (map[string]bool, error) {
	out := map[string]bool{}
	for e, err := range po.vault.Each(store.PosedKeys) {
		if err != nil {
			return nil, err
		}
		var p posed
		if err := json.Unmarshal(e.Value, &p); err != nil {
			return nil, err
		}
		out[p.Query] = true
	}
	return out, nil
}

// reach waits until this member has read a query, and has its answer got.
func (po *poser) reach(ctx context.Context, id string) (record.QueryState, error) {
	var q record.QueryState
	read := func() (bool, error) {
		var err error
		q, err = po.index.Query(id)
		return err == nil, nil
	}
	late := func() error {
		return fault.New(fault.Unavailable, "query %s has not arrived here yet; try again with the same key", id)
	}
	if err := po.await(ctx, read, late); err != nil {
		return q, err
	}
	po.Pursue(id)
	return q, nil
}

func (po *poser) write(name string, p posed) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return po.vault.Put(name, b)
}

// sweep forgets keys whose queries ended long ago, and refuses another key where there
// are too many.
func (po *poser) sweep() error {
	count := 0
	var gone []string
	for e, err := range po.vault.Each(store.PosedKeys) {
		if err != nil {
			return err
		}
		var p posed
		if err := json.Unmarshal(e.Value, &p); err != nil {
			return err
		}
		count++
		if p.Ended && po.cfg.Clock().Sub(time.Unix(p.At, 0)) > keyLife {
			gone = append(gone, e.Name)
		}
	}
	if count-len(gone) >= maxKeys {
		return fault.New(fault.Exhausted, "%d questions wait for their answers; ask again when some are answered", count)
	}
	if len(gone) == 0 {
		return nil
	}
	return po.vault.Remove(gone...)
}

// Pursue has the answer to a query of this institution got, unless it is here.
func (po *poser) Pursue(id string) {
	if q, err := po.index.Query(id); err != nil || q.Asker != po.self.MSP || ended(q) {
		return
	}
	if _, found, err := po.vault.Get(store.Opened(id)); err != nil || found {
		return
	}
	po.mu.Lock()
	defer po.mu.Unlock()
	if !po.pending[id] && len(po.pending) < maxKeys {
		po.pending[id] = true
		po.nudge()
	}
}

func (po *poser) nudge() {
	select {
	case po.wake <- struct{}{}:
	default:
	}
}

// ended reports whether no answer to a query will ever come.
func ended(q record.QueryState) bool {
	return q.Status == record.QueryRefused || q.Status == record.QueryAbandoned || q.Status == record.QueryFailed
}

// Problem is why the answer to a query cannot be got at the moment; empty while nothing is wrong.
func (po *poser) Problem(id string) string {
	po.mu.Lock()
	defer po.mu.Unlock()
	return po.problems[id]
}

// serve gets answers until ctx ends: those of before a restart first.
func (po *poser) serve(ctx context.Context) error {
	if ready, err := po.CaughtUp(ctx); err != nil || !ready {
		if err := po.untilCaughtUp(ctx); err != nil {
			return err
		}
	}
	if err := po.resume(ctx); err != nil {
		return err
	}
	places := make(chan struct{}, maxFetching)
	running := map[string]bool{}
	done := make(chan string)
	var all sync.WaitGroup
	defer all.Wait()
	for {
		for _, id := range po.waiting(running) {
			running[id] = true
			all.Go(func() {
				po.pursue(ctx, id, places)
				select {
				case done <- id:
				case <-ctx.Done():
				}
			})
		}
		select {
		case <-po.wake:
		case id := <-done:
			delete(running, id)
		case <-ctx.Done():
			return nil
		}
	}
}

func (po *poser) untilCaughtUp(ctx context.Context) error {
	for ctx.Err() == nil {
		changed := po.Next()
		if ready, _ := po.CaughtUp(ctx); ready {
			return nil
		}
		select {
		case <-changed:
		case <-time.After(firstTry):
		case <-ctx.Done():
		}
	}
	return nil
}

// resume takes up what an earlier process had not finished. A key without a transaction
// waits for whoever poses it again, who is told what became of it.
func (po *poser) resume(ctx context.Context) error {
	var unknown []string
	for e, err := range po.vault.Each(store.PosedKeys) {
		if err != nil {
			return err
		}
		var p posed
		if err := json.Unmarshal(e.Value, &p); err != nil {
			return err
		}
		if p.Query == "" {
			unknown = append(unknown, e.Name)
		} else if !p.Ended {
			po.Pursue(p.Query)
		}
	}
	for _, name := range unknown {
		if err := po.claim(ctx, name); err != nil {
			po.log.Info("a question whose process died has not been found on the ledger", "err", err)
		}
	}
	return nil
}

// claim finds the query of a key that has none, so that it is answered even if nobody
// poses it again.
func (po *poser) claim(ctx context.Context, name string) error {
	defer po.posing.lock(strings.TrimPrefix(name, store.PosedKeys))()
	var p posed
	if err := po.vault.GetJSON(name, &p); err != nil || p.Query != "" {
		return err
	}
	if err := po.find(ctx, name, &p); err != nil || p.Query == "" {
		return err
	}
	po.Pursue(p.Query)
	return nil
}

// waiting are open queries that nobody is at.
func (po *poser) waiting(running map[string]bool) []string {
	po.mu.Lock()
	defer po.mu.Unlock()
	var out []string
	for id := range po.pending {
		if !running[id] {
			out = append(out, id)
		}
	}
	return out
}

// pursue gets one query's answer, however often that takes, and keeps it.
func (po *poser) pursue(ctx context.Context, id string, places chan struct{}) {
	pause := firstTry
	for ctx.Err() == nil {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		a, err := po.asker.Fetch(ctx, id)
		<-places
		if err == nil {
			err = po.keep(a)
		}
		if err == nil || po.over(id) {
			po.end(id)
			return
		}
		po.note(id, err)
		_ = network.Sleep(ctx, pause)
		pause = min(2*pause, lastTry)
	}
}

// over reports whether a query has ended without an answer, or expired before it was one.
func (po *poser) over(id string) bool {
	q, err := po.index.Query(id)
	return err == nil && (ended(q) || q.Status != record.QueryReleased && po.index.Time() >= q.Expires)
}

func (po *poser) note(id string, err error) {
	po.mu.Lock()
	defer po.mu.Unlock()
	po.problems[id] = clip(err.Error())
}

// keep stores an opened answer. It says how the ledger stood then; Opened says how it
// stands.
func (po *poser) keep(a *Answer) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return po.vault.Put(store.Opened(a.QueryID), b)
}

// end notes that a query needs nothing more, and from when on its key may be forgotten.
func (po *poser) end(id string) {
	po.mu.Lock()
	delete(po.pending, id)
	delete(po.problems, id)
	po.mu.Unlock()
	po.asker.progress.forget(id)
	for e, err := range po.vault.Each(store.PosedKeys) {
		var p posed
		if err != nil || json.Unmarshal(e.Value, &p) != nil || p.Query != id {
			continue
		}
		p.Ended, p.At = true, po.cfg.Clock().Unix()
		if err := po.write(e.Name, p); err != nil {
			po.log.Warn("a key is kept longer than needed", "err", err)
		}
	}
}

// Opened returns the answer to a query of this institution that was opened here, and how
// the members stand to it by now. One that a holder disputes is fault.Conflict. While
// there is none it is fault.TooEarly, with what is missing, and why none will come where that is so.
func (po *poser) Opened(id string) (*Answer, error) {
	q, err := po.index.Query(id)
	if err != nil {
		return nil, err
	}
	if q.Asker != po.self.MSP {
		return nil, fault.New(fault.NotFound, "query %s is not one of this institution's", id)
	}
	raw, found, err := po.vault.Get(store.Opened(id))
	if err != nil {
		return nil, err
	}
	if found {
		a := &Answer{}
		if err := json.Unmarshal(raw, a); err != nil {
			return nil, err
		}
		return a, po.asker.settle(a, q)
	}
	switch {
	case q.Status == record.QueryRefused:
		return nil, fault.New(fault.TooFew, "query %s: fewer than %d people may be in it", id, po.minimum(q))
	case ended(q):
		return nil, fault.New(fault.Conflict, "query %s is %s: %s", id, q.Status, q.Reason)
	case q.Status != record.QueryReleased && po.index.Time() >= q.Expires:
		return nil, fault.New(fault.Expired, "query %s has expired without an answer", id)
	}
	po.Pursue(id)
	if problem := po.Problem(id); problem != "" {
		return nil, fault.New(fault.TooEarly, "query %s is not answered yet: %s", id, problem)
	}
	return nil, fault.New(fault.TooEarly, "query %s is not answered yet", id)
}

// Progress is how far a query is.
type Progress struct {
	Query   record.QueryState
	Cohorts []string // members that have derived the cohort of the present attempt
	Shares  []string // members whose shares have come
	Of      int      // members in all
	Opened  bool     // the answer is here
	Problem string
}

// Progress tells how far a query of this institution is, and returns what is closed when
// that changes.
func (po *poser) Progress(id string) (Progress, <-chan struct{}, error) {
	changed := po.asker.progress.next()
	q, err := po.index.Query(id)
	if err != nil {
		return Progress{}, nil, err
	}
	p := Progress{Query: q, Shares: po.asker.progress.heard(id), Of: len(po.cfg.Genesis.Members), Problem: po.Problem(id)}
	for _, m := range po.cfg.Genesis.Members {
		if po.index.Posted(id, q.Attempt, m.MSP) {
			p.Cohorts = append(p.Cohorts, m.MSP)
		}
	}
	if q.Status == record.QueryReleased {
		if _, p.Opened, err = po.vault.Get(store.Opened(id)); err != nil {
			return p, nil, err
		}
	}
	return p, changed, nil
}
