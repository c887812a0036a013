package institution

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

func TestGroupsCoverEveryHourOnceWithTheDevicesPresent(t *testing.T) {
	params, err := he.New(he.DefaultProfile(), privacy.V1(), must(he.NewSharing(3, 2)))
	if err != nil {
		t.Fatal(err)
	}
	v := openedStore(t, filepath.Join(t.TempDir(), "state"))
	defer v.Close()
	in := &Institution{params: params, context: he.Context{Network: "n"}}
	in.secrets = newSecrets(params, in.context, v)
	var devices []record.ID
	for i := range 5 {
		devices = append(devices, record.SumID(fmt.Append(nil, i)))
		seed := he.NewSeed()
		if err := v.Put(store.Seed(devices[i], 1), seed[:]); err != nil {
			t.Fatal(err)
		}
	}
	slices.SortFunc(devices, record.ID.Compare)
	in.sums = newKeySums(in.secrets, func(from int) []record.ID { return devices[from:] }, slog.New(slog.DiscardHandler))
	rapid.Check(t, func(t *rapid.T) {
		var members []record.CohortMember
		present := map[int64][]int{}
		for i, d := range devices {
			m := record.CohortMember{Device: d}
			for h := range int64(12) {
				if rapid.IntRange(0, 3).Draw(t, "absent") == 0 {
					continue
				}
				present[h] = append(present[h], i)
				if n := len(m.Ranges); n > 0 && m.Ranges[n-1][1] == h {
					m.Ranges[n-1][1]++
				} else {
					m.Ranges = append(m.Ranges, [2]int64{h, h + 1})
				}
			}
			if len(m.Ranges) > 0 {
				members = append(members, m)
			}
		}
		groups, err := in.groups(members, 1)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[int64]bool{}
		patterns := map[string]bool{}
		for _, g := range groups {
			for _, w := range g.Windows {
				if seen[w.Hour] {
					t.Fatalf("hour %d is in two groups", w.Hour)
				}
				seen[w.Hour] = true
				patterns[fmt.Sprint(present[w.Hour])] = true
				want := params.NewKeySum()
				for _, i := range present[w.Hour] {
					secret, err := in.secrets.get(pieceOf{devices[i], 1})
					if err != nil {
						t.Fatal(err)
					}
					if err := want.Add(secret); err != nil {
						t.Fatal(err)
					}
				}
				if !slices.Equal(want, g.Secret) {
					t.Fatalf("hour %d: the sum is not that of devices %v", w.Hour, present[w.Hour])
				}
			}
		}
		if len(seen) != len(present) || len(groups) != len(patterns) {
			t.Fatalf("%d hours in %d groups, want %d in %d", len(seen), len(groups), len(present), len(patterns))
		}
	})
}

func TestSecretWhoseSeedIsLostIsAnError(t *testing.T) {
	params := must(he.New(he.DefaultProfile(), privacy.V1(), must(he.NewSharing(3, 2))))
	v := openedStore(t, filepath.Join(t.TempDir(), "state"))
	defer v.Close()
	s := newSecrets(params, he.Context{Network: "n"}, v)
	if _, err := s.get(pieceOf{record.RandomID(), 0}); err == nil {
		t.Error("a seed that is not stored has a secret")
	}
}
