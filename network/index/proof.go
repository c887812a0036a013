package index

import (
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// Whoever decides what a ledger records, an operator or the organisations that
// suffice to endorse, could record what nobody signed. So whatever permits something
// is checked here once more, at its place on the ledger and with the keys, the
// roster and the time that the documents before it have led to. What is derived from
// signed documents is never read off the ledger: neither patients' records nor their
// designated devices, the roster, ledger time or what a study has spent.
//
// A write that does not follow from signatures is refused: it is noted (Refused), and
// permits nothing. One that would take something away from its subject is heeded all
// the same where a document could have been spoilt on the way: an unproven revocation
// ends the consent, and an unproven erasure counts as a revocation of everything. It
// is no reason to delete anything, or to lift a denial.

// Refusal is a write that was refused.
type Refusal struct {
	At     Position `json:"at"`
	Tx     string   `json:"tx"`
	What   string   `json:"what"` // the kind of record, and whose
	Reason string   `json:"reason"`
}

// maxRefusals bounds how many refusals are kept to be read; all are counted.
const maxRefusals = 1000

// unproven is why a write was refused; the index goes on without it.
type unproven struct{ reason error }

func (u unproven) Error() string { return u.reason.Error() }
func (u unproven) Unwrap() error { return u.reason }

func refuse(format string, args ...any) error { return unproven{fmt.Errorf(format, args...)} }

// doubt makes any error one for which the write is refused.
func doubt(err error) error {
	if err == nil {
		return nil
	}
	return unproven{err}
}

// keep keeps a refusal; other errors it gives back.
func (re *refusals) keep(at Position, tx, what string, err error) error {
	var u unproven
	if !errors.As(err, &u) {
		return err
	}
	re.count++
	if len(re.list) < maxRefusals {
		re.list = append(re.list, Refusal{At: at, Tx: tx, What: what, Reason: u.Error()})
	}
	return nil
}

// Refused returns how many writes were refused, and the refusals from number `from`
// on, of the first 1000, oldest first.
func (ix *Index) Refused(from int) (int, []Refusal) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if from < 0 || from >= len(ix.refusals.list) {
		return ix.refusals.count, nil
	}
	return ix.refusals.count, append([]Refusal(nil), ix.refusals.list[from:]...)
}

// submitted is the argument of a transaction, decoded once for all of its writes: the
// acknowledgement of many devices has one for each.
type submitted struct{ decoded any }

// argument is the document that a transaction was submitted with: what the parties
// have signed, while a write is what somebody says follows from it. Who keeps a part
// of it shares that with other writes.
func argument[A, R any](w write, m contracts.Write[A, R]) (A, error) {
	var v A
	if w.tx.Function != m.Name() || len(w.tx.Args) != 1 {
		return v, refuse("it was not written by a call of %s", m)
	}
	if v, ok := w.doc.decoded.(A); ok {
		return v, nil
	}
	if err := record.Unmarshal([]byte(w.tx.Args[0]), &v); err != nil {
		return v, refuse("the argument of %s: %w", m, err)
	}
	w.doc.decoded = v
	return v, nil
}

// by makes sure that a member's record was written by a transaction of this member,
// whose certificate and signature have been checked with the block.
func (w write) by(member string) error {
	if w.tx.Creator.MSP != member {
		return refuse("%q has written what only %q may", w.tx.Creator.MSP, member)
	}
	return nil
}

// seat is by, for members of an epoch.
func (po *policy) seat(w write, epoch uint32, member string) error {
	if err := w.by(member); err != nil {
		return err
	}
	if po.epochs[epoch].Epoch.Place(member) < 0 {
		return refuse("%q is not a member of epoch %d", member, epoch)
	}
	return nil
}

// id reads an identifier from a part of the key.
func (w write) id(part int) (record.ID, error) {
	id, err := record.ParseID(w.parts[part])
	return id, doubt(err)
}
