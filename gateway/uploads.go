package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/index"
)

// Upload implements apiv1.DevicesServer. What the ledger would refuse is refused
// before anything is stored; blobs are durable before the operation is accepted, and
// so before any pointer to them is anchored.
func (s devicesService) Upload(ctx context.Context, r *apiv1.UploadRequest) (*apiv1.Operation, error) {
	if err := requireParty(callerOf(ctx), api.PartyDevice, r.Device); err != nil {
		return nil, err
	}
	device, err := s.g.uploader(ctx, r.Device)
	if err != nil {
		return nil, err
	}
	up, err := checkUpload(s.g.genesis.Network, device, r.Upload)
	if err != nil {
		return nil, err
	}
	release, err := s.g.ops.hold(up.names())
	if err != nil {
		return nil, err
	}
	defer release()
	if err := s.g.store.put(ctx, up); err != nil {
		return nil, err
	}
	return s.g.runner.begin(ctx, kindUpload, r.Device, &apiv1.StoredRequest{Document: &apiv1.StoredRequest_Anchor{
		Anchor: &apiv1.AnchorRequest{Pointers: r.Upload.Pointers},
	}}, proven(api.PatientParty(device.Device.Patient)))
}

// uploader returns the device that uploads, if anything of it may be taken. The index
// may be a block behind: then the contract refuses.
func (l *ledger) uploader(ctx context.Context, device string) (record.DeviceState, error) {
	id, err := record.ParseID(device)
	if err != nil {
		return record.DeviceState{}, fault.New(fault.Invalid, "%w", err)
	}
	d, _, _, known := l.index.Device(id)
	if !known {
		if d, err = l.device(ctx, id); err != nil {
			return d, err
		}
	}
	switch {
	case d.Quarantined != nil:
		return d, fault.New(fault.Forbidden, "device %s is in quarantine: %s", id.Short(), d.Quarantined.Reason)
	case d.Retired != nil && d.Retired.Lost:
		return d, fault.New(fault.Expired, "device %s was reported lost at %d", id.Short(), d.Retired.At)
	}
	return d, nil
}

// uploaded is an upload that was looked through.
type uploaded struct {
	device   record.DeviceState
	pointers []record.SignedPointer
	sent     map[record.ID][]byte
	named    map[record.ID]int // a pointer that names the blob
}

func (u *uploaded) names() []record.ID {
	var all []record.ID
	for id := range u.named {
		all = append(all, id)
	}
	return all
}

// checkUpload reads an upload strictly: pointers that the device signed, and blobs
// that hold the rows that these commit to.
func checkUpload(network string, d record.DeviceState, m *apiv1.Upload) (*uploaded, error) {
	u := &uploaded{device: d, sent: map[record.ID][]byte{}, named: map[record.ID]int{}}
	seen := map[string]bool{}
	for i, sp := range m.Pointers {
		s, err := sp.Record()
		if err != nil {
			return nil, fault.New(fault.Invalid, "pointer %d: %w", i, err)
		}
		p := s.Pointer
		if p.Device != d.ID {
			return nil, fault.New(fault.Forbidden, "pointer %d is of device %s, not of the one that uploads", i, p.Device)
		}
		place := fmt.Sprintf("%s/%d/%d", p.Kind, p.Index, p.Correction)
		if seen[place] {
			return nil, fault.New(fault.Invalid, "pointer %d repeats %s %d of this upload", i, p.Kind, p.Index)
		}
		seen[place] = true
		if p.Sealed() == p.Blob.IsZero() {
			return nil, fault.New(fault.Invalid, "pointer %d: a row names its blob, a day root has a zero one", i)
		}
		if err := record.Verify(d.Device.Key, p.Digest(network), s.Signature); err != nil {
			return nil, fault.New(fault.BadSignature, "the device's signature of pointer %d: %w", i, err)
		}
		if _, known := u.named[p.Blob]; !known && !p.Blob.IsZero() {
			u.named[p.Blob] = i
		}
		u.pointers = append(u.pointers, s)
	}
	for i, data := range m.Blobs {
		id := record.SumID(data)
		if _, ok := u.named[id]; !ok {
			return nil, fault.New(fault.Invalid, "blob %d has SHA-256 %s, which no pointer of this upload names", i, id)
		}
		if err := u.checkRows(id, data); err != nil {
			return nil, err
		}
		u.sent[id] = data
	}
	return u, nil
}

