package institution

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// sumsWorld is key sums over some devices with stored seeds.
type sumsWorld struct {
	params  *he.Params
	dir     string
	log     *logBuffer
	vault   *store.Store
	sums    *keySums
	devices []record.ID
}

func newSumsWorld(t *testing.T, devices int) *sumsWorld {
	w := &sumsWorld{params: must(he.New(he.DefaultProfile(), privacy.V1(), must(he.NewSharing(3, 2)))), dir: filepath.Join(t.TempDir(), "state"), log: &logBuffer{}}
	w.vault = openedStore(t, w.dir)
	t.Cleanup(func() { w.vault.Close() })
	var seeds []store.Entry
	for i := range devices {
		w.devices = append(w.devices, record.SumID(fmt.Append(nil, i)))
		seed := he.NewSeed()
		seeds = append(seeds, store.Entry{Name: store.Seed(w.devices[i], 1), Value: seed[:]})
	}
	if err := w.vault.PutAll(seeds...); err != nil {
		t.Fatal(err)
	}
	w.open(t)
	return w
}

// open starts afresh from what is on disk.
func (w *sumsWorld) open(t *testing.T) {
	s := newSecrets(w.params, he.Context{Network: "n"}, w.vault)
	w.sums = newKeySums(s, func(from int) []record.ID { return w.devices[from:] }, slog.New(slog.NewTextHandler(w.log, nil)))
	if err := w.sums.load(); err != nil {
		t.Fatal(err)
	}
}

// fresh is the sum from the seeds, without anything kept.
func (w *sumsWorld) fresh(set deviceSet) he.KeySum {
	sum := w.sums.params.NewKeySum()
	for n, d := range w.devices {
		if set.has(n) {
			if err := sum.Add(must(w.sums.secrets.get(pieceOf{d, 1}))); err != nil {
				panic(err)
			}
		}
	}
	return sum
}

func TestKeySumsEqualFreshOnesWhateverChanged(t *testing.T) {
	w := newSumsWorld(t, 70)
	scopes := []record.ID{{1}, {2}, {3}}
	rapid.Check(t, func(r *rapid.T) {
		sets := make([]deviceSet, len(scopes))
		for range 4 {
			scope := rapid.IntRange(0, len(scopes)-1).Draw(r, "scope")
			for _, n := range rapid.SliceOfN(rapid.IntRange(0, len(w.devices)-1), 0, 8).Draw(r, "changes") {
				sets[scope].flip(n)
			}
			switch rapid.IntRange(0, 4).Draw(r, "then") {
			case 0:
				w.open(t)
			case 1:
				if err := w.sums.retain(map[record.ID]bool{scopes[scope]: true}); err != nil {
					r.Fatal(err)
				}
			default:
				if err := w.sums.keep(1, scopes[scope], sets[scope]); err != nil {
					r.Fatal(err)
				}
			}
			got, err := w.sums.over(1, sets[scope], nil)
			if err != nil {
				r.Fatal(err)
			}
			if !slices.Equal(got.sum, w.fresh(sets[scope])) || got.sum.Digest() != w.fresh(sets[scope]).Digest() {
				r.Fatal("the sum is not the one that the seeds give")
			}
		}
		for name, s := range w.sums.kept {
			if !slices.Equal(s.sum, w.fresh(s.set)) {
				r.Fatalf("kept sum %s is not over the devices that it names", name)
			}
		}
	})
}

