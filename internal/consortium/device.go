package consortium

import (
	"crypto/ecdsa"
	"slices"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/wearable"
)

// Device is a bridge's key with what it enrols as.
type Device struct {
	ID        record.ID
	Key       *ecdsa.PrivateKey
	Enrolment record.EnrolDevice
	Seeds     []byte            // the blob with the sealed seeds
	Sealing   *he.DeviceKey     // nil where the consortium does not seal
	Stats     privacy.HourStats // of all that was measured of the first metric

	p *Patient
}

// NewDevice makes a device of the patient; nothing is submitted. Where the consortium
// does not seal, its seeds are names of nothing. spoil may change the document before
// seeds are sealed, and the seeds (see Reseed).
func (p *Patient) NewDevice(firstHour int64, metrics ...string) *Device {
	d := &Device{p: p, Key: NewKey()}
	slices.Sort(metrics)
	d.ID = record.DeviceID(p.c.Genesis.Network, Public(d.Key))
	d.Enrolment.Device = record.Device{
		Key: Public(d.Key), Patient: p.ID, FirstHour: firstHour, Profile: p.c.Epoch.Profile, Epoch: p.c.Epoch.Number, Metrics: metrics,
		SeedHashes: []record.ID{record.RandomID(), record.RandomID(), record.RandomID()}, SeedBlob: record.RandomID(),
	}
	if p.c.Params != nil {
		d.Reseed(p.c.Params, p.c.Epoch, func([]he.Seed, *[]byte) {})
	}
	d.Sign()
	return d
}

// Context is what the device seals in.
func (d *Device) Context() he.Context {
	return he.Context{Network: d.p.c.Genesis.Network, Epoch: d.Enrolment.Device.Epoch}
}

// Reseed gives the device new seeds, sealed to the members of an epoch. spoil is called
// with the seeds once their hashes are said, and again with the blob that has them.
func (d *Device) Reseed(params *he.Params, e record.Epoch, spoil func(seeds []he.Seed, blob *[]byte)) {
	doc, seeds := &d.Enrolment.Device, []he.Seed(nil)
	doc.Epoch, doc.Profile, doc.SeedHashes = e.Number, e.Profile, nil
	for piece := range params.Sharing().Pieces() {
		seeds = append(seeds, he.NewSeed())
		doc.SeedHashes = append(doc.SeedHashes, params.SeedHash(d.Context(), d.ID, piece, seeds[piece]))
	}
	d.Sealing = Must(params.NewDeviceKey(d.Context(), d.ID, seeds))
	spoil(seeds, nil)
	d.Seeds = Must(params.SealSeeds(d.Context(), d.ID, seeds, e.Members))
	spoil(seeds, &d.Seeds)
	doc.SeedBlob = record.SumID(d.Seeds)
}

// Sign signs the document of the device as it is, with its key and the patient's.
func (d *Device) Sign() {
	digest := record.Digest(record.DomainDevice, d.p.c.Genesis.Network, d.Enrolment.Device)
	d.Enrolment.DeviceSignature, d.Enrolment.PatientSignature = Sign(d.Key, digest), Sign(d.p.Key, digest)
}

// Enrol puts the device on the ledger.
func (d *Device) Enrol() *Device {
	c := d.p.c
	c.Helper()
	c.store(d.Seeds)
	c.Must(c.gateway(), contracts.RegistryEnrolDevice, d.Enrolment)
	d.p.Devices = append(d.p.Devices, d)
	return d
}

// Retirement ends the device, signed with any key.
func (d *Device) Retirement(by *ecdsa.PrivateKey, lost bool) record.SignedRetirement {
	r := record.RetireDevice{Device: d.ID, Lost: lost}
	return record.SignedRetirement{Retire: r, Signature: Sign(by, record.Digest(record.DomainRetire, d.p.c.Genesis.Network, r))}
}

// Pointer signs a pointer.
func (d *Device) Pointer(p record.Pointer) record.SignedPointer {
	return record.SignedPointer{Pointer: p, Signature: Sign(d.Key, p.Digest(d.p.c.Genesis.Network))}
}

// Row points to a new row of an hour that is nowhere, with a correction number that is
// 0 for its first.
func (d *Device) Row(hour int64, correction uint8) record.SignedPointer {
	return d.Pointer(record.Pointer{
		Device: d.ID, Kind: record.KindRow, Index: hour, Correction: correction, Blob: record.RandomID(), Commitment: record.RandomID(),
	})
}

