package institution

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution/column"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// keptOver reports whether a member keeps a sum of a piece over exactly these devices.
func keptOver(in *Institution, piece int, devices []record.ID) bool {
	for _, kept := range keptSums(in, piece) {
		whole := true
		for _, d := range devices {
			whole = whole && kept[must(in.numbers.Of(d))]
		}
		if whole && len(kept) == len(devices) {
			return true
		}
	}
	return false
}

// keptSums reads which devices the sums of a piece in a member's store are over, by
// their numbers.
func keptSums(in *Institution, piece int) []map[int]bool {
	var out []map[int]bool
	for e, err := range in.vault.Each(store.KeySums + strconv.Itoa(piece) + "/") {
		if err != nil {
			panic(err)
		}
		devices := map[int]bool{}
		set := e.Value[len(record.ID{}) : len(e.Value)-4*len(in.params.NewKeySum())]
		for n := range 8 * len(set) {
			if set[n/8]>>(n%8)&1 == 1 {
				devices[n] = true
			}
		}
		out = append(out, devices)
	}
	return out
}

// forgetSeeds deletes the seeds that a member that is down has, but those of a patient.
func (w *world) forgetSeeds(member int, but *person) {
	w.Helper()
	s := must(store.Open(w.config(member).Dir, ""))
	for _, name := range must(s.Names(store.Seeds)) {
		if !strings.Contains(name, but.device.ID.String()) {
			w.check(s.Remove(name))
		}
	}
	w.check(s.Close())
}

func TestKeySumsFollowTheLedger(t *testing.T) {
	w := settledWorld(t, 12)
	in := w.members[hospitalB].Institution
	covers := func(devices int) bool {
		c := devicesOf(must(in.index.Eligible(msps[hospitalA], "HRESCH", false, record.Ask{Metric: metricKey, From: firstHour, Until: firstHour + rowHours})))
		return len(c) == devices && keptOver(in, 0, c) && keptOver(in, 2, c)
	}
	w.wait("sums over all", func() bool { return covers(12) })
	w.revoke(w.patients[5])
	w.wait("sums without the one who has revoked", func() bool { return covers(11) })
	w.down(hospitalB)
	w.forgetSeeds(hospitalB, w.patients[1]) // who has no row for one hour; of the others its sums are all that it has
	in = w.up(hospitalB)
	w.wait("sums after a restart", func() bool { return in.HasGenesis() && in.index.Counts().Patients == 12 && covers(11) })
	a, err := w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	if err != nil {
		t.Fatal(err)
	}
	w.want(a, consortium.Add(w.truth, w.patients[5].device.Stats, -1))
	if len(a.Missing) > 0 {
		t.Errorf("%v gave no share although the sums are on disk", a.Missing)
	}
}

// TestAttackHoldersWhoseKeySumsDiffer: one holder's sum has another secret of a device,
// as if its state had been tampered with or a bug had lost an addition. If both holders
// used the same flood and noise, the difference of their shares would be a bare key
// product, which opens rows of that device.
func TestAttackHoldersWhoseKeySumsDiffer(t *testing.T) {
	w := settledWorld(t, 11)
	w.study("noisy", false)
	w.everywhere("nothing goes on", func(in *Institution) bool { return in.index.Height() == w.Ledger.Height() })
	w.down(hospitalB)
	s := must(store.Open(w.config(hospitalB).Dir, ""))
	other := he.NewSeed()
	w.check(s.Put(store.Seed(w.patients[4].device.ID, 0), other[:]))
	w.check(s.Remove(must(s.Names(store.KeySums))...))
	w.check(s.Close())
	w.up(hospitalB)
	var gaps [][]uint64
	for _, study := range []string{"exact", "noisy"} {
		a := ask(study, 0)
		if study == "noisy" {
			a.Rho = 500_000
		}
		_, err := w.members[hospitalA].Ask(t.Context(), a)
		wantFault(t, fault.Conflict, err)
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
	p := w.Params.Profile()
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
	device := w.patients[3].device.ID
	n := must(in.numbers.Of(device))
	holds := func() bool {
		return slices.ContainsFunc(keptSums(in, 0), func(kept map[int]bool) bool { return kept[n] })
	}
	w.wait("sums with the device", holds)
	if err := in.seeds.drop(device); err != nil {
		t.Fatal(err)
	}
	in.Fire() // as the block with the member's report does
	if holds() {
		t.Error("a kept sum has the device")
	}
	without := slices.DeleteFunc(in.index.Ready(0), func(d record.ID) bool { return d == device })
	w.wait("sums without the device", func() bool { return keptOver(in, 0, without) })
	if holds() {
		t.Error("a later sum has the device")
	}
	for _, b := range in.index.Batches(0) { // what was on its way when the device went
		in.attester.inspect(t.Context(), b, nil)
	}
	in.rows.flush()
	want := must(column.Want(in.params, []record.CohortMember{{Device: device, Ranges: [][2]int64{{firstHour, firstHour + rowHours}}}}, in.numbers))
	sum := must(in.params.NewSum(in.params.Schema().MetricCoefficients(0)))
	if _, err := in.hours.columns.AddTo(t.Context(), sum, want); err != nil || sum.Rows() != 0 {
		t.Errorf("columns have %d rows of the device (%v)", sum.Rows(), err)
	}
}
