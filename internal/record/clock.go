package record

// ResetClock is the argument of Clock:Reset: the calling member of the current epoch
// votes that ledger time goes back to Time, since clocks of members were wrong. Round
// is how often that has been done before: a vote is for one time only.
type ResetClock struct {
	Time  int64  `json:"time"` // Unix seconds, before ledger time
	Round uint32 `json:"round"`
}

// ClockState is the ledger's record of how often ledger time was set back, and what
// Clock:Reset returns. Votes is how many agree, 0 once time was set back.
type ClockState struct {
	Round uint32 `json:"round"`
	Votes int    `json:"votes"`
}

// clockVoteLife is for how long a vote of a ClockVote counts, in seconds of ledger time.
const clockVoteLife = 24 * 60 * 60

// ClockVote is the ledger's record of a member's latest vote that ledger time goes back,
// and of the time at which it voted.
type ClockVote struct {
	Reset  ResetClock `json:"reset"`
	Member string     `json:"member"`
	At     int64      `json:"at"`
}

// For reports whether the vote counts for r at a time: who voted long ago, when something
// else was wrong, does not want the same now.
func (v ClockVote) For(r ResetClock, now int64) bool {
	return v.Reset == r && now-v.At <= clockVoteLife
}
