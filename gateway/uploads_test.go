package gateway

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// refusesUpload insists that an upload is refused, for good, and leaves nothing behind.
func (w *world) refusesUpload(what string, code fault.Code, d *device, data []byte, pointers []record.SignedPointer) {
	w.Helper()
	op, err := d.client().Upload(context.Background(), d.ID, [][]byte{data}, pointers)
	if err == nil || fault.Of(err) != code {
		w.Errorf("%s: %+v, %v, want %s", what, op, err, code)
	}
	if w.stored(record.SumID(data)) {
		w.Errorf("%s: the blob was stored", what)
	}
}

func TestAttackUploadsOfDevicesThatCountForNothing(t *testing.T) {
	w := newWorld(t)
	lost, suspect := w.device(), w.device()
	w.advance(10 * 3600)
	w.Must(association, contracts.RegistryRetireDevice, lost.Retirement(lost.Key, true))
	for _, msp := range []string{hospitalA, hospitalB} {
		w.Must(msp, contracts.RegistryVoteQuarantine, record.VoteQuarantine{Device: suspect.ID, Reason: "far off"})
	}
	w.indexed()
	for h := int64(startHour); h < startHour+3; h++ {
		data, pointers := lost.rows(h, h+1)
		w.refusesUpload("a lost device", fault.Expired, lost, data, pointers)
		data, pointers = suspect.rows(h, h+1)
		w.refusesUpload("a device in quarantine", fault.Forbidden, suspect, data, pointers)
	}
}

func TestAttackJunkInTheStore(t *testing.T) {
	w := newWorld(t)
	d, other := w.device(), w.device()
	w.advance(10 * 3600)
	naming := func(data []byte, commitment record.ID) []record.SignedPointer {
		return []record.SignedPointer{d.Pointer(record.Pointer{
			Device: d.ID, Kind: record.KindRow, Index: startHour, Blob: record.SumID(data), Commitment: commitment,
		})}
	}
	junk := random(4096)
	w.refusesUpload("what is no rows", fault.Invalid, d, junk, naming(junk, record.RandomID()))

	data, pointers := d.rows(startHour, startHour+2)
	unsigned := append([]record.SignedPointer{}, pointers...)
	unsigned[1].Signature = random(64)
	w.refusesUpload("a pointer that the device did not sign", fault.BadSignature, d, data, unsigned)
	w.refusesUpload("another row than the pointer commits to", fault.Invalid, d, data, naming(data, record.RandomID()))
	elsewhere := []record.SignedPointer{d.Pointer(record.Pointer{
		Device: d.ID, Kind: record.KindRow, Index: startHour + 7, Blob: record.SumID(data), Commitment: pointers[0].Pointer.Commitment,
	})}
	w.refusesUpload("an hour that the blob has not", fault.Invalid, d, data, elsewhere)

	data, pointers = other.rows(startHour, startHour+1)
	w.refusesUpload("rows of another device", fault.Forbidden, d, data, naming(data, pointers[0].Pointer.Commitment))
}

// TestDayRowsAreTakenWithTheHours, in one blob, and have receipts of their own.
func TestDayRowsAreTakenWithTheHours(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d := w.device()
	w.advance(26 * 3600)
	hour := record.BlobRow{Hour: startHour, Row: random(64)}
	day := record.BlobRow{Hour: startHour, Correction: record.PersonDayMark, Row: random(64)}
	data, pointers := d.Rows(hour, day)
	op := w.upload(d, data, append(pointers, d.Day(startDay)))
	for i, item := range op.Items {
		if item.Outcome != record.Anchored {
			t.Errorf("pointer %d: %+v", i, item)
		}
	}
	w.postAvailable(op.Items[1].Batch, hospitalA, hospitalB)
	w.eventually("there is a receipt", func() bool {
		r, err := d.client().Receipts(ctx, d.ID, record.KindPersonDay, startDay, startDay+1)
		return err == nil && len(r) == 1 && r[0].Pointer.Pointer == pointers[1].Pointer && len(r[0].Posts) == 2
	})
	_, err := d.client().Receipts(ctx, d.ID, "person", startDay, startDay+1)
	wantFault(t, fault.Invalid, err)
}

// TestAttackDayRowsPassedOff as an hour's, for another day, or an hour's as a day row: an
// upload says what its blob holds.
func TestAttackDayRowsPassedOff(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	w.advance(5 * 86400)
	for name, lie := range map[string]func(p *record.Pointer, other record.Pointer){
		"a day row as an hour's":      func(p *record.Pointer, _ record.Pointer) { p.Kind, p.Index = record.KindRow, p.Index*24 },
		"one day's for another's":     func(p *record.Pointer, other record.Pointer) { p.Commitment = other.Commitment },
		"of a day that is not there":  func(p *record.Pointer, _ record.Pointer) { p.Index += 2 },
		"of no blob":                  func(p *record.Pointer, _ record.Pointer) { p.Blob = record.ID{} },
		"with the number of its mark": func(p *record.Pointer, _ record.Pointer) { p.Correction = record.PersonDayMark },
		"of the end of time":          func(p *record.Pointer, _ record.Pointer) { p.Index = 1 << 60 },
	} {
		data, pointers := d.dayRows(startDay, startDay+1)
		lie(&pointers[0].Pointer, pointers[1].Pointer)
		pointers[0] = d.Pointer(pointers[0].Pointer)
		w.refusesUpload(name, fault.Invalid, d, data, pointers)
	}
	data, pointers := d.rows(startHour, startHour+1)
	pointers[0].Pointer.Kind, pointers[0].Pointer.Index = record.KindPersonDay, startDay
	w.refusesUpload("an hour's row as a day row", fault.Invalid, d, data, []record.SignedPointer{d.Pointer(pointers[0].Pointer)})
}

