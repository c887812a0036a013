package bridge

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// ErrRetired says that a device may never seal again, because its store was
// lost, restored or rolled back, or a copy of it is in use: it could seal a
// second row for a window. Enrol a new device (Hub.NewDevice) for the patient.
var ErrRetired = errors.New("device is retired: its store was rolled back or copied; enrol a new device")

// deviceRecord is what never changes about a device, and its secrets. It leaves
// the process encrypted only.
type deviceRecord struct {
	Key      []byte // P-256 scalar
	Seeds    [][]byte
	SeedBlob []byte
	Document record.EnrolDevice
	Enrolled bool            // the ledger has it
	Signer   *record.Patient // with which keys the patient signs; nil: not known yet
}

// String keeps secrets out of logs.
func (deviceRecord) String() string   { return "deviceRecord{secret}" }
func (deviceRecord) GoString() string { return "deviceRecord{secret}" }

// deviceState is how far a device has come. Every number only grows.
type deviceState struct {
	SealedUntil int64 // hours before it are sealed
	PackedRows  int64 // hours before it belong to an upload
	DaysUntil   int64 // days before it are committed
	PackedDays  int64 // days before it belong to an upload
	// Corrected is how many corrections are sealed, PackedLate how many of them
	// belong to an upload.
	Corrected  int64
	PackedLate int64
	NextUpload uint64
	FinishAt   int64 // no hour from here on is ever sealed; if Finished
	Finished   bool
	Marked     bool   // the rollback guard has this device
	Retired    string // why, or empty
	// ReceiptsFrom is, per pointer kind, the index below which no receipt is
	// awaited any more; for lateKind, the sequence number of a correction.
	ReceiptsFrom map[string]int64
	Sensors      map[string]string // of version 3: the one sensor of a metric, by its key
	Sources      []sourceState     // by number
	Preferred    map[string][]byte // numbers of the sources that the patient put in order, by metric key
	Held         []held            // values whose time is not known yet
	Dropped      map[string]uint64 // parts of notifications that were left out, by reason
	Stratum      string            // of the patient, or empty: privacy.Unstated
	Counts       Counts
}

// mark is what may leave of what is sealed.
func (s *deviceState) mark() mark { return mark{s.SealedUntil, s.Corrected, s.DaysUntil} }

// Counts says what became of readings since the device was made.
type Counts struct {
	Gridded       uint64 // entered the minute grid
	OutOfRange    uint64 // outside the metric's range
	Late          uint64 // for an hour that can be corrected no more, or before the first
	Counted       uint64 // late, for a minute that a sealed row counts already
	AfterDay      uint64 // minutes that hours count and their day does not, which was committed before they came
	Early         uint64 // from the future
	NotDesignated uint64 // of a minute in which a source measured that the patient prefers
	NotEnrolled   uint64 // of a metric that the device is not enrolled for
	Undecodable   uint64 // notifications that do not decode
	Special       uint64 // NaN and other special values in notifications
	Repeated      uint64 // samples that their minute had already
	Crowded       uint64 // of a minute that has too many samples
	OtherUser     uint64 // of a user of the sensor who is not the patient, or not known to be
	NoTime        uint64 // from a sensor's memory, and without its time
}

// Device is one enrolled bridge installation for one patient. It is safe for
// concurrent use.
type Device struct {
	hub     *Hub
	id      record.ID
	vault   *deviceVault
	metrics metricList
	// document is what the ledger records; it never changes.
	document   record.Device
	gateways   *gateways
	outbox     outbox
	receipts   receipts
	predicates predicates

	// sync keeps Hub.Sync and Hub.Answer to one run per device at a time, and
	// Close from ending the store below them. It is taken before mu.
	sync sync.Mutex

	mu      sync.Mutex
	rec     deviceRecord
	state   deviceState
	grid    grid
	sealer  sealer
	changed bool // counts in state differ from the store
	sources sources
	records records
	// sessions are the open ones, by sensor.
	sessions map[string]*Session
	settling bool
	failed   error
	checked  bool // compared with the ledger since the hub was opened
}

