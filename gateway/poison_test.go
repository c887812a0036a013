package gateway

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// hostile are documents that a stranger can make, and an enrolled patient who means
// ill, about an erased patient and a living one.
func hostile(w *world, gone, living, bad *patient, given, kept consent.Signed) map[string]func() (*api.Operation, error) {
	ctx, c := context.Background(), w.as("", nil)
	stranger := living.with(consortium.NewKey())
	about := func(id record.ID) func(*consent.Document) { return func(d *consent.Document) { d.ID = id } }
	put := func(s consent.Signed) (*api.Operation, error) { return c.PutConsent(ctx, s) }
	return map[string]func() (*api.Operation, error){
		"a purged consent, by a stranger": func() (*api.Operation, error) { return put(stranger.consent(about(given.Document.ID))) },
		"a purged consent, by a patient":  func() (*api.Operation, error) { return put(bad.consent(about(given.Document.ID))) },
		"another patient's consent":       func() (*api.Operation, error) { return put(bad.consent(about(kept.Document.ID))) },
		"Fabric's words": func() (*api.Operation, error) {
			return put(stranger.consent(func(d *consent.Document) { d.Purpose = "ProposalResponsePayloads do not match" }))
		},
		"an erased patient's consent": func() (*api.Operation, error) { return put(gone.consent()) },
		"a stranger's erasure":        func() (*api.Operation, error) { return c.Erase(ctx, stranger.Erasure(stranger.Key)) },
		"a stranger's keys": func() (*api.Operation, error) {
			return c.ChangeKeys(ctx, living.w.SignKeys(living.keys(true, stranger.Key).Change, stranger.Key))
		},
	}
}

// poisoned is a world with an erased patient, a living one, and one who means ill.
func poisoned(w *world) (gone, living, bad *patient, given, kept consent.Signed) {
	c := w.as("", nil)
	gone, living, bad = w.enrolled(), w.enrolled(), w.enrolled()
	given, kept = gone.consent(), living.consent()
	w.done(c.PutConsent(context.Background(), given))
	w.done(c.PutConsent(context.Background(), kept))
	w.done(c.Erase(context.Background(), gone.Erasure(gone.Key)))
	return gone, living, bad, given, kept
}

// revocation is the second version of a consent, which ends it.
func (p *patient) revocation(s consent.Signed) consent.Signed {
	return p.Sign(p.Revoked(s.Document))
}

// took is how long a revocation takes from its post to its outcome.
func (w *world) took(p *patient, s consent.Signed) time.Duration {
	w.Helper()
	begun := time.Now()
	w.done(w.as("", nil).PutConsent(context.Background(), p.revocation(s)))
	return time.Since(begun)
}

// TestAttackDocumentsThatAreTriedForEver: none of sixteen of each kind stays, and a
// revocation goes through while they are there, also after a restart.
func TestAttackDocumentsThatAreTriedForEver(t *testing.T) {
	w := newWorld(t)
	gone, living, bad, given, kept := poisoned(w)
	other := w.enrolled()
	theirs := other.consent()
	w.done(w.as("", nil).PutConsent(t.Context(), theirs))
	alone := w.took(other, theirs)
	var ops []*api.Operation
	for what, post := range hostile(w, gone, living, bad, given, kept) {
		for range workers {
			op, err := post()
			switch {
			case err == nil:
				ops = append(ops, op)
			case fault.Codes[fault.Of(err)].Retry:
				t.Errorf("%s is refused for now only: %v", what, err)
			}
		}
	}
	took := w.took(living, kept)
	t.Logf("a revocation took %s alone, and %s among hostile documents", alone, took)
	if took > 2*alone+time.Second {
		t.Error("that is more than twice its time alone, and a second for a busy machine")
	}
	w.restart()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, op := range ops {
		_, err := w.as("", nil).Wait(ctx, op)
		if err == nil || fault.Codes[fault.Of(err)].Retry {
			t.Errorf("a hostile document ended with %v", err)
		}
	}
}

// refusesBy makes the ledger fail for documents of these patients as if it were away.
func (f *faulty) refusesBy(patients ...*patient) {
	fn := func(_ context.Context, c network.Call) error {
		for _, p := range patients {
			if strings.Contains(c.Args[0], p.ID.String()) {
				return fault.New(fault.Unavailable, "the ledger does not take this")
			}
		}
		return nil
	}
	f.before.Store(&fn)
}

