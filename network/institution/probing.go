package institution

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/institution/column"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// searcher looks for the devices that made queries fail. It believes of another member
// only what enough holders agree on.
type searcher struct {
	*member
	prober *prober
	rows   *rows
	pause  time.Duration
	next   time.Time
	// done are the devices of unfinished searches that were looked at, by query.
	done map[string]map[record.ID]bool
}

// searchTime is how long after a failed query, in seconds of ledger time, members look
// for the device: who was away so long finds out in the next query.
const searchTime = 24 * 60 * 60

// work looks, after a query has failed, for the devices whose rows are none. Every
// member does so for itself: it asks the others for the pieces that it lacks, opens each
// device's zero coefficient, and votes against those where it is not zero.
func (sr *searcher) work(ctx context.Context) error {
	if time.Now().Before(sr.next) {
		return fault.New(fault.Unavailable, "not all devices of a failed query were looked at")
	}
	waiting := false
	for _, id := range sr.index.Failed(sr.context.Epoch) {
		over, err := sr.search(ctx, id)
		if err != nil {
			sr.log.Warn("looking for the device that made a query fail", "query", id, "err", err)
		}
		waiting = waiting || !over
	}
	if !waiting {
		sr.pause, sr.next = firstPause, time.Time{}
		return nil
	}
	sr.pause = min(max(firstPause, 2*sr.pause), mostPause)
	sr.next = time.Now().Add(sr.pause)
	return fault.New(fault.Unavailable, "other members' shares are needed to look at the devices of a failed query")
}

// search looks at what is left to be looked at of one query, and reports whether there
// is nothing more to do about it.
func (sr *searcher) search(ctx context.Context, id string) (bool, error) {
	if _, found, err := sr.vault.Get(store.Searched(id)); err != nil || found {
		return found, err
	}
	q, c, err := sr.failedQuery(id)
	switch {
	case fault.Of(err) == fault.Unavailable:
		return false, nil
	case err != nil: // another cohort, say: not this member's to look at
		return true, errors.Join(err, sr.vault.Put(store.Searched(id), []byte{}))
	case sr.index.Time() > q.Expires+searchTime:
		return true, nil
	}
	if sr.done[id] == nil {
		sr.done[id] = map[record.ID]bool{}
	}
	whole := true
	for part := 0; part*probePart < len(c.Members); part++ {
		all, err := sr.searchPart(ctx, q, c, part, sr.done[id])
		if err != nil {
			return false, err
		}
		whole = whole && all
	}
	if !whole {
		return false, nil
	}
	sr.log.Info("looked at every device of a failed query", "query", id, "devices", len(sr.done[id]))
	delete(sr.done, id)
	return true, sr.vault.Put(store.Searched(id), []byte{})
}

// searchPart looks at the devices of a part that are not done, and reports whether all
// are.
func (sr *searcher) searchPart(ctx context.Context, q record.QueryState, c index.Cohort, part int, done map[record.ID]bool) (bool, error) {
	places, err := sr.prober.partOf(q, c, part)
	if err != nil {
		return false, err
	}
	var open []int
	for _, place := range places {
		if !done[c.Members[place].Device] {
			open = append(open, place)
		}
	}
	if len(open) == 0 {
		return true, nil
	}
	answers, err := sr.gatherProbes(ctx, q, part)
	if err != nil {
		return false, err
	}
	whole := true
	for _, place := range open {
		m := c.Members[place]
		shares, reliable, ok := sr.agreeing(q, m, place, answers)
		if !ok {
			whole = false
			continue
		}
		if err := sr.lookAt(ctx, q, c.Daily, m, shares, reliable); err != nil {
			return false, err
		}
		done[m.Device] = true
	}
	return whole, nil
}

