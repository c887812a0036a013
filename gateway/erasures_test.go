package gateway

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// bridge is an enrolled device of the patient.
func (p *patient) bridge() *device {
	p.w.Helper()
	d := p.newDevice()
	p.w.done(p.w.as("", nil).EnrolDevice(context.Background(), d.Enrolment, d.Seeds))
	return d
}

// rows are signed pointers for hours [from, until), and the one blob they name.
func (d *device) rows(from, until int64) ([]byte, []record.SignedPointer) {
	d.w.Helper()
	var rows []record.BlobRow
	for h := from; h < until; h++ {
		rows = append(rows, record.BlobRow{Hour: h, Row: random(64)})
	}
	return d.Rows(rows...)
}

// dayRows are signed pointers for days, and the one blob they name.
func (d *device) dayRows(days ...int64) ([]byte, []record.SignedPointer) {
	d.w.Helper()
	var rows []record.BlobRow
	for _, day := range days {
		rows = append(rows, record.BlobRow{Hour: 24 * day, Correction: record.PersonDayMark, Row: random(64)})
	}
	return d.Rows(rows...)
}

func (w *world) upload(d *device, data []byte, pointers []record.SignedPointer) *api.Operation {
	w.Helper()
	return w.done(d.client().Upload(context.Background(), d.ID, [][]byte{data}, pointers))
}

// indexed waits until the gateway's index has read the ledger.
func (w *world) indexed() {
	w.Helper()
	w.eventually("the index reads the ledger", func() bool { return w.index.Height() == w.Ledger.Height() })
}

func (w *world) stored(id record.ID) bool {
	w.Helper()
	ok, err := w.blobs.Has(context.Background(), id)
	w.ok(err)
	return ok
}

// report is what a member posts when it has deleted everything.
func (w *world) report(msp string, p *patient, devices ...record.ID) {
	w.Helper()
	w.Must(msp, contracts.RegistryReportErasure, p.Report(msp, 2*len(devices), devices...))
}

func TestAnErasureAndItsReceipt(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p := w.enrolled()
	d, other := p.bridge(), w.device()
	signed := p.consent()
	w.done(w.as("", nil).PutConsent(ctx, signed))
	w.advance(26 * 3600)
	data, pointers := d.rows(startHour, startHour+3)
	garbage, more := d.rows(startHour+3, startHour+4)
	w.upload(d, data, pointers)
	w.upload(d, garbage, more)
	dayRow, day := d.dayRows(startDay)
	w.upload(d, dayRow, day)
	kept, theirs := other.rows(startHour, startHour+3)
	w.upload(other, kept, theirs)
	w.indexed()

	_, err := p.client().Erasure(ctx, p.ID)
	wantFault(t, fault.NotFound, err)
	demand := p.Erasure(p.Key)
	op := w.done(w.as("", nil).Erase(ctx, demand))
	if again := w.done(w.as("", nil).Erase(ctx, demand)); again.ID != op.ID {
		t.Errorf("the same erasure is operation %s and %s", op.ID, again.ID)
	}
	w.eventually("the blobs are deleted", func() bool {
		return !w.stored(record.SumID(data)) && !w.stored(record.SumID(garbage)) && !w.stored(record.SumID(dayRow)) && !w.stored(record.SumID(d.Seeds))
	})
	living := w.enrolled()
	if w.stored(p.Enrolment.DetailsBlob) || !w.stored(living.Enrolment.DetailsBlob) {
		t.Error("the boxes with the details key are left, or somebody else's are gone")
	}
	if !w.stored(record.SumID(kept)) || !w.stored(record.SumID(other.Seeds)) {
		t.Error("somebody else's blobs went with them")
	}
	r, err := p.client().Erasure(ctx, p.ID)
	w.ok(err)
	if r.Done || r.BlobsLeft != 0 || r.State.Consents != 1 || len(r.Members) != 3 || r.Members[0].Done {
		t.Errorf("before the members report: %+v", r)
	}
	for msp := range w.Clients {
		w.report(msp, p, d.ID)
	}
	w.eventually("the receipt says that everything is done", func() bool {
		r, err = p.client().Erasure(ctx, p.ID)
		w.ok(err)
		return r.Done
	})
	if r.Members[1].Member != hospitalB || r.Members[1].Report.Report.Seeds != 2 {
		t.Errorf("when all have reported: %+v", r)
	}

	_, err = p.client().Consent(ctx, signed.Document.ID)
	wantFault(t, fault.Forbidden, err)
	consents, err := p.client().Consents(ctx, p.ID)
	if err != nil || len(consents) != 0 {
		t.Errorf("the gateway still shows %+v, %v", consents, err)
	}
	history, err := p.client().History(ctx, p.ID)
	w.ok(err)
	if len(history) != 2 || history[0].Status != consent.StatusRevoked || history[0].Institution != "" || history[1].Kind != "erasure" {
		t.Errorf("the history is %+v", history)
	}
	_, err = other.client().Receipts(ctx, other.ID, record.KindRow, startHour, startHour+3)
	w.ok(err)
	_, err = w.as(api.MemberParty(hospitalA), w.Keys[hospitalA]).Erasure(ctx, p.ID)
	wantFault(t, fault.Forbidden, err)
}

