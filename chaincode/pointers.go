package chaincode

import (
	"encoding/json"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// DayRootDays is for how many days after a day its root and its day row may be anchored.
const DayRootDays = 7

// maxIndex bounds hours and days in both directions.
const maxIndex = 1 << 27

// Anchor records signed pointers (record.Anchor, record.AnchorResult). Each item
// has its own outcome: a bad or repeated pointer does not fail its neighbours.
func (*Pointer) Anchor(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, timed, arg, largeArgument, anchor)
}

// anchoring is an Anchor call in progress. The maps are looked up, never ranged.
type anchoring struct {
	*call
	now     int64
	states  map[string][]byte                 // of pointers and devices, read at once
	devices map[record.ID]*record.DeviceState // nil: not enrolled
	erased  map[record.ID]bool                // patients
	first   map[string]record.Pointer         // what this call anchors, by key
	leaves  []record.ID
	keys    []string
	taken   []record.SignedPointer
}

func anchor(c *call, a record.Anchor) (*record.AnchorResult, error) {
	if len(a.Pointers) < 1 || len(a.Pointers) > record.MaxBatch {
		return nil, fault.New(fault.TooLarge, "one call anchors 1 to %d pointers, not %d", record.MaxBatch, len(a.Pointers))
	}
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	run := &anchoring{
		call: c, now: now,
		devices: make(map[record.ID]*record.DeviceState), erased: make(map[record.ID]bool),
		first: make(map[string]record.Pointer, len(a.Pointers)),
	}
	if err := run.read(a.Pointers); err != nil {
		return nil, err
	}
	result := &record.AnchorResult{Items: make([]record.AnchorItem, len(a.Pointers))}
	for i, p := range a.Pointers {
		if result.Items[i], err = run.item(p); err != nil {
			return nil, err
		}
	}
	if len(run.leaves) > 0 {
		result.Batch, err = run.record()
	}
	return result, err
}

// read fetches all that the pointers may need in one exchange with the peer:
// one for each key would take longer than checking the signatures.
func (r *anchoring) read(ps []record.SignedPointer) error {
	r.states = make(map[string][]byte, 2*len(ps))
	var keys []string
	want := func(key string) {
		if _, ok := r.states[key]; !ok {
			r.states[key] = nil
			keys = append(keys, key)
		}
	}
	for _, s := range ps {
		if knownKind(s.Pointer.Kind) {
			want(state.PointerKey(s.Pointer))
			want(state.DeviceKey(s.Pointer.Device))
			if before, ok := preceding(s.Pointer); ok {
				want(state.PointerKey(before))
			}
		}
	}
	values, err := r.stub.GetMultipleStates(keys...)
	if err != nil {
		return err
	}
	if len(values) != len(keys) {
		return fault.New(fault.Internal, "the peer answered for %d of %d keys", len(values), len(keys))
	}
	for i, key := range keys {
		r.states[key] = values[i]
	}
	return nil
}

// knownKind says whether there are pointers of this kind; others have no key.
func knownKind(kind string) bool {
	return kind == record.KindRow || kind == record.KindDay || kind == record.KindPersonDay
}

// state is call.get for what was read before; it reads what was not.
func (r *anchoring) state(key string, v any) (bool, error) {
	raw, read := r.states[key]
	switch {
	case !read:
		return r.get(key, v)
	case raw == nil:
		return false, nil
	}
	return true, json.Unmarshal(raw, v)
}

// item decides about one pointer; an error is the ledger's own failure.
func (r *anchoring) item(s record.SignedPointer) (record.AnchorItem, error) {
	key, known, err := r.lookup(s.Pointer)
	switch {
	case err != nil:
		return record.AnchorItem{}, err
	case known != nil && *known == s.Pointer:
		return record.AnchorItem{Outcome: record.Repeated}, nil
	case known != nil:
		return refused(fault.New(fault.Conflict, "another pointer is recorded for this device, kind and window")), nil
	}
	refusal, err := r.check(s)
	if err != nil {
		return record.AnchorItem{}, err
	}
	if refusal != nil {
		return refused(refusal), nil
	}
	leaf := len(r.leaves)
	r.first[key] = s.Pointer
	r.leaves = append(r.leaves, s.Pointer.Digest(r.genesis.Network))
	r.keys = append(r.keys, key)
	r.taken = append(r.taken, s)
	return record.AnchorItem{Outcome: record.Anchored, Leaf: leaf}, nil
}

func refused(f *fault.Error) record.AnchorItem {
	return record.AnchorItem{Outcome: record.Refused, Code: string(f.Code), Detail: f.Detail}
}

// lookup finds the pointer that is recorded under the same key, on the ledger or
// earlier in this call, which does not see its own writes.
func (r *anchoring) lookup(p record.Pointer) (string, *record.Pointer, error) {
	if !knownKind(p.Kind) {
		return "", nil, nil
	}
	key := state.PointerKey(p)
	if earlier, ok := r.first[key]; ok {
		return key, &earlier, nil
	}
	var entry record.PointerState
	exists, err := r.state(key, &entry)
	if err != nil || !exists {
		return key, nil, err
	}
	return key, &entry.Signed.Pointer, nil
}

