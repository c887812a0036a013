package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

func syncs(t testing.TB, h *Hub) Report {
	t.Helper()
	r, err := h.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sealedFor makes a device and seals so many hours; ledger time follows.
func sealedFor(t testing.TB, w *world, h *Hub, hours int64) *Device {
	t.Helper()
	d := w.enrolled(h, "heart_rate")
	start := d.Document().FirstHour
	push(t, d, reading(t, "heart_rate", start*3600, "60"))
	w.at((start + hours) * 3600)
	if err := d.Advance(t.Context(), (start+hours)*3600); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestEnrolmentReachesTheLedgerOnce(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	h := w.hub(dir)
	d, e, err := h.NewDevice(testPatient, []string{"spo2", "heart_rate"}, epochStart/3600)
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Document.Device.Metrics; got[0] != "heart_rate" || got[1] != "spo2" {
		t.Errorf("metrics %v are not sorted", got)
	}
	if r := syncs(t, h); r.Anchored != 0 {
		t.Errorf("a device that is not enrolled uploads: %+v", r)
	}
	if err := d.Enrol(t.Context(), make([]byte, 64), nil); fault.Of(err) != fault.BadSignature {
		t.Errorf("with a bad signature: %v", err)
	}
	sig, err := record.Sign(w.patient, record.Digest(record.DomainDevice, w.genesis.Network, e.Document.Device))
	if err != nil {
		t.Fatal(err)
	}
	before := crashed(t, dir)
	if err := d.Enrol(t.Context(), sig, nil); err != nil {
		t.Fatal(err)
	}
	if ready, err := d.Ready(t.Context()); err != nil || !ready {
		t.Errorf("ready %t, %v", ready, err)
	}
	// A crash after the ledger had it: the ledger says conflict, and it is ours.
	d2, _ := w.hub(before).Device(d.ID())
	if err := d2.Enrol(t.Context(), sig, nil); err != nil {
		t.Errorf("enrolling again after a crash: %v", err)
	}
	calls := w.calls
	if err := d.Enrol(t.Context(), sig, nil); err != nil || w.calls != calls {
		t.Errorf("enrolling again: %v, %d calls", err, w.calls-calls)
	}
}

func TestBadDevicesAreNotMade(t *testing.T) {
	h := newWorld(t).hub(filepath.Join(t.TempDir(), "hub"))
	for name, metrics := range map[string][]string{"none": nil, "unknown": {"eda"}, "twice": {"spo2", "spo2"}} {
		if _, _, err := h.NewDevice(testPatient, metrics, 0); err == nil {
			t.Errorf("%s: made", name)
		}
	}
	if _, _, err := h.NewDevice(record.ID{}, []string{"spo2"}, 0); err == nil {
		t.Error("made without a patient")
	}
	if _, _, err := h.NewDevice(testPatient, []string{"spo2"}, 1<<62); err == nil {
		t.Error("made for an hour beyond all bounds")
	}
}

func TestSyncAnchorsEverythingAndFetchesReceipts(t *testing.T) {
	w := newWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	d := sealedFor(t, w, h, 50)
	r := syncs(t, h)
	if r.Anchored != 52 || r.Awaited != 52 || r.Receipts != 0 || len(r.Refused) != 0 {
		t.Errorf("first: %+v", r)
	}
	if len(w.blobs) != 1 {
		t.Errorf("%d blobs for one upload", len(w.blobs))
	}
	w.findAvailable(1)
	if r := syncs(t, h); r.Receipts != 0 || r.Awaited != 52 || r.Anchored != 0 {
		t.Errorf("with one member's word: %+v", r)
	}
	w.findAvailable(3)
	if r := syncs(t, h); r.Receipts != 52 || r.Awaited != 0 {
		t.Errorf("with all members' words: %+v", r)
	}
	receipt, ok, err := d.Receipt(record.KindRow, epochStart/3600+49)
	if err != nil || !ok || VerifyReceipt(&w.genesis, receipt) != nil {
		t.Errorf("receipt %t, %v", ok, err)
	}
	if _, ok, _ := d.Receipt(record.KindDay, epochDay+2); ok {
		t.Error("a receipt for a day that is not over")
	}
	if sealedRow(t, d, epochStart/3600) != nil {
		t.Error("a row that the members keep is still here")
	}
	calls := w.calls
	if r := syncs(t, h); r.Anchored+r.Receipts+r.Awaited != 0 || w.calls != calls {
		t.Errorf("nothing to do: %+v in %d calls", r, w.calls-calls)
	}
}

func TestLongBacklogTravelsInSeveralUploads(t *testing.T) {
	if testing.Short() {
		t.Skip("seals 515 rows, which takes long under the race detector")
	}
	w := newDayWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	sealedFor(t, w, h, 5)
	d := w.enrolled(h, "heart_rate")
	first := d.Document().FirstHour
	w.at((first + rowsPerUpload + 30) * 3600)
	if err := h.Advance(t.Context(), (first+rowsPerUpload+30)*3600); err != nil {
		t.Fatal(err)
	}
	syncs(t, h)
	rows := 0
	for name := range w.pointers {
		if name.device == d.ID() && name.kind == record.KindRow {
			rows++
		}
	}
	if rows != rowsPerUpload+30 {
		t.Errorf("%d rows anchored", rows)
	}
	// Roots of days long gone are refused by the ledger; they are kept in sight.
	refused, err := d.Refused()
	if err != nil || len(refused) == 0 || refused[0].Code != fault.Expired || refused[0].Kind != record.KindDay {
		t.Errorf("refused %+v, %v", refused, err)
	}
	w.findAvailable(2)
	if r := syncs(t, h); r.Awaited != 0 || r.Receipts == 0 {
		t.Errorf("%+v", r)
	}
}

func TestRowsAheadOfLedgerTimeWait(t *testing.T) {
	w := newWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	sealedFor(t, w, h, 5)
	w.at(epochStart + 2*3600)
	if r := syncs(t, h); r.Anchored != 2 || r.Waiting != 3 {
		t.Errorf("early: %+v", r)
	}
	w.findAvailable(2)
	if r := syncs(t, h); r.Anchored != 0 || r.Waiting != 3 || r.Receipts != 2 {
		t.Errorf("still early: %+v", r)
	}
	// The gateway remembers operations: the same upload again must not get the old
	// answer. What it names is the same to the byte.
	w.at(epochStart + 5*3600)
	if r := syncs(t, h); r.Anchored != 3 || r.Waiting != 0 {
		t.Errorf("in time: %+v", r)
	}
	if len(w.blobs) != 1 {
		t.Errorf("%d blobs, a retry sends the same bytes", len(w.blobs))
	}
	w.findAvailable(2)
	if r := syncs(t, h); r.Receipts != 3 {
		t.Errorf("%+v", r)
	}
}

func TestOutageIsWaitedOut(t *testing.T) {
	w := newWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	sealedFor(t, w, h, 3)
	left := 2
	w.before = func(*http.Request) error {
		if left--; left >= 0 {
			return fault.New(fault.Unavailable, "the ledger is away")
		}
		return nil
	}
	if r := syncs(t, h); r.Anchored != 3 {
		t.Errorf("%+v", r)
	}
	w.before = func(*http.Request) error { return fault.New(fault.Forbidden, "no") }
	sealed := sealedFor2(t, w, h)
	if _, err := h.Sync(t.Context()); fault.Of(err) != fault.Forbidden {
		t.Errorf("error %v", err)
	}
	w.before = nil
	if r := syncs(t, h); r.Anchored != sealed {
		t.Errorf("after the refusal: %+v", r)
	}
}

// sealedFor2 seals two more hours on the first device.
func sealedFor2(t testing.TB, w *world, h *Hub) int {
	t.Helper()
	d := h.Devices()[0]
	until, _ := d.Progress()
	w.at((until + 2) * 3600)
	if err := d.Advance(t.Context(), (until+2)*3600); err != nil {
		t.Fatal(err)
	}
	return 2
}

func TestManyDevicesSyncTogether(t *testing.T) {
	w := newWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	const n = 20
	for range n {
		w.enrolled(h, "heart_rate", "glucose")
	}
	w.at(epochStart + 4*3600)
	if err := h.Advance(t.Context(), epochStart+4*3600); err != nil {
		t.Fatal(err)
	}
	if r := syncs(t, h); r.Anchored != 4*n {
		t.Errorf("%+v", r)
	}
	w.findAvailable(2)
	if r := syncs(t, h); r.Receipts != 4*n {
		t.Errorf("%+v", r)
	}
}

// A gateway that wants a bridge to believe in receipts that are none.
func TestAttackForgedReceipt(t *testing.T) {
	w := newWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	d := sealedFor(t, w, h, 9)
	syncs(t, h)
	w.findAvailable(2)
	other := newKey(t)
	resign := func(r *record.Receipt, i int) {
		r.Posts[i].Signature, _ = record.Sign(other, r.Posts[i].Post.Digest(w.genesis.Network))
	}
	forgeries := map[string]func(*record.Receipt){
		"one member only":   func(r *record.Receipt) { r.Posts = r.Posts[:1] },
		"one member twice":  func(r *record.Receipt) { r.Posts[1] = r.Posts[0] },
		"an outsider":       func(r *record.Receipt) { r.Posts[1].Member = "Mallory"; resign(r, 1) },
		"an outsider's key": func(r *record.Receipt) { resign(r, 1) },
		"another batch":     func(r *record.Receipt) { r.Batch[0] ^= 1 },
		"another leaf":      func(r *record.Receipt) { r.Leaf ^= 1 },
		"a leaf beyond":     func(r *record.Receipt) { r.Leaf = r.Count },
		"a negative leaf":   func(r *record.Receipt) { r.Leaf = -1 },
		"an endless batch":  func(r *record.Receipt) { r.Count = 1 << 30 },
		"a broken path":     func(r *record.Receipt) { r.Path = r.Path[1:] },
		"a bitmap without it": func(r *record.Receipt) {
			b := bytes.Clone(r.Posts[1].Post.Bitmap)
			b[r.Leaf/8] = 0
			r.Posts[1].Post.Bitmap = b
		},
		"a bitmap too long":     func(r *record.Receipt) { r.Posts[1].Post.Bitmap = append(bytes.Clone(r.Posts[1].Post.Bitmap), 0) },
		"too many posts":        func(r *record.Receipt) { r.Posts = append(r.Posts, r.Posts[0], r.Posts[0]) },
		"another row":           func(r *record.Receipt) { r.Pointer.Pointer.Commitment[0] ^= 1 },
		"a row of other device": func(r *record.Receipt) { r.Pointer.Pointer.Device[0] ^= 1 },
	}
	for name, forge := range forgeries {
		w.mangle = forge
		if _, err := h.Sync(t.Context()); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, ok, _ := d.Receipt(record.KindRow, epochStart/3600); ok {
			t.Fatalf("%s: stored", name)
		}
	}
	if d.Retired() != "" {
		t.Error("a lying gateway retired the device")
	}
	w.mangle = nil
	if r := syncs(t, h); r.Receipts != 9 {
		t.Errorf("honest again: %+v", r)
	}
}

// A path for the last of three leaves is also one for the last of two. So the
// gateway could say that a receipt is about two pointers and read it off the bit
// of the second, where members found the third one missing.
func TestAttackReceiptReadOffANeighboursBit(t *testing.T) {
	w := newWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	d := sealedFor(t, w, h, 3)
	syncs(t, h)
	w.findAvailable(2)
	w.mangle = func(r *record.Receipt) {
		for i := range r.Posts {
			r.Posts[i].Post.Bitmap = []byte{0b011}
			r.Posts[i].Signature, _ = record.Sign(w.members[i].sign, r.Posts[i].Post.Digest(w.genesis.Network))
		}
		if r.Leaf == 2 {
			r.Leaf, r.Count = 1, 2
		}
	}
	if _, err := h.Sync(t.Context()); !errors.Is(err, ErrReceipt) {
		t.Errorf("error %v, want %v", err, ErrReceipt)
	}
	if _, ok, _ := d.Receipt(record.KindRow, epochStart/3600+2); ok {
		t.Error("a row that nobody found has a receipt")
	}
}

// The same store runs twice and both seal the same hour: the second is found
// out at the ledger and stops for good.
func TestAttackClonedStore(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	h := w.hub(dir)
	d := w.enrolled(h, "heart_rate")
	clone := w.hub(crashed(t, dir))
	twin, _ := clone.Device(d.ID())
	w.at(epochStart + 3600)
	for _, x := range []*Device{d, twin} {
		if err := x.Advance(t.Context(), epochStart+3600); err != nil {
			t.Fatal(err)
		}
	}
	if r := syncs(t, h); r.Anchored != 1 {
		t.Fatalf("%+v", r)
	}
	r := syncs(t, clone)
	if len(r.Refused) != 1 || r.Refused[0].Code != fault.Conflict || len(r.Retired) != 1 {
		t.Errorf("%+v", r)
	}
	if err := twin.Advance(t.Context(), epochStart+7200); !errors.Is(err, ErrRetired) {
		t.Errorf("the clone goes on: %v", err)
	}
	if err := d.Advance(t.Context(), epochStart+7200); err != nil {
		t.Errorf("the first does not: %v", err)
	}
}

// Wherever the bridge dies, another one on the same store goes on, and the ledger
// sees every pointer once and one content for each window.
func TestSyncResumesAfterACrashAtEveryRequest(t *testing.T) {
	w := newDayWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	h := w.hub(dir)
	d := sealedFor(t, w, h, 26)
	for point := 0; ; point++ {
		// Every second point loses the answer, not the request.
		cut := fault.New(fault.Forbidden, "cut off here")
		n, broken := 0, false
		w.before = func(r *http.Request) error {
			if broken = broken || n == point/2 && point%2 == 0; broken {
				return cut
			}
			return nil
		}
		w.after = func(*http.Request) {
			if n++; n == point/2+1 && point%2 == 1 {
				broken = true
			}
		}
		at := crashed(t, dir) // as it was before anything was sent
		first, err := Open(w.config(at))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = first.Sync(t.Context()) // fails somewhere, or not
		image := crashed(t, at)
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		w.before, w.after = nil, nil
		w.findAvailable(2)
		again := w.hub(image)
		syncs(t, again)
		w.findAvailable(2)
		syncs(t, again)
		d2, _ := again.Device(d.ID())
		if _, ok, err := d2.Receipt(record.KindPersonDay, epochDay); !ok || err != nil {
			t.Fatalf("point %d: no receipt for the day row: %v", point, err)
		}
		for hour := range int64(26) {
			if _, ok, err := d2.Receipt(record.KindRow, epochStart/3600+hour); !ok || err != nil {
				t.Fatalf("point %d: no receipt for hour %d: %v", point, hour, err)
			}
		}
		if !broken {
			break
		}
		// The next point begins with an empty ledger.
		w.pointers, w.batches, w.blobs = map[ledgerName]*anchored{}, map[record.ID]*batch{}, map[record.ID][]byte{}
		clear(w.uploads)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	for _, s := range []string{fmt.Sprint(d.rec), fmt.Sprintf("%+v", d.rec), fmt.Sprintf("%#v", d.rec)} {
		if strings.Contains(s, fmt.Sprint(d.rec.Key)[1:20]) || !strings.Contains(s, "secret") {
			t.Errorf("prints as %.60q", s)
		}
	}
}

// BenchmarkHub is the work of a hub for a ward: 100 devices, two days.
func BenchmarkHub(b *testing.B) {
	const devices, hours = 100, 48
	for range b.N {
		w := newWorld(b)
		h := w.hub(filepath.Join(b.TempDir(), "hub"))
		for range devices {
			w.enrolled(h, "heart_rate", "resp_rate", "body_temp", "glucose")
		}
		for _, d := range h.Devices() {
			var readings []Reading
			for hour := range int64(hours) {
				for _, m := range d.metrics {
					readings = append(readings, Reading{Metric: m.Key, Time: wearable.Int(epochStart + hour*3600), Value: m.Max})
				}
			}
			push(b, d, readings...)
		}
		w.at(epochStart + hours*3600)
		begin := time.Now()
		if err := h.Advance(b.Context(), epochStart+hours*3600); err != nil {
			b.Fatal(err)
		}
		sealed := time.Now()
		syncs(b, h)
		sent := time.Now()
		w.findAvailable(3)
		signed := time.Now()
		syncs(b, h)
		b.ReportMetric(float64(sealed.Sub(begin).Microseconds())/(devices*hours), "us/row-sealed")
		b.ReportMetric(float64(sent.Sub(sealed).Microseconds())/(devices*hours), "us/row-sent")
		b.ReportMetric(float64(time.Since(signed).Microseconds())/(devices*hours), "us/receipt")
	}
}
