package gateway

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// takesNo makes the ledger fail, as if it were away, for calls of these methods.
func (f *faulty) takesNo(methods ...contracts.Method) {
	fn := func(_ context.Context, c network.Call) error {
		for _, m := range methods {
			if c.Function == m.Name() {
				return fault.New(fault.Unavailable, "the ledger does not take this")
			}
		}
		return nil
	}
	f.before.Store(&fn)
}

// day is an upload without a blob, another one with every number.
func (d *device) day(i int) []record.SignedPointer {
	return []record.SignedPointer{d.Day(int64(startDay + i))}
}

// TestAttackADeviceFillsThePlacesOfItsPatient: a device that was stolen has as much
// waiting as its patient may have, also of its own retirement, and the patient can stop
// it and revoke.
func TestAttackADeviceFillsThePlacesOfItsPatient(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	d, given := p.newDevice(), p.consent()
	w.done(w.as("", nil).EnrolDevice(context.Background(), d.Enrolment, d.Seeds))
	w.done(w.as("", nil).PutConsent(context.Background(), given))
	w.client.takesNo(contracts.PointerAnchor, contracts.RegistryRetireDevice)
	defer w.client.before.Store(nil)
	for name, post := range map[string]func(int) (*api.Operation, error){
		"uploads": func(i int) (*api.Operation, error) {
			return d.client().Upload(context.Background(), d.ID, nil, d.day(i))
		},
		"retirements": func(int) (*api.Operation, error) {
			return w.as("", nil).RetireDevice(context.Background(), d.Retirement(d.Key, false))
		},
	} {
		for i := range partyPending {
			if _, err := post(i); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if _, err := post(partyPending); fault.Of(err) != fault.Unavailable {
			t.Errorf("%s: one too many: %v", name, err)
		}
	}
	if took := w.took(p, given); took > 5*time.Second {
		t.Errorf("a revocation took %s", took)
	}
	if _, err := w.as("", nil).RetireDevice(context.Background(), d.Retirement(p.Key, true)); err != nil {
		t.Errorf("the patient reports the device lost: %v", err)
	}
}

// stalled is an index that does not answer about devices, and counts who asks.
type stalled struct {
	Index
	asking atomic.Int64
	answer chan struct{}
}

func (s *stalled) Device(id record.ID) (record.DeviceState, []string, bool, bool) {
	s.asking.Add(1)
	<-s.answer
	return s.Index.Device(id)
}

// TestAttackAbortedUploads: whoever hangs up while a request is worked on has its place
// until the work is done.
func TestAttackAbortedUploads(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	slow := &stalled{Index: w.gw.index, answer: make(chan struct{})}
	w.answers = slow
	w.restart()
	defer close(slow.answer)
	for i := range 3 * uploadsEach {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		_, err := d.client().Upload(ctx, d.ID, nil, d.day(i))
		cancel()
		if err == nil {
			t.Fatal("an upload was answered, whose work is not done")
		}
	}
	if n := slow.asking.Load(); n > uploadsEach {
		t.Errorf("%d uploads are worked on at once for one patient, of at most %d", n, uploadsEach)
	}
}

// unread is an answer that nobody reads: it blocks with the first byte.
type unread struct {
	header http.Header
	wrote  chan struct{}
	end    chan struct{}
}

func (u *unread) Header() http.Header { return u.header }
func (u *unread) WriteHeader(int)     {}
func (u *unread) Write(b []byte) (int, error) {
	u.wrote <- struct{}{}
	<-u.end
	return len(b), nil
}

// TestAttackAnswersThatNobodyReads: they hold nothing that others need.
func TestAttackAnswersThatNobodyReads(t *testing.T) {
	w := newWorld(t)
	document := append(bytes.Repeat([]byte(" "), api.MaxBody-10), `{"x":0}`...)
	end := make(chan struct{})
	defer close(end)
	for range largeWorking/(workBase+workFactor*api.MaxBody) + 1 {
		u := &unread{header: http.Header{}, wrote: make(chan struct{}, 1), end: end}
		r := w.request("POST", "/v1/consents", document)
		r.RemoteAddr = "192.0.2.1:1"
		go w.gw.Handler().ServeHTTP(u, r)
		select {
		case <-u.wrote:
		case <-time.After(10 * time.Second):
			t.Fatal("no answer")
		}
	}
	resp, answer := w.raw(w.request("POST", "/v1/consents", document))
	problem(t, resp, answer, http.StatusBadRequest, fault.Invalid) // and not 429
}

// TestAttackAnswersThatRepeatTheRequest: what was wrong in a body does not come back
// many times as long.
func TestAttackAnswersThatRepeatTheRequest(t *testing.T) {
	w := newWorld(t)
	for _, c := range []string{"<", "\u0080", `\u0001`} {
		body := repeated(`{"`, c, `":0}`, api.MaxBody-100)
		resp, answer := w.raw(w.request("POST", "/v1/consents", body))
		problem(t, resp, answer, http.StatusBadRequest, fault.Invalid)
		if len(answer) > 16<<10 {
			t.Errorf("%q: a body of %d bytes is answered with %d", c, len(body), len(answer))
		}
	}
}

// TestAttackLargeBodiesThatStop: three patients who mean ill begin large uploads, which
// take all the memory for such bodies, and stop in the middle. Meanwhile somebody
// revokes a consent.
func TestAttackLargeBodiesThatStop(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	given := p.consent()
	w.done(w.as("", nil).PutConsent(context.Background(), given))
	left := func(bytes int64) bool {
		memory := w.gw.door.bounds.large.reading
		memory.mu.Lock()
		defer memory.mu.Unlock()
		return memory.free >= bytes
	}
	half := bytes.Repeat([]byte(" "), api.MaxUpload/2+1)
	var d *device
	for i := range largeReading / api.MaxUpload {
		if i%uploadsEach == 0 {
			d = w.device()
		}
		c := w.begin(&api.Signer{Party: api.DeviceParty(d.ID), Key: d.Key}, d, api.MaxUpload-1)
		_, err := c.Write(half)
		w.ok(err) // there was memory for it
		w.eventually("an upload takes its memory", func() bool { return !left(int64(largeReading - (i+1)*api.MaxUpload + 1)) })
	}
	w.done(w.as("", nil).PutConsent(context.Background(), p.revocation(given)))
	if left(1) {
		t.Error("the uploads had ended before the revocation went through")
	}
}

// TestAttackLargeBodiesOfAFewKeepNobodyOut: all the memory for large bodies is taken by
// three who mean ill. Whoever holds less gets what it needs from the one who holds most,
// who is told so; those who hold as much as each other keep what they have.
func TestAttackLargeBodiesOfAFewKeepNobodyOut(t *testing.T) {
	w := newWorld(t)
	other := w.device()
	w.gw.door.bounds.large.reading = newPool(6 << 20)
	w.gw.door.bounds.grace = time.Minute // they are as slow as they may be
	for range 3 {
		d := w.device()
		for range uploadsEach {
			c := w.begin(&api.Signer{Party: api.DeviceParty(d.ID), Key: d.Key}, d, api.MaxUpload-1)
			_, err := c.Write(bytes.Repeat([]byte(" "), 1<<20-1))
			w.ok(err)
		}
	}
	w.eventually("they take all of it", func() bool {
		p := w.gw.door.bounds.large.reading
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.free == 0
	})
	w.advance(30 * 3600)
	began := time.Now()
	for i := range 3 {
		var rows []record.BlobRow
		for h := range int64(6) {
			rows = append(rows, record.BlobRow{Hour: startHour + 6*int64(i) + h, Row: random(record.MaxRowBytes)})
		}
		data, pointers := other.Rows(rows...)
		w.done(other.client().Upload(context.Background(), other.ID, [][]byte{data}, pointers))
	}
	if took := time.Since(began); took > maxWaitTurn {
		t.Errorf("three uploads took %s", took)
	}
}

// TestAttackGuessedOperations: whoever knows a device and guesses its Idempotency-Key
// does not see what became of its upload.
func TestAttackGuessedOperations(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	key := "upload-1"
	w.advance(10 * 3600)
	body := uploadBody(w, nil, d.day(0))
	r := w.request("POST", "/v1/devices/"+d.ID.String()+"/uploads", body)
	r.Header.Set(api.HeaderKey, key)
	w.ok((&api.Signer{Party: api.DeviceParty(d.ID), Key: d.Key}).Sign(r, w.Genesis.Network, body, time.Now()))
	resp, answer := w.raw(r)
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("%d %s", resp.StatusCode, answer)
	}
	guess := record.Digest("gateway-operation/v1", w.Genesis.Network, []any{"key", kindUpload, api.DeviceParty(d.ID), key})
	resp, answer = w.raw(w.request("GET", "/v1/operations/"+guess.String(), nil))
	problem(t, resp, answer, http.StatusNotFound, fault.NotFound)
}

// TestAttackTheJournalIsFilled: a device brings pointers without end that the ledger
// refuses. It is stopped, its patient and others are not.
func TestAttackTheJournalIsFilled(t *testing.T) {
	w := newWorld(t)
	p, other := w.enrolled(), w.device()
	d, given := p.newDevice(), p.consent()
	w.done(w.as("", nil).EnrolDevice(context.Background(), d.Enrolment, d.Seeds))
	w.done(w.as("", nil).PutConsent(context.Background(), given))
	w.gw.ops.written.mu.Lock()
	w.gw.ops.written.most = 64 << 10
	w.gw.ops.written.mu.Unlock()
	var err error
	sent := 0
	for ; err == nil && sent < 1000; sent++ { // each has about 300 bytes
		_, err = d.client().Upload(context.Background(), d.ID, nil, d.day(1000+sent))
	}
	if fault.Of(err) != fault.Unavailable || !strings.Contains(err.Error(), "bytes of documents today") {
		t.Errorf("after %d uploads: %v", sent, err)
	}
	w.took(p, given)
	w.done(other.client().Upload(context.Background(), other.ID, nil, other.day(1000)))
}
