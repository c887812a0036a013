package chaincode

import (
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// checkCorrection holds a correction against ledger time and the rows of its
// hour: it comes within record.CorrectionDays of the end of the hour's day, when
// the day's root is due too, and after the one before it, on the ledger or
// earlier in this call. So an hour has at most record.MaxCorrection of them.
func (r *anchoring) checkCorrection(p record.Pointer) (*fault.Error, error) {
	before, is := preceding(p)
	if !is {
		return nil, nil
	}
	due := (wearable.FloorDiv(p.Index, 24) + 1 + record.CorrectionDays) * state.Day
	if r.now > due {
		return fault.New(fault.Expired, "corrections of hour %d were due within %d days of the end of its day", p.Index, record.CorrectionDays), nil
	}
	_, known, err := r.lookup(before)
	if err != nil {
		return nil, err
	}
	if known == nil {
		return fault.New(fault.TooEarly, "correction %d of hour %d comes after number %d, which is not recorded", p.Correction, p.Index, before.Correction), nil
	}
	return nil, nil
}

// preceding is the pointer that a correction comes after; only its key counts.
func preceding(p record.Pointer) (record.Pointer, bool) {
	if p.Correction == 0 {
		return p, false
	}
	p.Correction--
	return p, true
}