// gatherProbes gets every member's answer about a part; who cannot be reached has none.
func (sr *searcher) gatherProbes(ctx context.Context, q record.QueryState, part int) ([]probed, error) {
	ctx, cancel := context.WithTimeout(ctx, sr.cfg.Patience)
	defer cancel()
	answers := make([]probed, len(sr.cfg.Genesis.Members))
	own, err := sr.prober.probe(ctx, sr.self.MSP, q.ID, part)
	if err != nil {
		return nil, err
	}
	if answers[sr.cfg.Member], err = sr.openProbe(q, part, sr.cfg.Member, own); err != nil {
		return nil, err
	}
	var all sync.WaitGroup
	for i, m := range sr.cfg.Genesis.Members {
		if i == sr.cfg.Member {
			continue
		}
		all.Go(func() {
			r, err := sr.peers.probe(ctx, m.MSP, q.ID, part)
			if err == nil {
				answers[i], err = sr.openProbe(q, part, i, r)
			}
			if err != nil {
				sr.log.Info("a member gave no shares of a probe", "of", m.MSP, "query", q.ID, "err", err)
			}
		})
	}
	all.Wait()
	return answers, nil
}

// agreeing returns a share of every piece of a device: this member's own, or one on
// which enough of its holders agree. It is reliable if that were as many as the
// threshold, so that one of them is honest: otherwise those who collude could have an
// honest device put out.
func (sr *searcher) agreeing(q record.QueryState, m record.CohortMember, place int, answers []probed) (map[int][]byte, bool, bool) {
	sharing, reliable := sr.params.Sharing(), true
	shares := map[int][]byte{}
	for piece := range sharing.Pieces() {
		var share []byte
		var from, other []string
		for _, holder := range sr.holdersOwnFirst(piece) {
			got := answers[holder][place][piece]
			switch msp := sr.cfg.Genesis.Members[holder].MSP; {
			case got == nil:
			case share == nil || bytes.Equal(share, got):
				share, from = got, append(from, msp)
			default:
				other = append(other, msp)
			}
		}
		if len(other) > 0 {
			sr.log.Error("holders of a piece sent different shares of a probe: at least one of them is faulty", "query", q.ID, "device", m.Device.Short(), "piece", piece, "of", strings.Join(from, " and "), "other", strings.Join(other, " and "))
		}
		own := sharing.Holds(sr.cfg.Member, piece)
		if share == nil || !own && (len(other) > 0 || len(from) < sr.enough(piece)) {
			return nil, false, false
		}
		reliable = reliable && (own || len(from) >= sharing.Threshold)
		shares[piece] = share
	}
	return shares, reliable, true
}

// lookAt opens a device's zero coefficient over its rows of the query. If it is not zero
// this member votes against the device, or, where the shares are not reliable, tells its
// operator.
func (sr *searcher) lookAt(ctx context.Context, q record.QueryState, daily bool, m record.CohortMember, shares map[int][]byte, reliable bool) error {
	sum, err := sr.probeSum(ctx, daily, m)
	if err != nil {
		return err
	}
	zero, err := sr.kind(daily).params.Probe(sum, shares)
	if err != nil || zero {
		return err
	}
	if !reliable {
		sr.log.Error("a device seems to have sealed what is no row, by the word of members that could all collude: decide whether to vote for its quarantine", "device", m.Device, "query", q.ID)
		return nil
	}
	sr.log.Warn("a device has sealed what is no row; voting for its quarantine", "device", m.Device.Short(), "query", q.ID)
	return settled(sr.VoteQuarantine(ctx, record.VoteQuarantine{
		Device: m.Device, Reason: fmt.Sprintf("its rows in query %.8s do not hold zero where every row does", q.ID),
	}))
}

// probeSum adds up a device's rows of a query on the zero coefficient.
func (sr *searcher) probeSum(ctx context.Context, daily bool, m record.CohortMember) (*he.Sum, error) {
	kind := sr.kind(daily)
	one := index.Cohort{Members: []record.CohortMember{m}, Daily: daily}
	want, err := column.Want(kind.params, one.Members, sr.numbers)
	if err != nil {
		return nil, err
	}
	rows := want.Size()
	work, err := sr.rows.work(one, want)
	if err != nil {
		return nil, err
	}
	sum := kind.params.NewProbe()
	for _, p := range work {
		if _, err := sr.rows.addBlob(ctx, kind, sum, p); err != nil {
			return nil, err
		}
	}
	if sum.Rows() != int64(rows) {
		return nil, fault.New(fault.Internal, "%d rows of device %s were added, the cohort has %d", sum.Rows(), m.Device.Short(), rows)
	}
	return sum, nil
}
