package institution

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// erase submits a patient's erasure through a member.
func (w *world) erase(p *person) {
	w.Helper()
	w.submit(hospitalB, contracts.RegistryErase, p.Erasure(p.Key))
}

func (w *world) receipt(p *person) record.ErasureReceipt {
	w.Helper()
	return must(contracts.RegistryGetErasure.Evaluate(w.Context(), w.Clients[msps[hospitalB]], p.ID))
}

// seedsOf counts the seeds that a member's vault has of a device.
func (w *world) seedsOf(member int, device record.ID) int {
	w.Helper()
	n := 0
	for piece := range 3 {
		if _, found, err := w.members[member].vault.Get(store.Seed(device, piece)); err != nil {
			w.Fatal(err)
		} else if found {
			n++
		}
	}
	return n
}

func (w *world) allReport(p *person) record.ErasureReceipt {
	w.Helper()
	var r record.ErasureReceipt
	w.wait("every member reports the erasure", func() bool {
		r = w.receipt(p)
		return len(r.Reports) == len(msps)
	})
	if err := r.Verify(networkName, map[uint32]record.EpochState{0: {Epoch: w.Genesis.FirstEpoch()}}); err != nil {
		w.Errorf("the receipt does not verify: %v", err)
	}
	return r
}

func TestAnErasureEndsWithEveryMembersReport(t *testing.T) { bothUnits(t, 12, erasureEnds) }

func erasureEnds(t *testing.T, w *world) {
	gone, left := w.patients[3], w.patients[4]
	first, err := w.members[hospitalA].Ask(t.Context(), w.ask("exact", 0))
	if err != nil || first.Cohort != 12 {
		t.Fatalf("before: %+v, %v", first, err)
	}
	w.erase(gone)
	r := w.allReport(gone)
	for i, s := range r.Reports {
		if s.Report.Seeds != 2 || !slices.Equal(s.Report.Devices, []record.ID{gone.device.ID}) {
			t.Errorf("%s reports %+v", s.Report.Member, s.Report)
		}
		if n := w.seedsOf(i, gone.device.ID); n != 0 {
			t.Errorf("%s has %d seeds left", msps[i], n)
		}
		if n := w.seedsOf(i, left.device.ID); n != 2 {
			t.Errorf("%s has %d seeds of somebody else, want 2", msps[i], n)
		}
		if _, err := w.members[i].sums.Secret(gone.device.ID, r.Reports[i].Report.Seeds-1); err == nil {
			t.Errorf("%s still expands a piece", msps[i])
		}
	}
	for i := range msps { // who is erased is in no column, however it was asked
		files, err := filepath.Glob(filepath.Join(w.dir, strconv.Itoa(i), "*columns", "*"))
		if err != nil || len(files) > 0 {
			t.Errorf("%s keeps %v (%v)", msps[i], files, err)
		}
	}
	// The shares that left before are not given again: they would include the
	// erased patient once more.
	_, err = w.getShare(hospitalA, hospitalB, first.QueryID, 0)
	wantFault(t, fault.Forbidden, err)
}

// A member that dies between deleting and reporting reports, when it is back,
// what it deleted then.
func TestAnErasureSurvivesACrashBetweenDeletionAndReport(t *testing.T) {
	w := settledWorld(t, 12)
	gone := w.patients[0]
	w.down(association)
	before := must(New(w.config(association)))
	if n, err := before.seeds.deleteSeeds(t.Context(), gone.device.ID); n != 2 || err != nil {
		t.Fatalf("%d seeds deleted: %v", n, err)
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	w.erase(gone)
	w.down(hospitalB)
	w.dropCheckpoint(hospitalB) // it reads the ledger again
	w.up(hospitalB)
	w.up(association)
	for _, s := range w.allReport(gone).Reports {
		if s.Report.Seeds != 2 {
			t.Errorf("%s reports %d seeds", s.Report.Member, s.Report.Seeds)
		}
	}
	// Members that have read the ledger only after the erasure answer with those
	// who never have.
	a, err := w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	if err != nil || a.Cohort != 11 {
		t.Fatalf("after the erasure: %+v, %v", a, err)
	}
}

func TestAttackErasureBetweenQueryAndShare(t *testing.T) {
	w := settledWorld(t, 12)
	id := w.agreedQuery("exact")
	gone := w.patients[7]
	w.erase(gone)
	w.fetchWithout(id, gone)
}

// Seeds that are being stored while their patient is erased do not come to stay.
func TestAttackSeedsStoredAfterTheErasure(t *testing.T) {
	w := newWorld(t)
	w.enrol(1)
	p := w.patients[0]
	in := w.members[hospitalA].Institution
	state, _, _, _ := in.index.Device(p.device.ID)
	entries, err := in.seeds.openDevice(t.Context(), state)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d seeds: %v", len(entries), err)
	}
	w.erase(p)
	w.allReport(p)
	if err := in.seeds.store([]record.DeviceState{state}, entries); err == nil || w.seedsOf(hospitalA, p.device.ID) != 0 {
		t.Errorf("seeds of an erased device were stored: %v", err)
	}
}