// Day commits to a new day.
func (d *Device) Day(day int64) record.SignedPointer {
	root := record.RandomID()
	root[0] = 0 // canonical: below the order of the field
	return d.Pointer(record.Pointer{Device: d.ID, Kind: record.KindDay, Index: day, Commitment: root})
}

// PersonDay points to a new day row that is nowhere.
func (d *Device) PersonDay(day int64) record.SignedPointer {
	return d.Pointer(record.Pointer{
		Device: d.ID, Kind: record.KindPersonDay, Index: day, Blob: record.RandomID(), Commitment: record.RandomID(),
	})
}

// Rows encodes rows as the device's blob, and points to each.
func (d *Device) Rows(rows ...record.BlobRow) ([]byte, []record.SignedPointer) {
	blob := Must(record.EncodeRows(d.ID, rows))
	var pointers []record.SignedPointer
	for _, r := range rows {
		pointers = append(pointers, d.Pointer(r.Pointer(d.ID, record.SumID(blob))))
	}
	return blob, pointers
}

// Measure seals an hour's readings into a row and counts what they are of the first
// metric.
func (d *Device) Measure(hour int64, readings privacy.Hour) record.BlobRow {
	schema := d.p.c.Params.Schema()
	m, _ := wearable.ByKey(d.Enrolment.Device.Metrics[0])
	d.Stats = Add(d.Stats, Must(schema.Stats(m, readings.Codes[m.Slot])), 1)
	row := Must(d.p.c.Params.Seal(d.Context(), d.Sealing, he.Window{Hour: hour}, Must(schema.HourRow(readings))))
	return record.BlobRow{Hour: hour, Row: row}
}

// MeasureDay seals the day row of a day's readings.
func (d *Device) MeasureDay(grid *wearable.Day) record.BlobRow {
	params := d.p.c.Params.Day()
	sealed := Must(params.Seal(d.Context(), d.Sealing.ForDays(), he.DayWindow(grid.Number), Must(params.Schema().DayRow(grid, 0))))
	return record.BlobRow{Hour: 24 * grid.Number, Correction: record.PersonDayMark, Row: sealed}
}

// Upload stores rows as the device's blob and points to each.
func (d *Device) Upload(rows ...record.BlobRow) []record.SignedPointer {
	blob, pointers := d.Rows(rows...)
	d.p.c.store(blob)
	return pointers
}

// Anchor records pointers.
func (c *Consortium) Anchor(pointers ...record.SignedPointer) record.AnchorResult {
	c.Helper()
	var r record.AnchorResult
	c.Must(c.gateway(), contracts.PointerAnchor, record.Anchor{Pointers: pointers}, &r)
	return r
}

// HeartRates are readings of the device with a number in an hour, some minutes without.
func HeartRates(device int, hour int64) privacy.Hour {
	codes := make([]uint16, 60)
	for minute := range codes {
		if (minute+device)%7 != 0 {
			codes[minute] = uint16(30 + (device*13+minute+int(hour)*5)%120)
		}
	}
	return privacy.Hour{Codes: map[int][]uint16{0: codes}}
}

// Add adds b to a so many times, which may be -1.
func Add(a, b privacy.HourStats, times int64) privacy.HourStats {
	a.N, a.Sum, a.SumSq = a.N+times*b.N, a.Sum+times*b.Sum, a.SumSq+times*b.SumSq
	for i := range a.Buckets {
		a.Buckets[i] += times * b.Buckets[i]
	}
	return a
}

// WantExact compares a release of the first metric with what was measured.
func (c *Consortium) WantExact(r privacy.Release, truth privacy.HourStats) {
	c.Helper()
	center := c.Params.Schema().Center(0)
	sum := truth.Sum + center*truth.N
	sumSq := truth.SumSq + 2*center*truth.Sum + center*center*truth.N
	if r.N != truth.N || r.Sum != sum || r.SumSq != sumSq || !slices.Equal(r.Counts[:len(truth.Buckets)], truth.Buckets[:]) {
		c.Errorf("released n %d, sum %d, sum of squares %d, counts %v; the readings have %d, %d, %d, %v", r.N, r.Sum, r.SumSq, r.Counts, truth.N, sum, sumSq, truth.Buckets)
	}
}