func (h *Hub) newDevice(id record.ID, rec deviceRecord) (*Device, error) {
	v, err := newVault(h.store, id)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), rec.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: device key: %v", ErrDamaged, err)
	}
	p, err := parseMetrics(rec.Document.Device.Metrics)
	if err != nil {
		return nil, err
	}
	d := &Device{
		hub: h, id: id, vault: v, metrics: p, rec: rec, document: rec.Document.Device,
		gateways: newGateways(h.cfg.gateways(), h.network, &api.Signer{Party: api.DeviceParty(id), Key: key}),
		outbox:   outbox{vault: v, id: id, network: h.network, signer: key, dayRows: h.schema.Day() != nil},
		grid:     grid{vault: v, hours: map[int64]*gridHour{}},
		sealer:   sealer{hub: h, id: id, seeds: rec.Seeds},
		sources:  sources{vault: v, moved: map[string]Position{}},
		records:  records{vault: v, seen: map[byte]*seenRecords{}},
		sessions: map[string]*Session{},
	}
	d.receipts = receipts{v, &d.outbox}
	d.predicates = predicates{hub: h, vault: v, gateways: d.gateways, id: id, patient: d.Patient(), metrics: d.metrics}
	return d, nil
}

// parseMetrics finds the metrics of these keys.
func parseMetrics(keys []string) (metricList, error) {
	var list metricList
	for _, key := range keys {
		m, ok := wearable.ByKey(key)
		if !ok {
			return nil, fmt.Errorf("%w: device for unknown metric %q", ErrDamaged, key)
		}
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b wearable.Metric) int { return a.Slot - b.Slot })
	return list, nil
}

func (h *Hub) loadDevice(id record.ID) (*Device, error) {
	v, err := newVault(h.store, id)
	if err != nil {
		return nil, err
	}
	var rec deviceRecord
	found, err := v.load(v.key(kindDevice), &rec)
	if err != nil {
		return nil, err
	}
	d, err := h.newDevice(id, rec)
	if err != nil {
		return nil, err
	}
	hasState, err := v.load(v.key(kindState), &d.state)
	if err != nil {
		return nil, err
	}
	d.state.migrateSensors()
	if !found || !hasState || record.DeviceID(h.network, rec.Document.Device.Key) != id {
		return nil, fmt.Errorf("%w: device %s is of another network or incomplete", ErrDamaged, id.Short())
	}
	mark, marked := h.marks[id]
	switch {
	case d.state.Retired != "":
	case marked && mark.ahead(&d.state):
		err = d.retire("the store is older than the rollback guard: it was restored from a copy")
	case d.state.Marked && !marked:
		err = d.retire("the rollback guard was lost, so the store may be an old copy")
	}
	return d, err
}

// ID returns the device's identifier.
func (d *Device) ID() record.ID { return d.id }

// Patient returns the patient whose device it is.
func (d *Device) Patient() record.ID { return d.document.Patient }

// Document returns what the ledger records about the device.
func (d *Device) Document() record.Device { return d.document }

// Counts returns what became of readings so far.
func (d *Device) Counts() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.Counts
}

// Progress returns the Unix hour before which everything is sealed, and the
// Unix day before which every day is committed.
func (d *Device) Progress() (int64, int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.SealedUntil, d.state.DaysUntil
}

// Retired returns why the device is retired, or "".
func (d *Device) Retired() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.Retired
}

// usable is called with mu held before anything is taken or sealed.
func (d *Device) usable() error {
	switch {
	case d.failed != nil:
		return d.failed
	case d.state.Retired != "":
		return fmt.Errorf("%w (%s)", ErrRetired, d.state.Retired)
	}
	return nil
}

// retire is called with mu held, or before the device is shared. Its seeds are
// dropped: they must not seal again.
func (d *Device) retire(why string) error {
	d.sealer.retire()
	d.state.Retired = why
	d.rec.Seeds = nil
	clear(d.grid.hours)
	return d.vault.Update(true, func(b *pebble.Batch) error {
		return errors.Join(d.vault.store(b, d.vault.key(kindDevice), d.rec), d.vault.store(b, d.vault.key(kindState), d.state))
	})
}

// fail makes a failed step of the store final: memory and store may differ from here
// on, and only opening the store again tells what is on disk.
func (d *Device) fail(err error) error {
	if err != nil && d.failed == nil {
		d.failed = fmt.Errorf("the bridge's store failed; open it again: %w", err)
	}
	return err
}

// flush writes the open minutes and the counts, and with sync waits until they are on
// disk.
func (d *Device) flush(sync bool) error {
	if err := d.waiting().due(); err != nil {
		return d.fail(err)
	}
	return d.fail(d.vault.Update(sync, d.writeGrid))
}

