package institution

import (
	"fmt"
	"slices"

	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// statement is what a member signs about its shares. With the clear shares it
// proves to anyone whose bytes they were.
type statement struct {
	Member  string
	Query   string
	Attempt int
	Root    record.ID
	Block   uint64
	Pieces  []statedPiece // ascending
}

type statedPiece struct {
	Piece int
	Hash  record.ID // SHA-256 of the clear share
}

// purposeShare is the HPKE info under which shares are sealed.
const purposeShare = "query share v1"

// boxBinding is the additional data of a sealed share.
func boxBinding(network string, q record.QueryState, member string, piece int) record.ID {
	return record.Digest("share-box/v1", network, []any{q.ID, q.Attempt, q.Root, q.Asker, member, piece})
}

// sign seals shares to the asker and signs what they are.
func (in *Institution) sign(q record.QueryState, block uint64, shares map[int][]byte) (*apiv1.GetShareResponse, error) {
	asker := slices.IndexFunc(in.cfg.Genesis.Members, func(m record.Member) bool { return m.MSP == q.Asker })
	if asker < 0 {
		return nil, fault.New(fault.Forbidden, "%s is not a member", q.Asker)
	}
	network := in.cfg.Genesis.Network
	st := statement{Member: in.self.MSP, Query: q.ID, Attempt: q.Attempt, Root: q.Root, Block: block}
	r := &apiv1.GetShareResponse{
		Member: in.self.MSP, Query: q.ID, Attempt: uint32(q.Attempt), Root: q.Root.String(), CheckedBlock: block,
	}
	for _, piece := range in.params.Sharing().Held(in.cfg.Member) {
		box, err := he.SealBox(in.cfg.Genesis.Members[asker].ShareKey, purposeShare, boxBinding(network, q, in.self.MSP, piece), shares[piece])
		if err != nil {
			return nil, err
		}
		hash := record.SumID(shares[piece])
		st.Pieces = append(st.Pieces, statedPiece{piece, hash})
		r.Shares = append(r.Shares, &apiv1.PieceShare{Piece: uint32(piece), Sealed: box, Hash: hash.String()})
	}
	var err error
	r.Signature, err = record.Sign(in.cfg.SignKey, record.Digest(record.DomainShare, network, st))
	return r, err
}

// maxBox bounds a sealed share in bytes.
const maxBox = 64 << 10

// open checks a member's answer and opens its shares: it is about this query and
// cohort, has exactly the member's pieces, each as signed.
func (in *Institution) open(q record.QueryState, member int, r *apiv1.GetShareResponse) (map[int][]byte, error) {
	m := in.cfg.Genesis.Members[member]
	root, err := record.ParseID(r.GetRoot())
	if err != nil {
		return nil, fault.New(fault.Invalid, "root: %w", err)
	}
	if r.GetMember() != m.MSP || r.GetQuery() != q.ID || int64(r.GetAttempt()) != int64(q.Attempt) || root != q.Root {
		return nil, fault.New(fault.Invalid, "the answer is about another query, attempt or cohort")
	}
	held := in.params.Sharing().Held(member)
	if len(r.GetShares()) != len(held) {
		return nil, fault.New(fault.Invalid, "%d shares, %s holds %d pieces", len(r.GetShares()), m.MSP, len(held))
	}
	st := statement{Member: m.MSP, Query: q.ID, Attempt: q.Attempt, Root: root, Block: r.GetCheckedBlock()}
	shares := map[int][]byte{}
	for i, s := range r.GetShares() {
		clear, hash, err := in.openShare(q, m.MSP, held[i], s)
		if err != nil {
			return nil, fault.New(fault.Invalid, "piece %d: %w", held[i], err)
		}
		st.Pieces = append(st.Pieces, statedPiece{held[i], hash})
		shares[held[i]] = clear
	}
	if err := record.Verify(m.SignKey, record.Digest(record.DomainShare, in.cfg.Genesis.Network, st), r.GetSignature()); err != nil {
		return nil, fault.New(fault.BadSignature, "%w", err)
	}
	return shares, nil
}

func (in *Institution) openShare(q record.QueryState, member string, piece int, s *apiv1.PieceShare) ([]byte, record.ID, error) {
	hash, err := record.ParseID(s.GetHash())
	if err != nil {
		return nil, hash, err
	}
	if int64(s.GetPiece()) != int64(piece) || len(s.GetSealed()) > maxBox {
		return nil, hash, fmt.Errorf("it is said to be piece %d with %d bytes", s.GetPiece(), len(s.GetSealed()))
	}
	clear, err := he.OpenBox(in.cfg.Keys.Share, purposeShare, boxBinding(in.cfg.Genesis.Network, q, member, piece), s.GetSealed())
	if err != nil {
		return nil, hash, err
	}
	if record.SumID(clear) != hash {
		return nil, hash, fmt.Errorf("it is not the share that the member signed for")
	}
	return clear, hash, nil
}
