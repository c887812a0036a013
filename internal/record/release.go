package record

import "slices"

// The documents about the end of a query: which shares opened a release, who stands
// behind them, and what is said where nothing opened.

// DefaultDailyAsks is Genesis.DailyAsks where the genesis has none.
const DefaultDailyAsks = 100

// AsksPerDay is how many queries a member may ask in a day.
func (g Genesis) AsksPerDay() int {
	if g.DailyAsks == 0 {
		return DefaultDailyAsks
	}
	return g.DailyAsks
}

// AskCount is how many queries a member has asked in its latest day.
type AskCount struct {
	Day   int64 `json:"day"` // Unix day of ledger time
	Count int   `json:"count"`
}

// AbandonVote is the ledger's record of a member's vote to end a query.
type AbandonVote struct {
	Vote   Abandon `json:"vote"`
	Member string  `json:"member"`
}

// ShareStatement is what a member signs about its shares of a query, in DomainShare.
// With the clear shares it proves to anyone whose bytes they were.
type ShareStatement struct {
	Member  string        `json:"member"`
	Query   string        `json:"query"`
	Attempt int           `json:"attempt"`
	Root    ID            `json:"root"`
	Block   uint64        `json:"block"` // newest one at which revocations were checked
	Pieces  []StatedPiece `json:"pieces"`
}

// StatedPiece is one piece's share; a statement lists all that its member holds,
// ascending.
type StatedPiece struct {
	Piece int `json:"piece"`
	Hash  ID  `json:"hash"` // SHA-256 of the clear share
}

// Digest is what the member signs.
func (s ShareStatement) Digest(network string) ID { return Digest(DomainShare, network, s) }

// SignedShares is a statement with its member's signature, and the argument of
// Query:ConfirmShares.
type SignedShares struct {
	Statement ShareStatement `json:"statement"`
	Signature []byte         `json:"signature"`
}

// PostRelease is the argument of Query:PostRelease: what was learned, as a digest in
// DomainRelease that a salt keeps from being guessed, and the statements of all
// members whose shares the asker has.
type PostRelease struct {
	Query  string         `json:"query"`
	Hash   ID             `json:"hash"`
	Shares []SignedShares `json:"shares"`
}

// ReleasedShare is the share of one piece in a release: its hash, which members have
// signed that they have it, and which that they have another.
type ReleasedShare struct {
	Hash    ID       `json:"hash"`
	By      []string `json:"by"`
	Against []string `json:"against,omitempty"`
}

// Standings of a release.
const (
	// StandingPreliminary: a share has too few of its holders behind it.
	StandingPreliminary = "preliminary"
	// StandingFinal: behind every share stand as many of its holders as the
	// threshold, or all that there are, or the asker, who would deceive itself.
	StandingFinal = "final"
	// StandingDisputed: a holder has another share.
	StandingDisputed = "disputed"
)

// FailQuery is the argument of Query:Fail: the asker has shares of every piece, on
// which their holders agree, and they do not open the rows.
type FailQuery struct {
	Query string `json:"query"`
}

// Stated reports whether a member has signed for or against a share of the release.
func (q QueryState) Stated(member string) bool {
	for _, s := range q.Shares {
		if slices.Contains(s.By, member) || slices.Contains(s.Against, member) {
			return true
		}
	}
	return false
}

// Copy returns the state with shares of its own, to be changed apart.
func (q QueryState) Copy() QueryState {
	q.Shares = slices.Clone(q.Shares)
	for i, s := range q.Shares {
		q.Shares[i].By, q.Shares[i].Against = slices.Clone(s.By), slices.Clone(s.Against)
	}
	return q
}