// checkRows holds a blob against the pointers that name it.
func (u *uploaded) checkRows(id record.ID, data []byte) error {
	owner, rows, err := record.DecodeRows(data)
	if err != nil {
		return fault.New(fault.Invalid, "blob %s holds no rows: %w", id.Short(), err)
	}
	if owner != u.device.ID {
		return fault.New(fault.Forbidden, "blob %s holds rows of device %s", id.Short(), owner.Short())
	}
	type window struct {
		hour       int64
		correction uint8
	}
	commitments := map[window]record.ID{}
	for _, r := range rows {
		commitments[window{r.Hour, r.Correction}] = record.SumID(r.Row)
	}
	for i, s := range u.pointers {
		hour, correction := s.Pointer.Place()
		if s.Pointer.Blob == id && commitments[window{hour, correction}] != s.Pointer.Commitment {
			return fault.New(fault.Invalid, "blob %s does not hold the row that pointer %d commits to", id.Short(), i)
		}
	}
	return nil
}

// store keeps blobs. What it has stored is deleted when it was refused for good or its
// patient is erased, and then only if it is theirs and no operation names it.
type store struct {
	*ledger
	ops   *operations
	now   func() time.Time
	blobs *blob.Store
	quota quota // of blobs
	clean *cleaned
}

// put makes every blob that the upload names durable.
func (st *store) put(ctx context.Context, u *uploaded) error {
	size, err := st.checkStored(ctx, u)
	if err != nil {
		return err
	}
	if err := st.quota.take(api.PatientParty(u.device.Device.Patient), size, st.now()); err != nil {
		return err
	}
	eg, ctx := errgroup.WithContext(ctx)
	eg.SetLimit(4)
	for id, data := range u.sent {
		eg.Go(func() error { return st.blobs.PutNamed(ctx, id, data) })
	}
	if err := eg.Wait(); err != nil {
		return st.fault(err)
	}
	return nil
}

// checkStored insists that what was named and not sent is stored, and holds it
// against the pointers too. It returns how many bytes were sent that are not stored.
func (st *store) checkStored(ctx context.Context, u *uploaded) (int, error) {
	fresh := 0
	var missing []string
	for id, i := range u.named {
		stored, err := st.blobs.Has(ctx, id)
		switch {
		case err != nil:
			return 0, st.fault(err)
		case !stored && u.sent[id] == nil:
			missing = append(missing, fmt.Sprintf("blob %s of pointer %d", id, i))
		case !stored:
			fresh += len(u.sent[id])
		case u.sent[id] == nil:
			data, err := st.blobs.Get(ctx, id)
			if err != nil {
				return 0, st.fault(err)
			}
			if err := u.checkRows(id, data); err != nil {
				return 0, err
			}
		}
	}
	if missing != nil {
		slices.Sort(missing)
		return 0, fault.New(fault.Invalid, "neither in this upload nor stored: %s; send the blob along", strings.Join(missing[:min(len(missing), 3)], ", "))
	}
	return fresh, nil
}

// maxStoredDaily is how many bytes of blobs the devices of a patient may send on one
// day: years of sealed hours. A patient may have many.
const maxStoredDaily = 64 << 20

// quota counts by party what is kept of a day, in memory: a restart begins anew.
type quota struct {
	most int // bytes of one party
	what string

	mu   sync.Mutex
	day  int64
	used map[string]int
}

func (q *quota) take(party string, size int, now time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if day := now.Unix() / 86400; day != q.day || q.used == nil {
		q.day, q.used = day, map[string]int{}
	}
	if q.used[party]+size > q.most {
		return crowded(fmt.Sprintf("%s has sent %d bytes of %s today, of at most %d", party, q.used[party], q.what, q.most))
	}
	q.used[party] += size
	return nil
}

// putFor stores a blob of a patient's, within what the patient may store on a day.
func (st *store) putFor(ctx context.Context, patient, id record.ID, data []byte) error {
	stored, err := st.blobs.Has(ctx, id)
	if err != nil {
		return st.fault(err)
	}
	if !stored {
		if err := st.quota.take(api.PatientParty(patient), len(data), st.now()); err != nil {
			return err
		}
	}
	if err := st.blobs.PutNamed(ctx, id, data); err != nil {
		return st.fault(err)
	}
	return nil
}

// blobsNamed are the blobs that a request names.
func blobsNamed(r *apiv1.StoredRequest) []record.ID {
	names := map[string]bool{r.GetDevice().GetDevice().GetSeedBlob(): true, r.GetPatient().GetDetailsBlob(): true}
	for _, s := range r.GetAnchor().GetPointers() {
		names[s.GetPointer().GetBlob()] = true
	}
	var out []record.ID
	for name := range names {
		if id, err := record.ParseID(name); err == nil && !id.IsZero() {
			out = append(out, id)
		}
	}
	return out
}

