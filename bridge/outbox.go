package bridge

import (
	"cmp"
	"crypto/ecdsa"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

const (
	// rowsPerUpload and daysPerUpload bound one upload: nineteen days, of which each has
	// two pointers, and one batch on the ledger.
	rowsPerUpload = 19 * 24
	daysPerUpload = (record.MaxBatch - rowsPerUpload) / 2
)

// outbox is what is on its way to the ledger, as the store has it: uploads, the rows
// that they carry, and the signed pointers to them. What an upload carries and what
// its pointers say never changes, so that a retry sends the same bytes.
type outbox struct {
	vault   *deviceVault
	id      record.ID
	network string
	signer  *ecdsa.PrivateKey
	dayRows bool // whether days have rows
}

// uploadRecord is one upload of the outbox: the rows of hours [RowsFrom,
// RowsUntil) and the corrections [LateFrom, LateUntil), by sequence number, and days [DaysFrom,
// DaysUntil), where days have rows, in one blob; and the roots of these days. Its pointers are in their own
// records. It shrinks by what is all on the ledger, and is deleted when nothing is
// left.
type uploadRecord struct {
	RowsFrom, RowsUntil int64
	DaysFrom, DaysUntil int64
	LateFrom, LateUntil int64
}

// pointerRecord is a signed pointer and what became of it.
type pointerRecord struct {
	Signed  record.SignedPointer
	Outcome string // of record.AnchorItem, as a gateway told it; "" while it is not known
	Code    string
	Detail  string
	// How often it was refused, and from which time of the hub's clock on it is offered
	// again.
	Refusals int
	Again    int64
}

// open reports whether the pointer is not on the ledger.
func (p pointerRecord) open() bool { return p.Outcome == "" || p.Outcome == record.Refused }

// A pointer that was refused is offered again, at first to each of the other gateways
// and then after waits that double: that the ledger refused it is a gateway's word,
// which nobody signed.
const (
	againFirst = 60        // seconds
	againMost  = 24 * 3600 // seconds
)

// refused notes a refusal at a time, in a hub with so many gateways.
func (p *pointerRecord) refused(item record.AnchorItem, now int64, gateways int) {
	p.Outcome, p.Code, p.Detail = record.Refused, item.Code, clip(item.Detail)
	p.Refusals++
	p.Again = now
	if waits := p.Refusals - gateways; waits >= 0 {
		p.Again += min(int64(againFirst)<<min(waits, 20), againMost)
	}
}

// overdue reports whether a refused pointer is of a day row that the ledger takes no more,
// by the hub's own clock and with a day for clocks to differ: it would keep the rows of
// its blob for ever.
func (p *pointerRecord) overdue(now int64) bool {
	ptr := p.Signed.Pointer
	return ptr.Kind == record.KindPersonDay && p.Code == string(fault.Expired) && now > (ptr.Index+record.CorrectionDays+2)*86400
}

// Refusal is a pointer that the ledger does not take, by the word of a gateway. It is
// kept and offered again, elsewhere too if the hub knows more gateways.
type Refusal struct {
	Device     record.ID
	Kind       string
	Index      int64
	Correction uint8
	Code       fault.Code
	Detail     string
}

// lateRecord is a sealed correction.
type lateRecord struct {
	Hour   int64
	Number uint8
	Row    []byte
}

func (o *outbox) key(n uint64) []byte {
	return o.vault.key(kindUpload, binary.BigEndian.AppendUint64(nil, n)...)
}

func (o *outbox) pointerKey(kind string, index int64, correction uint8) []byte {
	return o.vault.key(kindPointer, pointerName(kind, index, correction)...)
}

// pointerName is the end of a key that names a pointer. First sealings have the
// names from before there were corrections.
func pointerName(kind string, index int64, correction uint8) []byte {
	name := append([]byte{kind[0]}, ordered(index)...)
	if correction > 0 {
		name = append(name, correction)
	}
	return name
}

// sign puts the signed pointers of an upload into the batch.
func (o *outbox) sign(b *pebble.Batch, u uploadRecord) error {
	blob, rows, err := o.blob(u)
	if err != nil {
		return err
	}
	name := record.SumID(blob)
	for _, row := range rows {
		if err := o.signOne(b, row.Pointer(o.id, name)); err != nil {
			return err
		}
	}
	for day := u.DaysFrom; day < u.DaysUntil; day++ {
		var rec dayRecord
		found, err := o.vault.load(o.vault.key(kindOpening, ordered(day)...), &rec)
		if err := expect(found, err, "no root for committed day %d", day); err != nil {
			return err
		}
		if err := o.signOne(b, record.Pointer{Device: o.id, Kind: record.KindDay, Index: day, Commitment: rec.Root}); err != nil {
			return err
		}
	}
	return nil
}

func (o *outbox) signOne(b *pebble.Batch, p record.Pointer) error {
	return o.signAnew(b, pointerRecord{Signed: record.SignedPointer{Pointer: p}})
}

// signAnew stores the record of a pointer with a fresh signature over it.
func (o *outbox) signAnew(b *pebble.Batch, p pointerRecord) error {
	ptr := p.Signed.Pointer
	sig, err := record.Sign(o.signer, ptr.Digest(o.network))
	if err != nil {
		return err
	}
	p.Signed.Signature = sig
	return o.vault.store(b, o.pointerKey(ptr.Kind, ptr.Index, ptr.Correction), p)
}

// blob rebuilds the rows blob of an upload from the stored rows; it is nil when
// the upload has no rows.
func (o *outbox) blob(u uploadRecord) ([]byte, []record.BlobRow, error) {
	var rows []record.BlobRow
	for hour := u.RowsFrom; hour < u.RowsUntil; hour++ {
		row, err := o.vault.get(o.vault.key(kindRow, ordered(hour)...))
		if err := expect(row != nil, err, "no row for sealed hour %d", hour); err != nil {
			return nil, nil, err
		}
		rows = append(rows, record.BlobRow{Hour: hour, Row: row})
	}
	for n := u.LateFrom; n < u.LateUntil; n++ {
		late, err := o.late(n)
		if err != nil {
			return nil, nil, err
		}
		rows = append(rows, record.BlobRow{Hour: late.Hour, Correction: late.Number, Row: late.Row})
	}
	for day := u.DaysFrom; o.dayRows && day < u.DaysUntil; day++ {
		row, err := o.vault.get(o.vault.key(kindDayRow, ordered(day)...))
		if err := expect(row != nil, err, "no row for committed day %d", day); err != nil {
			return nil, nil, err
		}
		rows = append(rows, record.BlobRow{Hour: 24 * day, Correction: record.PersonDayMark, Row: row})
	}
	if len(rows) == 0 {
		return nil, nil, nil
	}
	slices.SortFunc(rows, func(a, b record.BlobRow) int {
		return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Correction, b.Correction))
	})
	blob, err := record.EncodeRows(o.id, rows)
	return blob, rows, err
}