// TestAttackOperationsThatTheLedgerDoesNotTake: whatever makes the ledger fail for
// some documents, they hold no worker while they wait, their parties have a share
// and no more, and they end.
func TestAttackOperationsThatTheLedgerDoesNotTake(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	bad, worse, honest := w.enrolled(), w.enrolled(), w.enrolled()
	device, kept := w.device(), honest.consent()
	w.advance(10 * 3600)
	w.done(w.as("", nil).PutConsent(ctx, kept))
	alone := w.took(honest, kept)

	w.patience = patience{most: 10 * time.Millisecond, tries: 5}
	w.restart()
	w.client.refusesBy(bad, worse)
	var ops []*api.Operation
	for _, p := range []*patient{bad, worse} {
		for i := range 2 * partyPending { // half of them urgent
			s := p.consent()
			if i%2 == 0 {
				s = p.revocation(s)
			}
			op, err := w.as("", nil).PutConsent(ctx, s)
			w.ok(err)
			ops = append(ops, op)
		}
		_, err := w.as("", nil).PutConsent(ctx, p.consent())
		wantFault(t, fault.Unavailable, err)
	}
	another := w.enrolled()
	mine := another.consent()
	w.done(w.as("", nil).PutConsent(ctx, mine))
	if took := w.took(another, mine); took > 2*alone+5*time.Second {
		t.Errorf("a revocation took %s, alone %s", took, alone)
	}
	w.restart()
	data, pointers := device.rows(startHour, startHour+2)
	w.upload(device, data, pointers)
	// The ledger goes on, so these are given up, and say so.
	for i := int64(0); ; i++ {
		w.advance(10*3600 + i)
		if op, err := w.as("", nil).Operation(ctx, ops[0].ID); err != nil || op.Done {
			w.ok(err)
			if op.Err == nil || op.Err.Code != fault.Unavailable || !strings.Contains(op.Err.Detail, "given up after 5 tries") {
				t.Errorf("it ended with %v", op.Err)
			}
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	// Posting it again is trying anew.
	w.client.before.Store(nil)
	w.eventually("what was waited for comes", func() bool { op, err := w.as("", nil).Operation(ctx, ops[len(ops)-1].ID); return err == nil && op.Done })
}

func TestWhileTheLedgerIsAwayNothingIsGivenUp(t *testing.T) {
	var e tried
	p := patience{most: time.Minute, tries: 3}
	for range 1000 {
		if wait, more := p.after(&e, 7); !more || wait > mostPause {
			t.Fatalf("wait %s, more %v", wait, more)
		}
	}
	for i, want := range []bool{true, false} { // the first counted before
		if _, more := p.after(&e, 8+uint64(i)); more != want {
			t.Errorf("try %d with the ledger moving: more is %v", i, more)
		}
	}
}

// TestOperationsAreTheirSendersWhileTheLedgerIsAway: then nobody can be asked whose
// key it was. They are accepted, as a revocation must be, to the share of an address.
func TestOperationsAreTheirSendersWhileTheLedgerIsAway(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p := w.enrolled()
	kept := p.consent()
	w.done(w.as("", nil).PutConsent(ctx, kept))
	w.client.away()
	w.client.deaf.Store(true)
	op, err := w.as("", nil).PutConsent(ctx, p.revocation(kept))
	w.ok(err)
	stranger := p.with(consortium.NewKey())
	for range partyPending {
		_, err = w.as("", nil).PutConsent(ctx, stranger.consent())
		w.ok(err)
	}
	_, err = w.as("", nil).PutConsent(ctx, stranger.consent())
	wantFault(t, fault.Unavailable, err)
	w.client.before.Store(nil)
	w.client.deaf.Store(false)
	w.done(op, nil)
}

// TestPartiesTakeTurns: a party with much to do delays another by one operation of
// its own, and runs no more at once than its share.
func TestPartiesTakeTurns(t *testing.T) {
	q := newLanes()
	of := func(party string, n int) entry {
		return entry{id: record.SumID(fmt.Append(nil, party, n)), request: &apiv1.StoredRequest{Party: party}}
	}
	for i := range 100 {
		q.put(of("much", i))
	}
	q.put(of("little", 0))
	var running []entry
	for range 3 {
		e, ok := q.next()
		if !ok {
			t.Fatal("closed")
		}
		running = append(running, e)
	}
	if running[0].party() != "much" || running[1].party() != "little" || running[2].party() != "much" {
		t.Errorf("turns of %s, %s, %s", running[0].party(), running[1].party(), running[2].party())
	}
	got := make(chan entry)
	go func() {
		e, _ := q.next()
		got <- e
	}()
	select {
	case e := <-got:
		t.Fatalf("a third of %s runs", e.party())
	case <-time.After(20 * time.Millisecond):
	}
	q.leave(running[0])
	if e := <-got; e.party() != "much" || e.id == running[0].id {
		t.Errorf("next is %s", e.party())
	}
	q.close()
	if _, ok := q.next(); ok {
		t.Error("a closed queue has a next")
	}
}

// TestAttackTenThousandHostileDocuments is the same at full size.
func TestAttackTenThousandHostileDocuments(t *testing.T) {
	if os.Getenv("VITALVEIL_SOAK") == "" {
		t.Skip("full size: set VITALVEIL_SOAK=1")
	}
	w := newWorld(t)
	ctx := context.Background()
	gone, living, bad, given, kept := poisoned(w)
	d := w.device()
	w.advance(100 * 3600)
	w.client.refusesBy(bad)
	kinds := hostile(w, gone, living, bad, given, kept)
	var all sync.WaitGroup
	for _, post := range kinds {
		all.Go(func() {
			for range 10_000/len(kinds) + 1 {
				_, _ = post() // most are refused at once
			}
		})
	}
	for h := int64(startHour); h < startHour+20; h++ {
		data, pointers := d.rows(h, h+1)
		w.upload(d, data, pointers)
	}
	all.Wait()
	if took := w.took(living, kept); took > 5*time.Second {
		t.Errorf("a revocation took %s", took)
	}
	w.restart()
	data, pointers := d.rows(startHour+20, startHour+40)
	w.upload(d, data, pointers)
	w.gw.ops.mu.Lock()
	open := len(w.gw.ops.open)
	w.gw.ops.mu.Unlock()
	if open > 2*partyPending {
		t.Errorf("%d operations are open", open)
	}
	_, err := w.as("", nil).Network(ctx)
	w.ok(err)
}
