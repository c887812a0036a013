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
