package institution

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/index"

	"github.com/vitalveil/vitalveil/network/institution/share"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// prober gives shares of the zero coefficients of devices in queries that failed, of no
// more devices for one asker than the flood allows.
type prober struct {
	*member
	answerer  *answerer
	pieceKeys *pieceKeys
}

// probePart is how many devices of a cohort one answer is about.
const probePart = 256

// failedQuery returns a query that its asker has called failed, with its cohort. Before
// the ledger says so nothing is probed.
func (me *member) failedQuery(id string) (record.QueryState, index.Cohort, error) {
	q, err := me.index.Query(id)
	if err != nil {
		return q, index.Cohort{}, err
	}
	if err := me.mine(q); err != nil {
		return q, index.Cohort{}, err
	}
	if q.Status != record.QueryFailed {
		return q, index.Cohort{}, fault.New(fault.Conflict, "query %s is %s: devices are probed after a query has failed", id, q.Status)
	}
	c, err := me.index.Cohort(id, q.Attempt)
	if err == nil && c.Root != q.Root {
		err = fault.New(fault.Conflict, "%s derived another cohort for query %s than the one agreed", me.self.MSP, id)
	}
	return q, c, err
}

// partOf returns the devices of a part of the cohort who have not withdrawn, by their
// places in the cohort, ascending.
func (pr *prober) partOf(q record.QueryState, c index.Cohort, part int) ([]int, error) {
	if part < 0 || part*probePart >= len(c.Members) {
		return nil, fault.New(fault.Invalid, "the cohort of query %s has no part %d", q.ID, part)
	}
	from, until := part*probePart, min((part+1)*probePart, len(c.Members))
	left, err := pr.index.Left(q.ID, q.Attempt, from, until)
	if err != nil {
		return nil, err
	}
	var places []int
	for i := from; i < until; i++ {
		if len(left) > 0 && left[0].Device == c.Members[i].Device { // both in order of devices
			places, left = append(places, i), left[1:]
		}
	}
	return places, nil
}

// probe gives this member's shares of the zero coefficients of a part of a failed
// query's devices to another member. They are the same bytes whoever asks and however
// often. Which devices they are about is on disk before they leave.
func (pr *prober) probe(ctx context.Context, caller, id string, part int) (*share.GetProbeResponse, error) {
	if !slices.ContainsFunc(pr.cfg.Genesis.Members, func(m record.Member) bool { return m.MSP == caller }) {
		return nil, fault.New(fault.Forbidden, "%s is not a member of epoch %d", caller, pr.context.Epoch)
	}
	if err := pr.readAll(ctx); err != nil {
		return nil, err
	}
	defer pr.answerer.locks.lock(id)()
	q, c, err := pr.failedQuery(id)
	if err != nil {
		return nil, err
	}
	checked := pr.index.Height() - 1
	places, err := pr.partOf(q, c, part)
	if err != nil {
		return nil, err
	}
	if err := pr.logProbes(q, part, places); err != nil {
		return nil, err
	}
	r := &share.GetProbeResponse{Member: pr.self.MSP, Query: q.ID, Root: q.Root.String(), Part: uint32(part), CheckedBlock: checked}
	for _, place := range places {
		r.Devices = append(r.Devices, uint32(place))
	}
	for _, piece := range pr.params.Sharing().Held(pr.cfg.Member) {
		p := &share.ProbedPiece{Piece: uint32(piece)}
		for _, place := range places {
			share, err := pr.probeShare(ctx, q, pr.kind(c.Daily), c.Members[place], piece)
			if err != nil {
				return nil, err
			}
			p.Shares = append(p.Shares, share...)
		}
		r.Pieces = append(r.Pieces, p)
	}
	r.Signature, err = record.Sign(pr.cfg.SignKey, probeDigest(pr.cfg.Genesis.Network, r))
	return r, err
}