// numbered is an upload with its place in the outbox.
type numbered struct {
	uploadRecord
	n uint64
}

// uploads lists the outbox in order.
func (o *outbox) uploads() ([]numbered, error) {
	var list []numbered
	for e, err := range o.vault.each(kindUpload, nil) {
		if err != nil {
			return nil, err
		}
		if len(e.Name) != 8 {
			return nil, fmt.Errorf("%w: upload key", ErrDamaged)
		}
		u := numbered{n: binary.BigEndian.Uint64(e.Name)}
		if err := decode(e.Value, &u.uploadRecord); err != nil {
			return nil, err
		}
		list = append(list, u)
	}
	return list, nil
}

// pointer loads the record of a pointer that was signed.
func (o *outbox) pointer(kind string, index int64, correction uint8) (pointerRecord, error) {
	var p pointerRecord
	found, err := o.vault.load(o.pointerKey(kind, index, correction), &p)
	return p, expect(found, err, "no pointer for %s %d, correction %d", kind, index, correction)
}

// pointers lists the pointers of an upload that are not on the ledger: rows, then
// corrections in the order in which they were sealed, then rows and then roots of days.
func (o *outbox) pointers(u uploadRecord) ([]pointerRecord, error) {
	var list []pointerRecord
	collect := func(kind string, index int64, correction uint8) error {
		p, err := o.pointer(kind, index, correction)
		if err == nil && p.open() {
			list = append(list, p)
		}
		return err
	}
	for hour := u.RowsFrom; hour < u.RowsUntil; hour++ {
		if err := collect(record.KindRow, hour, 0); err != nil {
			return nil, err
		}
	}
	for n := u.LateFrom; n < u.LateUntil; n++ {
		late, err := o.late(n)
		if err == nil {
			err = collect(record.KindRow, late.Hour, late.Number)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, kind := range o.daily() {
		for day := u.DaysFrom; day < u.DaysUntil; day++ {
			if err := collect(kind, day, 0); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// daily is the kinds of pointers that there are of each day.
func (o *outbox) daily() []string {
	if o.dayRows {
		return []string{record.KindPersonDay, record.KindDay}
	}
	return []string{record.KindDay}
}

// shrink takes out of an upload what has no pointer left, and the upload if nothing
// has: rows are kept for no longer than an upload is about them.
func (o *outbox) shrink(b *pebble.Batch, u numbered, left map[record.Pointer]bool) error {
	rows, days := false, false
	for p := range left {
		rows = rows || p.Sealed() // in their blob, all of it or none
		days = days || p.Daily()
	}
	if !rows && !days {
		return b.Delete(o.key(u.n), nil)
	}
	next := u.uploadRecord
	if !rows {
		next.RowsFrom, next.LateFrom = next.RowsUntil, next.LateUntil
	}
	if !days && !(rows && o.dayRows) { // day rows are in the blob that is still needed
		next.DaysFrom = next.DaysUntil
	}
	if next == u.uploadRecord {
		return nil
	}
	return o.vault.store(b, o.key(u.n), next)
}

// provesCopy reports whether what a gateway shows in a pointer's place is another
// pointer under this device's own signature: then it was signed twice.
func (o *outbox) provesCopy(p record.Pointer, shown *record.SignedPointer) bool {
	return shown != nil && shown.Pointer != p && shown.Pointer.Kind == p.Kind &&
		placeOf(shown.Pointer) == placeOf(p) && o.signedByUs(*shown)
}

func refusal(p pointerRecord) Refusal {
	s := p.Signed.Pointer
	return Refusal{Device: s.Device, Kind: s.Kind, Index: s.Index, Correction: s.Correction, Code: fault.Code(p.Code), Detail: p.Detail}
}

// clip bounds a text of the gateway before it is stored.
func clip(s string) string { return fault.Clip(s, 512) }

// refused lists the pointers that were refused and are not on the ledger.
func (o *outbox) refused() ([]Refusal, error) {
	var list []Refusal
	for e, err := range o.vault.each(kindPointer, nil) {
		if err != nil {
			return nil, err
		}
		var p pointerRecord
		if err := decode(e.Value, &p); err != nil {
			return nil, err
		}
		if p.Outcome == record.Refused {
			list = append(list, refusal(p))
		}
	}
	return list, nil
}

func (o *outbox) lateKey(n int64) []byte { return o.vault.key(kindLate, ordered(n)...) }

// late loads a sealed correction by its sequence number.
func (o *outbox) late(n int64) (lateRecord, error) {
	var l lateRecord
	found, err := o.vault.load(o.lateKey(n), &l)
	return l, expect(found, err, "no row for sealed correction number %d", n)
}

// sent tells whether a store in this state has made the pointer to a row, of an hour or
// of a day.
func (o *outbox) sent(p record.Pointer, s *deviceState) (bool, error) {
	switch {
	case p.Daily():
		return p.Index < s.PackedDays, nil
	case p.Correction == 0:
		return p.Index < s.PackedRows, nil
	}
	return o.vault.Has(o.pointerKey(record.KindRow, p.Index, p.Correction))
}

func (o *outbox) signedByUs(s record.SignedPointer) bool {
	return s.Pointer.Device == o.id &&
		record.Verify(record.PublicKeyBytes(&o.signer.PublicKey), s.Pointer.Digest(o.network), s.Signature) == nil
}

// packed loads the pointer of a kind at a position.
func (o *outbox) packed(kind string, position int64) (pointerRecord, error) {
	if kind != lateKind {
		return o.pointer(kind, position, 0)
	}
	late, err := o.late(position)
	if err != nil {
		return pointerRecord{}, err
	}
	return o.pointer(record.KindRow, late.Hour, late.Number)
}