// TestRefusedBlobsGoUnlessAnythingAnchoredNamesThem, also when two uploads name them
// at once.
func TestRefusedBlobsGoUnlessAnythingAnchoredNamesThem(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	w.advance(10 * 3600)
	kept, pointers := d.rows(startHour, startHour+2)
	w.upload(d, kept, pointers[:1])
	first, firstPointers := d.rows(startHour+1, startHour+2)
	w.upload(d, first, firstPointers)

	op := w.upload(d, kept, pointers[1:])
	if op.Items[0].Code != string(fault.Conflict) || !w.stored(record.SumID(kept)) {
		t.Errorf("the blob of an anchored row: %+v, stored %v", op.Items, w.stored(record.SumID(kept)))
	}
	// The device is shown that it has signed two rows for one hour.
	shown := op.Items[0].Recorded
	if shown == nil || shown.Pointer != firstPointers[0].Pointer ||
		record.Verify(d.Enrolment.Device.Key, shown.Pointer.Digest(w.Genesis.Network), shown.Signature) != nil {
		t.Errorf("the conflict is shown as %+v", shown)
	}
	junk, second := d.rows(startHour, startHour+2)
	var both sync.WaitGroup
	for i := range second {
		both.Go(func() {
			if op := w.upload(d, junk, second[i:i+1]); op.Items[0].Code != string(fault.Conflict) {
				t.Errorf("a second row for an hour: %+v", op.Items)
			}
		})
	}
	both.Wait()
	if w.stored(record.SumID(junk)) {
		t.Error("a refused blob stays")
	}
	early, soon := d.rows(startHour+20, startHour+21)
	if op := w.upload(d, early, soon); op.Items[0].Code != string(fault.TooEarly) || !w.stored(record.SumID(early)) {
		t.Errorf("a blob that will be anchored: %+v, stored %v", op.Items, w.stored(record.SumID(early)))
	}
}

// TestABlobIsNotDeletedFromUnderAnUpload: while one names it, a refusal of another
// leaves it, and none names what is being deleted.
func TestABlobIsNotDeletedFromUnderAnUpload(t *testing.T) {
	w := newWorld(t)
	id := record.RandomID()
	release, err := w.gw.ops.hold([]record.ID{id})
	w.ok(err)
	if _, free := w.gw.ops.remove(id); free {
		t.Error("a blob that an upload names may be deleted")
	}
	release()
	done, free := w.gw.ops.remove(id)
	if !free {
		t.Fatal("a blob that nobody names may not be deleted")
	}
	_, err = w.gw.ops.hold([]record.ID{id})
	wantFault(t, fault.Unavailable, err)
	done()
	release, err = w.gw.ops.hold([]record.ID{id})
	w.ok(err)
	release()
	if len(w.gw.ops.named)+len(w.gw.ops.going) != 0 {
		t.Errorf("left: %v, %v", w.gw.ops.named, w.gw.ops.going)
	}
}

func TestAPatientsDevicesStoreSoMuchADay(t *testing.T) {
	q := quota{most: maxStoredDaily}
	now := time.Unix(start, 0)
	d, other := "one", "another"
	for range 8 {
		if err := q.take(d, maxStoredDaily/8, now); err != nil {
			t.Fatal(err)
		}
	}
	err := q.take(d, 1, now.Add(time.Hour))
	wantFault(t, fault.Unavailable, err)
	if err := q.take(other, 1, now); err != nil {
		t.Error(err)
	}
	if err := q.take(d, 1, now.Add(24*time.Hour)); err != nil {
		t.Error(err)
	}
	w := newWorld(t)
	bridge := w.device()
	w.advance(10 * 3600)
	owner := api.PatientParty(bridge.Enrolment.Device.Patient)
	w.ok(w.gw.store.quota.take(owner, maxStoredDaily-10-w.gw.store.quota.used[owner], time.Now()))
	data, pointers := bridge.rows(startHour, startHour+1)
	_, err = bridge.client().Upload(context.Background(), bridge.ID, [][]byte{data}, pointers)
	wantFault(t, fault.Unavailable, err)
	if w.stored(record.SumID(data)) {
		t.Error("a blob over the bound was stored")
	}
}

// TestARefusedDeviceLeavesNoSeedsBehind, whatever it was refused for. One whose seeds
// are on the ledger keeps them, though it is refused under another document.
func TestARefusedDeviceLeavesNoSeedsBehind(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p := w.enrolled()
	refuses := func(what string, d *device) {
		t.Helper()
		op, err := w.as("", nil).EnrolDevice(ctx, d.Enrolment, d.Seeds)
		if err == nil {
			_, err = w.as("", nil).Wait(ctx, op)
		}
		if err == nil {
			t.Errorf("%s: enrolled", what)
		}
	}
	sign2 := func(d *device) {
		digest := record.Digest(record.DomainDevice, w.Genesis.Network, d.Enrolment.Device)
		d.Enrolment.DeviceSignature, d.Enrolment.PatientSignature = consortium.Sign(d.Key, digest), consortium.Sign(p.Key, digest)
	}
	odd := p.newDevice()
	odd.Enrolment.Device.Profile = "another"
	sign2(odd)
	refuses("another profile", odd)
	if w.stored(record.SumID(odd.Seeds)) {
		t.Error("the seeds of a refused device stay")
	}
	good := p.newDevice()
	w.done(w.as("", nil).EnrolDevice(ctx, good.Enrolment, good.Seeds))
	good.Enrolment.Device.FirstHour++
	sign2(good)
	refuses("the same device once more, changed", good)
	if !w.stored(record.SumID(good.Seeds)) {
		t.Error("the seeds of an enrolled device are gone")
	}
}