// withholding is a client of a node that has not got the details of consents
// yet.
type withholding struct {
	network.Client
	complete atomic.Bool
}

func (c *withholding) Blocks(ctx context.Context, from uint64) iter.Seq2[*network.Block, error] {
	return func(yield func(*network.Block, error) bool) {
		for b, err := range c.Client.Blocks(ctx, from) {
			if err == nil && !c.complete.Load() {
				b = withoutDetails(b)
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

func withoutDetails(b *network.Block) *network.Block {
	out := *b
	out.Txs = slices.Clone(b.Txs)
	for i, tx := range out.Txs {
		out.Txs[i].Private = slices.Clone(tx.Private)
		for j := range out.Txs[i].Private {
			p := &out.Txs[i].Private[j]
			if p.Collection == state.Collection && !p.Delete {
				p.Available, p.Key, p.Value = false, "", nil
			}
		}
	}
	return &out
}

// A member that lacks the details of a consent gives no share, since it cannot
// know whether somebody has withdrawn; once it has them, it does.
func TestAttackMissingDetailsGiveNoShare(t *testing.T) {
	w := settledWorld(t, 12)
	w.down(hospitalB)
	client := &withholding{Client: w.Ledger.Client(w.ids[hospitalB])}
	client.complete.Store(true)
	b := w.up(hospitalB, func(c *Config) { c.Client, c.Patience = client, 500*time.Millisecond })
	w.wait("hospital B reads the ledger", func() bool { return b.Index().Height() == w.Ledger.Height() })
	client.complete.Store(false)

	p := w.patients[2]
	narrower := p.consent
	narrower.Version, narrower.Previous, narrower.CapMicro = 2, p.consent.Digest(networkName), p.consent.CapMicro-1
	w.putConsent(p, narrower)
	id := w.agreedQuery("exact") // the two others agree
	_, err := w.getShare(hospitalA, hospitalB, id, 0)
	wantFault(t, fault.Unavailable, err)
	if _, err := b.Index().Cohort(id, 0); fault.Of(err) != fault.Unavailable || b.Index().Posted(id, 0, msps[hospitalB]) {
		t.Errorf("hospital B derived a cohort without the details: %v", err)
	}
	if gaps := b.Index().Missing(); len(gaps) != 1 || gaps[0].Patient != p.ID {
		t.Fatalf("missing: %+v", gaps)
	}
	client.complete.Store(true)
	w.wait("the details arrive", func() bool { return len(b.Index().Missing()) == 0 })
	if _, err := w.getShare(hospitalA, hospitalB, id, 0); err != nil {
		t.Errorf("with the details there is still no share: %v", err)
	}
	if docs, err := b.Index().Consents(p.ID); err != nil || !slices.ContainsFunc(docs, func(s consent.Signed) bool { return s.Document.Version == 2 }) {
		t.Errorf("hospital B has %+v, %v", docs, err)
	}
}

// TestAttackAConsentThatNobodyCanRead: a consent whose details never come, as an operator
// could make one up, costs the asker neither a study's budget nor a query's life. What is
// missing is named at once.
func TestAttackAConsentThatNobodyCanRead(t *testing.T) {
	w := settledWorld(t, 12)
	w.down(hospitalA)
	client := &withholding{Client: w.Ledger.Client(w.ids[hospitalA])}
	client.complete.Store(true)
	a := w.up(hospitalA, func(c *Config) { c.Client, c.Patience = client, 500*time.Millisecond })
	w.wait("hospital A reads the ledger", func() bool { return a.Index().Height() == w.Ledger.Height() })
	client.complete.Store(false)
	p := w.patients[2]
	narrower := p.consent
	narrower.Version, narrower.Previous, narrower.CapMicro = 2, p.consent.Digest(networkName), p.consent.CapMicro-1
	w.putConsent(p, narrower)
	w.wait("hospital A reads of the consent", func() bool { return len(a.Index().Missing()) == 1 })
	gap := a.Index().Missing()[0]
	_, err := a.Ask(t.Context(), ask("exact", 0))
	wantFault(t, fault.Unavailable, err)
	if want := fmt.Sprintf("version 2 of consent %s of patient %s, which block %d recorded", narrower.ID.Short(), p.ID.Short(), gap.Block); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not name %s", err, want)
	}
	if asked := w.asked(); len(asked) > 0 {
		t.Errorf("queries were made: %v", asked)
	}
	client.complete.Store(true)
	w.wait("the details arrive", func() bool { return len(a.Index().Missing()) == 0 })
	if got, err := a.Ask(t.Context(), ask("exact", 0)); err != nil || got.Cohort != 12 {
		t.Errorf("with the details: %+v, %v", got, err)
	}
}

// TestAttackErasureReportForAnotherProcess: a member that is in two epochs has two
// processes. The report of the one that runs says nothing about the seeds of the
// other, which deletes its own as soon as it is back.
func TestAttackErasureReportForAnotherProcess(t *testing.T) {
	w := newWorld(t)
	w.enrol(1)
	gone := w.patients[0]
	old := gone.device.ID
	next := w.renew()
	w.enrolDevice(gone)
	w.wait("the seeds of the second device are stored", func() bool {
		return next[hospitalB].Index().Acknowledged(gone.device.ID, msps[hospitalB])
	})
	w.down(hospitalB) // its process for epoch 0
	w.erase(gone)
	byB := func(epoch uint32) int {
		return slices.IndexFunc(w.receipt(gone).Reports, func(s record.SignedErasureReport) bool {
			return s.Report.Member == msps[hospitalB] && s.Report.Epoch == epoch
		})
	}
	w.wait("hospital B reports for epoch 1", func() bool { return byB(1) >= 0 })
	if i := byB(1); !slices.Equal(w.receipt(gone).Reports[i].Report.Devices, []record.ID{gone.device.ID}) {
		t.Errorf("the report of epoch 1 is %+v", w.receipt(gone).Reports[i].Report)
	}
	if byB(0) >= 0 {
		t.Fatal("hospital B has reported for a process that is down")
	}
	w.up(hospitalB)
	w.wait("hospital B reports for epoch 0", func() bool { return byB(0) >= 0 })
	if n := w.seedsOf(hospitalB, old); n != 0 {
		t.Errorf("hospital B has %d seeds of the first device left", n)
	}
	w.wait("everybody reports", func() bool { return len(w.receipt(gone).Reports) == 2*len(msps) })
	epochs := map[uint32]record.EpochState{0: {Epoch: w.Genesis.FirstEpoch()}, 1: {Epoch: w.Epoch}}
	if err := w.receipt(gone).Verify(networkName, epochs); err != nil {
		t.Errorf("the receipt does not verify: %v", err)
	}
}

// TestAttackSeedsBackAfterARestore: a member's state is restored from a copy from
// before the erasure. That the ledger has its report does not keep it from deleting
// again.
func TestAttackSeedsBackAfterARestore(t *testing.T) {
	w := newWorld(t)
	w.enrol(1)
	gone := w.patients[0]
	w.down(hospitalB)
	backup := filepath.Join(w.dir, "backup")
	copyTree(t, w.config(hospitalB).Dir, backup)
	w.up(hospitalB)
	w.erase(gone)
	w.allReport(gone)
	w.restore(hospitalB, backup)
	w.wait("the seeds are deleted again", func() bool { return w.seedsOf(hospitalB, gone.device.ID) == 0 })
}

// TestAttackAnErasureHoldsUpOtherDevices: a member that looks at all devices again,
// as after a restart, finds an erased one among them. That must not put off the
// others, or new ones would wait with it for ever.
func TestAttackAnErasureHoldsUpOtherDevices(t *testing.T) {
	w := newWorld(t)
	w.enrol(2)
	w.erase(w.patients[0])
	w.allReport(w.patients[0])
	in := w.members[hospitalA].Institution
	if _, later := in.seeds.openSeeds(t.Context(), in.index.Devices(0)); len(later) != 0 {
		t.Errorf("%d devices are put off", len(later))
	}
}