// refusedBlobs are the blobs of an upload of which the ledger has refused, for good,
// every pointer that names them.
func refusedBlobs(pointers []*apiv1.SignedPointer, items []*apiv1.AnchorItem) []record.ID {
	keep := map[string]bool{record.ID{}.String(): true}
	for i, item := range items {
		if item.Outcome != record.Refused || fault.Codes[fault.Code(item.Code)].Retry {
			keep[pointers[i].Pointer.Blob] = true
		}
	}
	var out []record.ID
	for _, s := range pointers {
		id, err := record.ParseID(s.Pointer.Blob)
		if err == nil && !keep[s.Pointer.Blob] {
			keep[s.Pointer.Blob] = true
			out = append(out, id)
		}
	}
	return out
}

// indexTime is how long the index is waited for before a refused blob is let lie.
const indexTime = 10 * time.Second

// discardRows deletes blobs of an upload that the ledger refused with the block that
// is given or before it. Those that an anchored pointer names stay, and those that
// another operation names: it may still be anchored. It reports false when the gateway
// ends before.
func (st *store) discardRows(ctx context.Context, device record.ID, refused []record.ID, block uint64) bool {
	anchored, err := st.anchored(ctx, device, block)
	if err != nil {
		st.log.Error("it is not known whether refused blobs have to go", "device", device.Short(), "error", err)
	}
	for _, id := range refused {
		if err == nil && !anchored[id] {
			st.discard(ctx, index.Blob{ID: id, Device: device})
		}
	}
	select {
	case <-st.quit:
		return err == nil
	default:
		return true
	}
}

// anchored are the blobs that pointers named, up to a block, of the patient whose
// device it is; none once the patient is erased, whose blobs all go.
func (st *store) anchored(ctx context.Context, device record.ID, block uint64) (map[record.ID]bool, error) {
	d, err := st.device(ctx, device)
	if err != nil {
		return nil, err
	}
	p, err := st.patient(ctx, d.Device.Patient)
	if err != nil || p.Erased {
		return nil, err
	}
	if err := st.indexed(ctx, block); err != nil {
		return nil, err
	}
	named := map[record.ID]bool{}
	for _, b := range st.index.BlobsOf(p.ID) {
		named[b.ID] = true
	}
	return named, nil
}

// indexed waits until the index has read a block.
func (l *ledger) indexed(ctx context.Context, block uint64) error {
	ctx, cancel := context.WithTimeout(ctx, indexTime)
	defer cancel()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for l.index.Height() <= block {
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("the index has not read block %d: %w", block, ctx.Err())
		case <-l.quit:
			return fmt.Errorf("the index has not read block %d and the gateway ends", block)
		}
	}
	return nil
}

// discardSeeds deletes the sealed seeds of a device that was refused, unless the ledger
// has it with the same.
func (st *store) discardSeeds(ctx context.Context, d *apiv1.EnrolDevice) {
	e, err := d.Record()
	if d == nil || err != nil {
		return
	}
	id, blob := record.DeviceID(st.genesis.Network, e.Device.Key), e.Device.SeedBlob
	kept, err := st.keepsSeeds(ctx, id, e.Device)
	if err != nil {
		st.log.Error("it is not known whether refused seeds have to go", "blob", blob.Short(), "error", err)
		return
	}
	if !kept {
		st.discard(ctx, index.Blob{ID: blob, Device: id})
	}
}

// keepsSeeds reports whether a device is on the ledger with these seeds, and its patient
// not erased.
func (st *store) keepsSeeds(ctx context.Context, id record.ID, d record.Device) (bool, error) {
	recorded, err := st.device(ctx, id)
	if err != nil && fault.Of(err) == fault.NotFound {
		return false, nil
	}
	if err != nil || recorded.Device.SeedBlob != d.SeedBlob {
		return false, err
	}
	p, err := st.patient(ctx, d.Patient)
	return !p.Erased, err
}

// discard deletes a refused blob, unless it is another device's or another operation
// names it.
func (st *store) discard(ctx context.Context, b index.Blob) {
	done, free := st.ops.remove(b.ID)
	if !free {
		return
	}
	defer done()
	if !st.owns(ctx, b) {
		return
	}
	if err := st.blobs.Delete(ctx, b.ID); err != nil {
		st.log.Error("a refused blob could not be deleted", "blob", b.ID.Short(), "error", err)
	}
}

// recorded is what the ledger has in a pointer's place, as it was signed; nil if the
// ledger cannot be asked.
func (l *ledger) recorded(ctx context.Context, p record.Pointer) *apiv1.SignedPointer {
	ref := state.PointerRef{Device: p.Device, Kind: p.Kind, Index: p.Index, Correction: p.Correction}
	r, err := evaluate(ctx, l, contracts.PointerGet, ref)
	if err != nil {
		l.log.Warn("a device was not shown what the ledger has in a pointer's place", "device", p.Device.Short(), "error", err)
		return nil
	}
	return apiv1.SignedPointerOf(r.Pointer)
}