// The duty is read off the ledger: a gateway that was down when the patient was
// erased deletes when it is back.
func TestAGatewayThatWasDownStillErases(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	d := p.bridge()
	w.advance(10 * 3600)
	data, pointers := d.rows(startHour, startHour+2)
	w.upload(d, data, pointers)
	w.stop()
	w.Must(hospitalB, contracts.RegistryErase, p.Erasure(p.Key))
	w.indexed()
	w.startGateway()
	w.eventually("the blobs are deleted", func() bool { return !w.stored(record.SumID(data)) && !w.stored(record.SumID(d.Seeds)) })
}

func TestAttackErasureSentBySomebodyElse(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	victim, mallory := w.enrolled(), w.enrolled()
	forged := victim.Erasure(victim.Key)
	forged.Signature = mallory.Erasure(mallory.Key).Signature
	_, err := w.as("", nil).Erase(ctx, forged)
	wantFault(t, fault.BadSignature, err)

	forged.Key = consortium.Public(mallory.Key)
	forged.Signature = consortium.Sign(mallory.Key, forged.Erasure.Digest(w.Genesis.Network))
	_, err = w.as("", nil).Erase(ctx, forged)
	wantFault(t, fault.BadSignature, err)
	_, err = mallory.client().Erasure(ctx, victim.ID)
	wantFault(t, fault.Forbidden, err)
}

// A device may name any blob. That of somebody else does not go with it, neither
// rows nor seeds.
func TestAttackErasureTakesAnothersBlobs(t *testing.T) {
	w := newWorld(t)
	victim, p := w.device(), w.enrolled()
	thief := p.bridge()
	w.advance(10 * 3600)
	data, pointers := victim.rows(startHour, startHour+2)
	w.upload(victim, data, pointers)
	var named []record.SignedPointer
	for i, blob := range [][]byte{data, victim.Seeds} {
		named = append(named, thief.Pointer(record.Pointer{
			Device: thief.ID, Kind: record.KindRow, Index: startHour + int64(i), Blob: record.SumID(blob), Commitment: record.RandomID(),
		}))
	}
	for i := range named { // at this gateway
		_, err := thief.client().Upload(context.Background(), thief.ID, nil, named[i:i+1])
		if err == nil || fault.Codes[fault.Of(err)].Retry {
			t.Errorf("a device named another's blob as its rows: %v", err)
		}
	}
	w.Must(association, contracts.PointerAnchor, record.Anchor{Pointers: named}) // at another
	w.done(w.as("", nil).Erase(context.Background(), p.Erasure(p.Key)))
	w.eventually("the thief's seeds are deleted", func() bool { return !w.stored(record.SumID(thief.Seeds)) })
	w.indexed()
	time.Sleep(2 * lookEvery)
	if !w.stored(record.SumID(data)) || !w.stored(record.SumID(victim.Seeds)) {
		t.Error("the erasure of one patient deleted another's blobs")
	}
	r, err := p.client().Erasure(context.Background(), p.ID)
	if err != nil || r.BlobsLeft != 0 {
		t.Errorf("blobs that are not the patient's count as left: %+v, %v", r, err)
	}
}

// TestAttackErasureTakesTheSeedsNamedFirst: the first to name a seed blob does not own
// it. Its erasure leaves the blob to the device whose it is, which enrols then.
func TestAttackErasureTakesTheSeedsNamedFirst(t *testing.T) {
	w := newWorld(t)
	owner, p := w.enrolled(), w.enrolled()
	mine, thief := owner.newDevice(), p.newDevice()
	thief.Enrolment.Device.SeedBlob = mine.Enrolment.Device.SeedBlob
	thief.Sign()
	w.Must(hospitalA, contracts.RegistryEnrolDevice, thief.Enrolment)
	op, err := w.as("", nil).EnrolDevice(t.Context(), mine.Enrolment, mine.Seeds)
	w.ok(err)
	_, err = w.as("", nil).Wait(t.Context(), op)
	wantFault(t, fault.Conflict, err)
	w.done(w.as("", nil).Erase(t.Context(), p.Erasure(p.Key)))
	w.indexed()
	time.Sleep(2 * lookEvery)
	if !w.stored(record.SumID(mine.Seeds)) {
		t.Error("the erasure of one patient deleted another's seeds")
	}
	if r, err := p.client().Erasure(t.Context(), p.ID); err != nil || r.BlobsLeft != 0 {
		t.Errorf("seeds that are not the patient's count as left: %+v, %v", r, err)
	}
	w.Must(hospitalA, contracts.RegistryEnrolDevice, mine.Enrolment)
}