func (pr *prober) probeShare(ctx context.Context, q record.QueryState, kind rowKind, m record.CohortMember, piece int) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	key, err := pr.pieceKeys.get(piece)
	if err != nil {
		return nil, err
	}
	ternary, err := pr.sums.Secret(m.Device, piece)
	if err != nil {
		return nil, err
	}
	secret := pr.params.NewKeySum()
	defer clear(secret)
	if err := secret.Add(ternary); err != nil {
		return nil, err
	}
	v, err := kind.params.ProbeProduct(pr.context, slices.Collect(kind.params.Windows(m)), secret)
	if err != nil {
		return nil, err
	}
	return kind.params.ProbeShare(key, he.ProbeRequest{
		Network: pr.context.Network, Epoch: pr.context.Epoch, Query: q.ID, Piece: piece, CohortRoot: q.Root, Device: m.Device,
	}, v)
}

// logProbes notes the devices of an answer, and counts those that are new against the
// asker's part of what the flood allows (he.ProbedCoefficients): a member whose queries
// fail again and again uses up its own part and nobody else's. The caller holds the
// query's lock.
func (pr *prober) logProbes(q record.QueryState, part int, places []int) error {
	defer pr.answerer.locks.lock(store.Probes(q.Asker))()
	var before []int
	if err := pr.vault.GetJSON(store.Probed(q.ID, part), &before); err != nil {
		return err
	}
	all := slices.Concat(before, places)
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) == len(before) {
		return nil
	}
	var count int64
	if err := pr.vault.GetJSON(store.Probes(q.Asker), &count); err != nil {
		return err
	}
	count += int64(len(all) - len(before))
	if most := pr.probesAllowed(); count > most {
		return fault.New(fault.Exhausted, "queries of %s have failed so often that %d devices were probed, its part in this epoch", q.Asker, most)
	}
	given, err := json.Marshal(all)
	if err != nil {
		return err
	}
	total, err := json.Marshal(count)
	if err != nil {
		return err
	}
	return pr.vault.PutAll(append(pr.Mark(), store.Entry{Name: store.Probed(q.ID, part), Value: given}, store.Entry{Name: store.Probes(q.Asker), Value: total})...)
}

// probesAllowed is how many devices may be probed after queries of one asker.
func (pr *prober) probesAllowed() int64 {
	return he.ProbedCoefficients / int64(len(pr.cfg.Genesis.Members))
}

// probeDigest is what a member signs about an answer to a probe.
func probeDigest(network string, r *share.GetProbeResponse) record.ID {
	type piece struct {
		Piece  uint32
		Shares record.ID
	}
	var pieces []piece
	for _, p := range r.GetPieces() {
		pieces = append(pieces, piece{p.GetPiece(), record.SumID(p.GetShares())})
	}
	return record.Digest(record.DomainProbe, network, []any{
		r.GetMember(), r.GetQuery(), r.GetRoot(), r.GetPart(), r.GetCheckedBlock(), r.GetDevices(), pieces,
	})
}

// probed is a member's shares of one part: by place of the device and piece.
type probed map[int]map[int][]byte

// openProbe checks a member's answer to a probe: it is about this part of this cohort,
// has shares of exactly its pieces, and it signed them.
func (sr *searcher) openProbe(q record.QueryState, part, member int, r *share.GetProbeResponse) (probed, error) {
	m := sr.cfg.Genesis.Members[member]
	held := sr.params.Sharing().Held(member)
	if r.GetMember() != m.MSP || r.GetQuery() != q.ID || r.GetRoot() != q.Root.String() || int64(r.GetPart()) != int64(part) || len(r.GetPieces()) != len(held) {
		return nil, fault.New(fault.Invalid, "the probe is about another query, cohort or part, or has other pieces than %s holds", m.MSP)
	}
	if err := record.Verify(m.SignKey, probeDigest(sr.cfg.Genesis.Network, r), r.GetSignature()); err != nil {
		return nil, fault.New(fault.BadSignature, "%w", err)
	}
	size := sr.params.ShareBytes(1)
	out := probed{}
	for i, p := range r.GetPieces() {
		if int64(p.GetPiece()) != int64(held[i]) || len(p.GetShares()) != size*len(r.GetDevices()) {
			return nil, fault.New(fault.Invalid, "piece %d of the probe has %d bytes for %d devices", p.GetPiece(), len(p.GetShares()), len(r.GetDevices()))
		}
		for j, place := range r.GetDevices() {
			if out[int(place)] == nil {
				out[int(place)] = map[int][]byte{}
			}
			out[int(place)][held[i]] = bytes.Clone(p.GetShares()[j*size : (j+1)*size])
		}
	}
	return out, nil
}