func TestKeptSumSavesExpansions(t *testing.T) {
	w := newSumsWorld(t, 40)
	all := must(w.sums.setOf(w.devices))
	if err := w.sums.keep(1, record.ID{1}, all); err != nil {
		t.Fatal(err)
	}
	w.open(t) // nothing is expanded yet
	all.flip(7)
	if _, err := w.sums.over(1, all, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(w.sums.secrets.entries); n != 1 {
		t.Errorf("%d devices were expanded for a set that differs by one", n)
	}
}

func TestDamagedKeySumIsMadeAgain(t *testing.T) {
	w := newSumsWorld(t, 5)
	all := must(w.sums.setOf(w.devices))
	name := sumName{1, record.ID{1}}
	if err := w.sums.keep(1, name.scope, all); err != nil {
		t.Fatal(err)
	}
	whole, _, err := w.vault.Get(name.String())
	if err != nil {
		t.Fatal(err)
	}
	for what, damage := range map[string]func([]byte) []byte{
		"sum":    func(b []byte) []byte { b[len(b)-9] ^= 1; return b },
		"set":    func(b []byte) []byte { b[32] ^= 1; return b },
		"digest": func(b []byte) []byte { b[0] ^= 1; return b },
		"length": func(b []byte) []byte { return b[:len(b)-1] },
		"empty":  func([]byte) []byte { return nil },
	} {
		if err := w.vault.Put(name.String(), damage(slices.Clone(whole))); err != nil {
			t.Fatal(err)
		}
		w.open(t)
		if len(w.sums.kept) != 0 {
			t.Errorf("%s: the damaged sum is used", what)
		}
		if !strings.Contains(w.log.String(), "made again from the seeds") {
			t.Errorf("%s: nobody is told", what)
		}
		if got := must(w.sums.over(1, all, nil)); !slices.Equal(got.sum, w.fresh(all)) {
			t.Errorf("%s: wrong sum", what)
		}
	}
}

func TestErasedDeviceIsInNoKeptSum(t *testing.T) {
	w := newSumsWorld(t, 6)
	all := must(w.sums.setOf(w.devices))
	without := all.clone()
	without.flip(3)
	for i, set := range []deviceSet{all, without} {
		if err := w.sums.keep(1, record.ID{byte(i)}, set); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.sums.drop(w.devices[3]); err != nil {
		t.Fatal(err)
	}
	err := w.sums.keep(1, record.ID{0}, all)
	if fault.Of(err) != fault.Conflict {
		t.Errorf("a sum with the erased device is kept again: %v", err)
	}
	names := must(w.vault.Names(store.KeySums))
	if len(names) != 1 || len(w.sums.kept) != 1 {
		t.Fatalf("stored are %v", names)
	}
	w.open(t)
	for _, s := range w.sums.kept {
		if s.set.has(3) {
			t.Error("after a restart the device is in a kept sum")
		}
	}
}

func TestKeySumsFollowTheLedger(t *testing.T) {
	w := settledWorld(t, 12)
	in := w.members[hospitalB].Institution
	expanded := func() int {
		in.secrets.mu.Lock()
		defer in.secrets.mu.Unlock()
		return len(in.secrets.entries)
	}
	covers := func(devices int) bool {
		c := must(in.index.Eligible(0, msps[hospitalA], "HRESCH", metricKey, firstHour, firstHour+rowHours, 0, false))
		set := must(in.sums.setOf(devicesOf(c)))
		return set.size() == devices && in.sums.nearest(0, set).set.distance(set) == 0 && in.sums.nearest(2, set).set.distance(set) == 0
	}
	w.wait("sums over all", func() bool { return covers(12) })
	w.revoke(w.patients[5])
	w.wait("sums without the one who has revoked", func() bool { return covers(11) })
	w.down(hospitalB)
	in = w.up(hospitalB)
	w.wait("sums after a restart", func() bool { return in.hasGenesis() && in.index.Counts().Patients == 12 && covers(11) })
	if n := expanded(); n > 4 {
		t.Errorf("a restart expanded %d pieces although the sums are on disk", n)
	}
	a, err := w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	if err != nil {
		t.Fatal(err)
	}
	w.want(a, sub(w.truth, w.patients[5].stats))
}

// TestAttackHoldersWhoseKeySumsDiffer: one holder's kept sum lacks a device, as if
// it had been tampered with or a bug had lost an addition. If both holders used the
// same flood and noise, the difference of their shares would be the bare key
// product of that device, which opens its rows.
func TestAttackHoldersWhoseKeySumsDiffer(t *testing.T) {
	w := settledWorld(t, 11)
	w.study("noisy", false)
	in := w.members[hospitalB].Institution
	all := must(in.sums.setOf(in.index.Ready(0)))
	w.wait("the sum is kept", func() bool { return in.sums.nearest(0, all).set.distance(all) == 0 })
	w.everywhere("nothing goes on", func(in *Institution) bool { return in.index.Height() == w.ledger.Height() })
	honest := in.sums.nearest(0, all)
	bad := &keptSum{set: honest.set, sum: slices.Clone(honest.sum)}
	secret := must(in.secrets.get(pieceOf{w.patients[4].device, 0}))
	if err := bad.sum.Sub(secret); err != nil {
		t.Fatal(err)
	}
	in.sums.mu.Lock()
	for name, s := range in.sums.kept {
		if s == honest {
			in.sums.kept[name] = bad
		}
	}
	in.sums.mu.Unlock()
	var gaps [][]uint64
	for _, study := range []string{"exact", "noisy"} {
		a := ask(study, 0)
		if study == "noisy" {
			a.Rho = 500_000
		}
		_, err := w.members[hospitalA].Ask(t.Context(), a)
		wantFault(t, err, fault.Conflict)
		var d *Dispute
		if !errors.As(err, &d) || d.Piece != 0 || len(d.Copies) != 2 {
			t.Fatalf("got %v, want a dispute about piece 0", err)
		}
		gaps = append(gaps, w.gap(d.Copies[0].Share, d.Copies[1].Share))
	}
	// With floods that cancel, both gaps would be the device's key product.
	for i := range gaps[0] {
		if gaps[0][i] == gaps[1][i] {
			t.Errorf("residue %d of the holders' difference is the same in two queries: their floods cancel", i)
		}
	}
}

// gap subtracts two shares, residue by residue.
func (w *world) gap(a, b []byte) []uint64 {
	p := w.params.Profile()
	residue := func(share []byte, i int) uint64 {
		var v uint64
		for bit := range p.ResidueBits {
			at := i*p.ResidueBits + bit
			v |= uint64(share[at/8]>>(at%8)&1) << bit
		}
		return v
	}
	out := make([]uint64, 8*len(a)/p.ResidueBits)
	for i := range out {
		q := p.Primes[i%len(p.Primes)]
		out[i] = (residue(a, i) + q - residue(b, i)) % q
	}
	return out
}

func TestErasedDeviceLeavesNothingBehind(t *testing.T) {
	w := settledWorld(t, 11)
	in := w.members[hospitalB].Institution
	device := w.patients[3].device
	n := must(in.sums.number(device))
	holds := func() bool {
		in.sums.mu.Lock()
		defer in.sums.mu.Unlock()
		for _, s := range in.sums.kept {
			if s.set.has(n) {
				return true
			}
		}
		return false
	}
	w.wait("sums with the device", holds)
	if err := in.dropDevice(device); err != nil {
		t.Fatal(err)
	}
	in.blocks.fire() // as the block with the member's report does
	if holds() {
		t.Error("a kept sum has the device")
	}
	in.secrets.mu.Lock()
	for of := range in.secrets.entries {
		if of.device == device {
			t.Error("an expanded piece of the device is in memory")
		}
	}
	in.secrets.mu.Unlock()
	without := must(in.sums.setOf(in.sums.withoutErased(in.index.Ready(0))))
	w.wait("sums without the device", func() bool { return in.sums.nearest(0, without).set.distance(without) == 0 })
	if holds() {
		t.Error("a later sum has the device")
	}
	for _, b := range in.index.Batches(0) { // what was on its way when the device went
		in.inspect(t.Context(), b, nil)
	}
	in.flushColumns()
	want := wanted{}
	for h := range int64(rowHours) {
		want.flip(n, he.Window{Hour: firstHour + h})
	}
	if sum, _, err := in.columns.sum(t.Context(), 0, want); err != nil || sum.Rows() != 0 {
		t.Errorf("columns have %d rows of the device (%v)", sum.Rows(), err)
	}
}