func TestAttackUploadAfterTheErasure(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p := w.enrolled()
	d := p.bridge()
	w.advance(10 * 3600)
	w.Must(hospitalA, contracts.RegistryErase, p.Erasure(p.Key))
	data, pointers := d.rows(startHour, startHour+1)
	op := w.upload(d, data, pointers)
	if len(op.Items) != 1 || op.Items[0].Outcome != record.Refused || op.Items[0].Code != string(fault.Forbidden) {
		t.Errorf("uploaded after the erasure: %+v", op.Items)
	}
	if w.stored(record.SumID(data)) {
		t.Error("the blob of a refused upload stayed")
	}
	late := p.newDevice()
	_, err := w.as("", nil).EnrolDevice(ctx, late.Enrolment, late.Seeds)
	wantFault(t, fault.Forbidden, err)
	if w.stored(record.SumID(late.Seeds)) {
		t.Error("the seeds of a refused device stayed")
	}
	_, err = w.as("", nil).PutConsent(ctx, p.consent())
	wantFault(t, fault.Purged, err)
}

// TestAttackQuarantineTakesAnchoredRows: what a device in quarantine uploads is
// refused. The blob that it names may hold rows that were acknowledged before, and a
// quarantine by vote can be lifted.
func TestAttackQuarantineTakesAnchoredRows(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().bridge()
	w.advance(10 * 3600)
	data, pointers := d.rows(startHour, startHour+2)
	if op := w.upload(d, data, pointers[:1]); op.Items[0].Outcome != record.Anchored {
		t.Fatalf("before the quarantine: %+v", op.Items)
	}
	for _, msp := range []string{hospitalA, hospitalB} {
		w.Must(msp, contracts.RegistryVoteQuarantine, record.VoteQuarantine{Device: d.ID, Reason: "far off"})
	}
	w.indexed()
	_, err := d.client().Upload(context.Background(), d.ID, [][]byte{data}, pointers[1:])
	wantFault(t, fault.Forbidden, err)
	if !w.stored(record.SumID(data)) {
		t.Error("the blob of an anchored row is gone")
	}
}

// inJournal reports whether any file of the journal has these bytes.
func (w *world) inJournal(what []byte) bool {
	w.Helper()
	found := false
	w.ok(filepath.WalkDir(filepath.Join(w.dir, "journal"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) { // the database has just removed it
			return nil
		}
		found = found || bytes.Contains(data, what)
		return err
	}))
	return found
}

// What a consent says is in the journal until it is on the ledger, and in the journal's
// files for as long as the database likes: until its patient is erased.
func TestWhatErasedConsentsSaidLeavesTheJournalsFiles(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p, left := w.enrolled(), w.enrolled()
	signed, refused := p.consent(), p.consent(func(d *consent.Document) { d.Version, d.Previous = 2, record.RandomID() })
	w.done(w.as("", nil).PutConsent(ctx, signed))
	op, err := w.as("", nil).PutConsent(ctx, refused)
	w.ok(err)
	_, err = w.as("", nil).Wait(ctx, op)
	wantFault(t, fault.Conflict, err)
	if !w.inJournal(signed.Signature) || !w.inJournal(refused.Signature) {
		t.Fatal("the search does not find requests that were journaled")
	}
	w.done(w.as("", nil).Erase(ctx, p.Erasure(p.Key)))
	for msp := range w.Clients {
		w.report(msp, p)
	}
	w.eventually("the receipt says that everything is done", func() bool {
		r, err := p.client().Erasure(ctx, p.ID)
		w.ok(err)
		return r.Done
	})
	if w.inJournal(signed.Signature) || w.inJournal(refused.Signature) {
		t.Error("what the consents said is still in a file")
	}
	if _, err := w.as("", nil).Operation(ctx, op.ID); fault.Of(err) != fault.NotFound {
		t.Errorf("why one was refused is still told: %v", err)
	}
	late := p.consent()
	if _, err := w.as("", nil).PutConsent(ctx, late); fault.Of(err) != fault.Purged {
		t.Errorf("a consent after the erasure: %v", err)
	}
	if w.inJournal(late.Signature) {
		t.Error("a consent that comes too late was written down")
	}
	w.done(w.as("", nil).PutConsent(ctx, left.consent()))
}