// writeGrid puts every changed hour, the counts, and how far sources have come with that
// into the batch.
func (d *Device) writeGrid(b *pebble.Batch) error {
	changed, err := d.grid.write(b)
	if err != nil {
		return err
	}
	if err := d.records.write(b); err != nil {
		return err
	}
	if err := d.sources.write(b); err != nil {
		return err
	}
	if !changed && !d.changed {
		return nil
	}
	d.changed = false
	return d.vault.store(b, d.vault.key(kindState), d.state)
}

// shutdown writes the open minutes and forgets the secrets.
func (d *Device) shutdown() error {
	d.sync.Lock()
	defer d.sync.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	if d.failed == nil && d.state.Retired == "" {
		err = d.vault.Update(true, d.writeGrid)
	}
	d.sealer.forget()
	d.failed = ErrClosed
	d.gateways.close()
	return err
}

// Request is the enrolment that the patient is asked to sign, with the device's
// signature, and whether a gateway has said that the ledger has it.
func (d *Device) Request() (record.DeviceRequest, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return record.DeviceRequest{Network: d.hub.network, Enrolment: d.rec.Document}, d.rec.Enrolled
}

// Waiting is how many rows, of hours and of days, and day roots are not on the ledger, as far as the device was told.
func (d *Device) Waiting() (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed != nil {
		return 0, d.failed
	}
	s := d.state
	n := s.SealedUntil - s.PackedRows + s.Corrected - s.PackedLate + (s.DaysUntil-s.PackedDays)*int64(len(d.outbox.daily()))
	uploads, err := d.outbox.uploads()
	for _, u := range uploads {
		var open []pointerRecord
		if err == nil {
			open, err = d.outbox.pointers(u.uploadRecord)
		}
		n += int64(len(open))
	}
	return int(n), err
}

// Enrol brings the device's enrolment to the ledger, with the patient's
// signature over it, which an authenticator made if there is an assertion, and waits until
// it is there. It may be repeated.
func (d *Device) Enrol(ctx context.Context, patientSignature []byte, assertion *record.Assertion) error {
	d.mu.Lock()
	err := d.usable()
	rec := d.rec
	d.mu.Unlock()
	if err != nil || rec.Enrolled {
		return err
	}
	rec.Document.PatientSignature, rec.Document.PatientAssertion = patientSignature, assertion
	if err := d.gateways.enrol(ctx, d.hub.network, rec); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	rec.Enrolled = true
	return d.keepRecord(rec)
}

// keepRecord is called with mu held.
func (d *Device) keepRecord(rec deviceRecord) error {
	d.rec = rec
	return d.fail(d.vault.Update(true, func(b *pebble.Batch) error { return d.vault.store(b, d.vault.key(kindDevice), rec) }))
}

// enrolAgain hands the enrolment in once more where a gateway does not know the
// device. That the ledger had it was a gateway's word too, so what it takes is kept
// until there is a receipt.
func (d *Device) enrolAgain(ctx context.Context, why error) error {
	code := fault.Of(why)
	d.mu.Lock()
	rec := d.rec
	d.mu.Unlock()
	if rec.SeedBlob == nil || code != fault.NotFound && code != fault.BadSignature {
		return nil
	}
	return d.gateways.enrol(ctx, d.hub.network, rec)
}

// proven is called once a receipt shows that the ledger has the device.
func (d *Device) proven() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rec.SeedBlob == nil || d.usable() != nil {
		return nil
	}
	rec := d.rec
	rec.SeedBlob = nil
	return d.keepRecord(rec)
}

// Ready tells whether every holder has acknowledged the device's seeds: only
// then do its rows count. It rests on the gateway's word; rows may be sealed and
// uploaded before.
func (d *Device) Ready(ctx context.Context) (bool, error) {
	s, err := d.gateways.client().Device(ctx, d.id)
	return err == nil && s.Ready, err
}

// SetConsent leaves consent documents with the device, which answers predicate
// requests only within them. For each consent the highest version counts; a
// lower one is ignored. The patient's own app calls it, having checked whose
// documents they are; what others bring is for LeaveConsent.
func (d *Device) SetConsent(docs ...consent.Document) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	return d.predicates.permit(docs)
}

// checkMetrics returns the metrics sorted by name, as the ledger wants them.
func checkMetrics(metrics []string) ([]string, error) {
	names := slices.Clone(metrics)
	slices.Sort(names)
	if len(names) == 0 || len(slices.Compact(slices.Clone(names))) != len(names) {
		return nil, errors.New("bridge: a device is for at least one metric, and each once")
	}
	for _, name := range names {
		if _, ok := wearable.ByKey(name); !ok {
			return nil, fmt.Errorf("bridge: no metric is called %q", name)
		}
	}
	return names, nil
}