// check applies the rules to a pointer that is not recorded yet.
func (r *anchoring) check(s record.SignedPointer) (*fault.Error, error) {
	p := s.Pointer
	if f := checkPointer(p); f != nil {
		return f, nil
	}
	device, err := r.knownDevice(p.Device)
	if err != nil {
		return nil, err
	}
	if device == nil {
		return fault.New(fault.NotFound, "device %s is not enrolled", p.Device.Short()), nil
	}
	if f, err := r.checkKind(p); f != nil || err != nil {
		return f, err
	}
	if f := r.checkLife(p, device); f != nil {
		return f, nil
	}
	if f := r.checkWindow(p, device); f != nil {
		return f, nil
	}
	if f, err := r.checkCorrection(p); f != nil || err != nil {
		return f, err
	}
	erased, err := r.ownerErased(device.Device.Patient)
	if err != nil {
		return nil, err
	}
	if erased {
		return fault.New(fault.Forbidden, "the patient of device %s is erased, which is final", p.Device.Short()), nil
	}
	if err := record.Verify(device.Device.Key, p.Digest(r.genesis.Network), s.Signature); err != nil {
		return fault.New(fault.BadSignature, "the device's signature: %w", err), nil
	}
	return nil, nil
}

func checkPointer(p record.Pointer) *fault.Error {
	switch {
	case !knownKind(p.Kind):
		return fault.New(fault.Invalid, "kind is %q, it can be %q, %q or %q", clip(p.Kind), record.KindRow, record.KindDay, record.KindPersonDay)
	case p.Correction > record.MaxCorrection:
		return fault.New(fault.Invalid, "correction %d: an hour has at most %d", p.Correction, record.MaxCorrection)
	case p.Correction != 0 && p.Daily():
		return fault.New(fault.Invalid, "a day has no corrections")
	case p.Index < -maxIndex || p.Index > maxIndex:
		return fault.New(fault.Invalid, "index %d is out of bounds", p.Index)
	case p.Commitment.IsZero():
		return fault.New(fault.Invalid, "commitment is missing")
	case p.Sealed() == p.Blob.IsZero():
		return fault.New(fault.Invalid, "a row names its blob, a day root names none")
	}
	if p.Kind == record.KindDay {
		if err := verifier.CheckRoot(p.Commitment); err != nil {
			return fault.New(fault.Invalid, "day root: %w", err)
		}
	}
	return nil
}

// checkKind refuses day rows where the network's schema has none.
func (r *anchoring) checkKind(p record.Pointer) (*fault.Error, error) {
	if p.Kind != record.KindPersonDay {
		return nil, nil
	}
	s, err := r.schema()
	if err != nil || s.Day() != nil {
		return nil, err
	}
	return fault.New(fault.Invalid, "rows of schema %s are of hours: the network has no day rows", s.Name), nil
}

func (r *anchoring) knownDevice(id record.ID) (*record.DeviceState, error) {
	if d, ok := r.devices[id]; ok {
		return d, nil
	}
	d := new(record.DeviceState)
	exists, err := r.state(state.DeviceKey(id), d)
	if err != nil {
		return nil, err
	}
	if !exists {
		d = nil
	}
	r.devices[id] = d
	return d, nil
}

func (r *anchoring) ownerErased(id record.ID) (bool, error) {
	if erased, ok := r.erased[id]; ok {
		return erased, nil
	}
	p, err := r.patient(id)
	if err != nil {
		return false, err
	}
	r.erased[id] = p.Erased
	return p.Erased, nil
}

// checkWindow holds the window against the device's first hour and ledger time.
func (r *anchoring) checkWindow(p record.Pointer, d *record.DeviceState) *fault.Error {
	first, length := d.Device.FirstHour, int64(state.Hour)
	if p.Daily() {
		first, length = wearable.FloorDiv(first, 24), state.Day
	}
	end := (p.Index + 1) * length
	switch {
	case p.Index < first:
		return fault.New(fault.Invalid, "%s %d is before the device's first, %d", p.Kind, p.Index, first)
	case end > r.now+MaxAhead:
		return fault.New(fault.TooEarly, "%s %d ends at %d, ledger time is %d", p.Kind, p.Index, end, r.now)
	case p.Daily() && r.now > end+DayRootDays*state.Day:
		return fault.New(fault.Expired, "root and row of day %d were due within %d days of its end", p.Index, DayRootDays)
	}
	return nil
}

// record writes the anchored pointers and their batch.
func (r *anchoring) record() (record.ID, error) {
	root := record.Root(r.leaves)
	for i, s := range r.taken {
		entry := record.PointerState{Signed: s, Batch: root, Leaf: i, Time: r.now}
		if err := r.put(r.keys[i], entry); err != nil {
			return root, err
		}
	}
	return root, r.put(state.BatchKey(root), record.Batch{Root: root, Count: len(r.keys), Pointers: r.keys})
}
