package institution

import (
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution/share"
)

// purposeShare is the HPKE info under which shares are sealed.
const purposeShare = "query share v1"

// boxBinding is the additional data of a sealed share.
func boxBinding(network string, q record.QueryState, member string, piece int) record.ID {
	return record.Digest("share-box/v1", network, []any{q.ID, q.Attempt, q.Root, q.Asker, member, piece})
}

// sign seals shares to the asker and signs what they are.
func (an *answerer) sign(q record.QueryState, block uint64, shares map[int][]byte) (*share.GetShareResponse, error) {
	asker := slices.IndexFunc(an.cfg.Genesis.Members, func(m record.Member) bool { return m.MSP == q.Asker })
	if asker < 0 {
		return nil, fault.New(fault.Forbidden, "%s is not a member", q.Asker)
	}
	network := an.cfg.Genesis.Network
	r := &share.GetShareResponse{
		Member: an.self.MSP, Query: q.ID, Attempt: uint32(q.Attempt), Root: q.Root.String(), CheckedBlock: block,
	}
	for _, piece := range an.params.Sharing().Held(an.cfg.Member) {
		box, err := he.SealBox(an.cfg.Genesis.Members[asker].ShareKey, purposeShare, boxBinding(network, q, an.self.MSP, piece), shares[piece])
		if err != nil {
			return nil, err
		}
		r.Shares = append(r.Shares, &share.PieceShare{Piece: uint32(piece), Sealed: box, Hash: record.SumID(shares[piece]).String()})
	}
	signed, err := signedShares(r)
	if err != nil {
		return nil, err
	}
	r.Signature, err = record.Sign(an.cfg.SignKey, signed.Statement.Digest(network))
	return r, err
}

// signedShares is what an answer says and its member signs, with the signature, in the
// form in which the ledger takes it.
func signedShares(r *share.GetShareResponse) (record.SignedShares, error) {
	s := record.SignedShares{Signature: r.GetSignature(), Statement: record.ShareStatement{
		Member: r.GetMember(), Query: r.GetQuery(), Attempt: int(r.GetAttempt()), Block: r.GetCheckedBlock(),
	}}
	var err error
	if s.Statement.Root, err = record.ParseID(r.GetRoot()); err != nil {
		return s, fault.New(fault.Invalid, "root: %w", err)
	}
	for _, share := range r.GetShares() {
		hash, err := record.ParseID(share.GetHash())
		if err != nil {
			return s, fault.New(fault.Invalid, "piece %d: %w", share.GetPiece(), err)
		}
		s.Statement.Pieces = append(s.Statement.Pieces, record.StatedPiece{Piece: int(share.GetPiece()), Hash: hash})
	}
	return s, nil
}

// maxBox bounds a sealed share in bytes.
const maxBox = 64 << 10

// open checks a member's answer and opens its shares: it is about this query and
// cohort, has exactly the member's pieces, each as signed.
func (as *asker) open(q record.QueryState, member int, r *share.GetShareResponse) (map[int][]byte, error) {
	m := as.cfg.Genesis.Members[member]
	held := as.params.Sharing().Held(member)
	if len(r.GetShares()) != len(held) {
		return nil, fault.New(fault.Invalid, "%d shares, %s holds %d pieces", len(r.GetShares()), m.MSP, len(held))
	}
	signed, err := signedShares(r)
	if err != nil {
		return nil, err
	}
	if st := signed.Statement; st.Member != m.MSP || st.Query != q.ID || st.Attempt != q.Attempt || st.Root != q.Root {
		return nil, fault.New(fault.Invalid, "the answer is about another query, attempt or cohort")
	}
	shares := map[int][]byte{}
	for i, s := range r.GetShares() {
		if shares[held[i]], err = as.openShare(q, m.MSP, held[i], s, signed.Statement.Pieces[i].Hash); err != nil {
			return nil, fault.New(fault.Invalid, "piece %d: %w", held[i], err)
		}
	}
	if err := record.Verify(m.SignKey, signed.Statement.Digest(as.cfg.Genesis.Network), signed.Signature); err != nil {
		return nil, fault.New(fault.BadSignature, "%w", err)
	}
	return shares, nil
}

func (as *asker) openShare(q record.QueryState, member string, piece int, s *share.PieceShare, hash record.ID) ([]byte, error) {
	if int64(s.GetPiece()) != int64(piece) || len(s.GetSealed()) > maxBox {
		return nil, fmt.Errorf("it is said to be piece %d with %d bytes", s.GetPiece(), len(s.GetSealed()))
	}
	clear, err := he.OpenBox(as.cfg.Keys.Share, purposeShare, boxBinding(as.cfg.Genesis.Network, q, member, piece), s.GetSealed())
	if err != nil {
		return nil, err
	}
	if record.SumID(clear) != hash {
		return nil, fmt.Errorf("it is not the share that the member signed for")
	}
	return clear, nil
}
