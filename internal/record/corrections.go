package record

// An hour is sealed once when it is over. Data that reach the device later are
// sealed as a row of their own, which is added to the first one wherever that
// counts: a correction.
const (
	// MaxCorrection is the most corrections of an hour; they are numbered from 1.
	MaxCorrection = 3
	// CorrectionDays is for how many days after the day of an hour the ledger takes
	// its corrections.
	CorrectionDays = 7
)

// Hours returns how many hours of a device count.
func (m CohortMember) Hours() int64 {
	var n int64
	for _, r := range m.Ranges {
		n += r[1] - r[0]
	}
	return n
}

// Rows returns how many rows count: one for each hour and those of corrections.
func (m CohortMember) Rows() int64 { return m.Hours() + int64(len(m.Corrections)) }
