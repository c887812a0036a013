package institution

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/institution/share"
)

// stragglers is how long the asker waits for further answers, to compare them,
// once it has every piece.
const stragglers = time.Second

// againPause is how long to wait before a member that could not be reached is asked
// again.
const againPause = 200 * time.Millisecond

// Evidence is one member's share of a disputed piece: the signed answer, and the
// clear share whose hash it signs.
type Evidence struct {
	Member string
	Share  []byte
	Answer []byte // vitalveil.v1.GetShareResponse
}

// Dispute says that holders of a piece sent different shares of it. Their caches
// differ, or one of them lies: anyone who holds the piece can compute the share
// and say who. Do not release; show the evidence to the other members.
type Dispute struct {
	Query   string
	Attempt int
	Piece   int
	Copies  []Evidence
}

func (d *Dispute) Error() string {
	names := make([]string, len(d.Copies))
	for i, c := range d.Copies {
		names[i] = fmt.Sprintf("%s (%s)", c.Member, record.SumID(c.Share).Short())
	}
	return fmt.Sprintf("holders of piece %d sent different shares of query %s: %s; at least one of them is faulty", d.Piece, d.Query, strings.Join(names, ", "))
}

// reply is what one member sent.
type reply struct {
	member int
	answer *share.GetShareResponse
	shares map[int][]byte
	err    error
}

// gathered is one share of every piece.
type gathered struct {
	shares  map[int][]byte
	from    map[int][]int // piece -> members that sent it
	replies []reply
	failed  []reply
	again   map[int]error // members that are asked again, and why
	bytes   int64
}

// gather asks every member for its shares at once, this one too, and compares
// what came. It needs every piece from somebody, and asks those that cannot be
// reached again while a piece is missing.
func (as *asker) gather(ctx context.Context, q record.QueryState) (*gathered, error) {
	ctx, cancel := context.WithTimeout(ctx, as.cfg.Patience)
	defer cancel()
	members := as.cfg.Genesis.Members
	replies := make(chan reply, len(members))
	ask := func(m int, after time.Duration) {
		go func() {
			_ = network.Sleep(ctx, after)
			replies <- as.fetch(ctx, q, m)
		}()
	}
	for m := range members {
		ask(m, 0)
	}
	got := &gathered{shares: map[int][]byte{}, from: map[int][]int{}, again: map[int]error{}}
	var late <-chan time.Time
	for open := len(members); open > 0; {
		whole := len(got.shares) == as.params.Sharing().Pieces()
		if whole && len(got.again) == open || ctx.Err() != nil {
			cancel() // nobody is left that would answer at once
		} else if whole && late == nil {
			late = time.After(stragglers)
		}
		select {
		case r := <-replies:
			if !whole && fault.Of(r.err) == fault.Unavailable && ctx.Err() == nil {
				got.again[r.member] = r.err
				ask(r.member, againPause)
				continue
			}
			open--
			got.add(r)
			if r.err == nil {
				as.progress.note(q.ID, members[r.member].MSP)
			}
		case <-late:
			cancel() // the rest answer with an error at once
		}
	}
	return got, as.judge(ctx, q, got)
}

// fetch gets and checks one member's shares.
func (as *asker) fetch(ctx context.Context, q record.QueryState, member int) reply {
	r := reply{member: member}
	if member == as.cfg.Member {
		r.answer, r.err = as.answerer.answer(ctx, as.self.MSP, q.ID, q.Attempt)
	} else {
		r.answer, r.err = as.peers.share(ctx, as.cfg.Genesis.Members[member].MSP, q.ID, q.Attempt)
	}
	if r.err == nil {
		r.shares, r.err = as.open(q, member, r.answer)
	}
	return r
}

func (g *gathered) add(r reply) {
	before := g.again[r.member]
	delete(g.again, r.member)
	if r.err != nil {
		if before != nil { // says more than that time is up
			r.err = before
		}
		g.failed = append(g.failed, r)
		return
	}
	g.replies = append(g.replies, r)
	g.bytes += int64(proto.Size(r.answer))
	for piece, share := range r.shares {
		g.from[piece] = append(g.from[piece], r.member)
		if g.shares[piece] == nil {
			g.shares[piece] = share
		}
	}
}

// judge decides whether what came is enough and consistent.
func (as *asker) judge(ctx context.Context, q record.QueryState, g *gathered) error {
	slices.SortFunc(g.replies, func(a, b reply) int { return a.member - b.member })
	slices.SortFunc(g.failed, func(a, b reply) int { return a.member - b.member })
	for piece := range as.params.Sharing().Pieces() {
		if err := as.compare(q, piece, g); err != nil {
			return err
		}
	}
	var reasons []string
	for _, r := range g.failed {
		if fault.Of(r.err) == fault.TooEarly {
			// A patient has withdrawn, then another attempt comes; but this
			// member's own reading decides, or any other could stop every query.
			if _, err := as.answerer.standing(ctx, q); err != nil {
				return err
			}
		}
		reasons = append(reasons, as.cfg.Genesis.Members[r.member].MSP+": "+clip(r.err.Error()))
	}
	for piece := range as.params.Sharing().Pieces() {
		if g.shares[piece] == nil {
			return fault.New(fault.Unavailable, "nobody gave a share of piece %d, which %s hold; %s", piece, as.holders(piece), strings.Join(reasons, "; "))
		}
	}
	return nil
}

// compare checks that all copies of a piece's share are the same bytes.
func (as *asker) compare(q record.QueryState, piece int, g *gathered) error {
	var copies []Evidence
	differ := false
	for _, r := range g.replies {
		share, holds := r.shares[piece]
		if !holds {
			continue
		}
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.answer)
		if err != nil {
			return err
		}
		copies = append(copies, Evidence{as.cfg.Genesis.Members[r.member].MSP, share, raw})
		differ = differ || !bytes.Equal(share, copies[0].Share)
	}
	if !differ {
		return nil
	}
	return fault.New(fault.Conflict, "%w", &Dispute{Query: q.ID, Attempt: q.Attempt, Piece: piece, Copies: copies})
}
