package keysum

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

func firstDevices(n int) Set {
	var s Set
	for i := range n {
		s.Flip(i)
	}
	return s
}

func TestLargeSumsEqualFreshOnes(t *testing.T) {
	w := newSumsWorld(t, 4*largeChange)
	rapid.Check(t, func(r *rapid.T) {
		var set Set
		from, step := rapid.IntRange(0, largeChange).Draw(r, "from"), rapid.IntRange(1, 3).Draw(r, "step")
		for i := from; i < len(w.devices); i += step {
			set.Flip(i)
		}
		got, err := w.sums.over(1, set, nil)
		if err != nil {
			r.Fatal(err)
		}
		if !slices.Equal(got.sum, w.fresh(set)) || got.set.distance(set) != 0 {
			r.Fatal("the sum is not the one that the seeds give")
		}
		clear(got.sum) // as its user does
	})
}

// TestSumThatManyNeedIsMadeOnce: a query that comes while the sum of its cohort is
// being brought up to date waits for it, and the other way round.
func TestSumThatManyNeedIsMadeOnce(t *testing.T) {
	w := newSumsWorld(t, manyDevices)
	set := firstDevices(manyDevices)
	want := w.fresh(set)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			if i%2 == 0 {
				if err := w.sums.keep(1, record.ID{1}, set); err != nil {
					t.Error(err)
				}
				return
			}
			got, err := w.sums.over(1, set, nil)
			if err != nil || !slices.Equal(got.sum, want) {
				t.Errorf("not the sum that the seeds give (%v)", err)
				return
			}
			clear(got.sum)
		})
	}
	wg.Wait()
	if n := strings.Count(w.log.String(), "making a key sum"); n != 1 {
		t.Errorf("the sum was made %d times", n)
	}
	w.open(t)
	if !w.sums.isKept(1, set) || !slices.Equal(must(w.sums.over(1, set, nil)).sum, want) {
		t.Error("the sum was not kept")
	}
}

func TestLargeSumNamesTheSeedThatIsMissing(t *testing.T) {
	w := newSumsWorld(t, largeChange)
	lost := w.devices[largeChange/2]
	if err := w.store.Remove(store.Seed(lost, 1)); err != nil {
		t.Fatal(err)
	}
	_, err := w.sums.over(1, firstDevices(largeChange), nil)
	if fault.Of(err) != fault.Internal || !strings.Contains(err.Error(), lost.Short()) {
		t.Errorf("got %v", err)
	}
}

// TestErasedDeviceIsInNoRememberedSum: neither in the one that was made last nor in
// one that is made from a list which still has the device.
func TestErasedDeviceIsInNoRememberedSum(t *testing.T) {
	w := newSumsWorld(t, largeChange+1)
	set := firstDevices(largeChange + 1)
	must(w.sums.over(1, set, nil))
	if w.sums.latest[1] == nil {
		t.Fatal("the sum is not remembered")
	}
	if err := w.sums.Drop(w.devices[3]); err != nil {
		t.Fatal(err)
	}
	if w.sums.latest[1] != nil {
		t.Error("a remembered sum has the device")
	}
	must(w.sums.over(1, set, nil))
	if w.sums.latest[1] != nil {
		t.Error("a later sum with the device is remembered")
	}
	set.Flip(3)
	must(w.sums.over(1, set, nil))
	if w.sums.latest[1] == nil {
		t.Error("a sum without the device is not remembered")
	}
	if err := w.sums.Clear(); err != nil || w.sums.latest[1] != nil {
		t.Errorf("a sum outlives its epoch (%v)", err)
	}
}
