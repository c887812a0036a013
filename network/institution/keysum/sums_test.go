package keysum

import (
	"bytes"
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
	log     *bytes.Buffer
	store   *store.Store
	sums    *Sums
	devices []record.ID
}

func newSumsWorld(t *testing.T, devices int) *sumsWorld {
	w := &sumsWorld{params: must(he.New(he.DefaultProfile(), privacy.V1(), must(he.NewSharing(3, 2)))), dir: filepath.Join(t.TempDir(), "state"), log: &bytes.Buffer{}}
	w.store = must(store.Open(w.dir, ""))
	t.Cleanup(func() { w.store.Close() })
	var seeds []store.Entry
	for i := range devices {
		w.devices = append(w.devices, record.SumID(fmt.Append(nil, i)))
		seed := he.NewSeed()
		seeds = append(seeds, store.Entry{Name: store.Seed(w.devices[i], 1), Value: seed[:]})
	}
	if err := w.store.PutAll(seeds...); err != nil {
		t.Fatal(err)
	}
	w.open(t)
	return w
}

// open starts afresh from what is on disk.
func (w *sumsWorld) open(t *testing.T) {
	w.sums = must(New(w.params, he.Context{Network: "n"}, []int{1}, w.store, NewNumbers(func(from int) []record.ID { return w.devices[from:] }), slog.New(slog.NewTextHandler(w.log, nil))))
}

// fresh is the sum from the seeds, without anything kept.
func (w *sumsWorld) fresh(set Set) he.KeySum {
	sum := w.sums.params.NewKeySum()
	for n, d := range w.devices {
		if set.Has(n) {
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
		sets := make([]Set, len(scopes))
		for range 4 {
			scope := rapid.IntRange(0, len(scopes)-1).Draw(r, "scope")
			for _, n := range rapid.SliceOfN(rapid.IntRange(0, len(w.devices)-1), 0, 8).Draw(r, "changes") {
				sets[scope].Flip(n)
			}
			switch rapid.IntRange(0, 4).Draw(r, "then") {
			case 0:
				w.open(t)
			case 1:
				if err := w.sums.Retain(map[record.ID]bool{scopes[scope]: true}); err != nil {
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
	all := must(w.sums.numbers.Set(w.devices))
	if err := w.sums.keep(1, record.ID{1}, all); err != nil {
		t.Fatal(err)
	}
	w.open(t) // nothing is expanded yet
	all.Flip(7)
	if _, err := w.sums.over(1, all, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(w.sums.secrets.entries); n != 1 {
		t.Errorf("%d devices were expanded for a set that differs by one", n)
	}
}

func TestDamagedKeySumIsMadeAgain(t *testing.T) {
	w := newSumsWorld(t, 5)
	all := must(w.sums.numbers.Set(w.devices))
	name := sumName{1, record.ID{1}}
	if err := w.sums.keep(1, name.scope, all); err != nil {
		t.Fatal(err)
	}
	whole, _, err := w.store.Get(name.String())
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
		if err := w.store.Put(name.String(), damage(slices.Clone(whole))); err != nil {
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
	all := must(w.sums.numbers.Set(w.devices))
	without := all.clone()
	without.Flip(3)
	for i, set := range []Set{all, without} {
		if err := w.sums.keep(1, record.ID{byte(i)}, set); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.sums.Drop(w.devices[3]); err != nil {
		t.Fatal(err)
	}
	err := w.sums.keep(1, record.ID{0}, all)
	if fault.Of(err) != fault.Conflict {
		t.Errorf("a sum with the erased device is kept again: %v", err)
	}
	names := must(w.store.Names(store.KeySums))
	if len(names) != 1 || len(w.sums.kept) != 1 {
		t.Fatalf("stored are %v", names)
	}
	w.open(t)
	for _, s := range w.sums.kept {
		if s.set.Has(3) {
			t.Error("after a restart the device is in a kept sum")
		}
	}
}

// TestDroppedDeviceIsNotInMemory: an expanded piece is forgotten, and not kept again by
// who was expanding it.
func TestDroppedDeviceIsNotInMemory(t *testing.T) {
	w := newSumsWorld(t, 2)
	for range 2 {
		for _, d := range w.devices {
			must(w.sums.Secret(d, 1))
		}
		if err := w.sums.Drop(w.devices[1]); err != nil {
			t.Fatal(err)
		}
		if n := len(w.sums.secrets.entries); n != 1 {
			t.Errorf("%d expanded pieces are in memory, want the other device's", n)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
