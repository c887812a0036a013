package keysum

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
)

func TestGroupsCoverEveryHourOnceWithTheDevicesPresent(t *testing.T) {
	w := newSumsWorld(t, 5)
	rapid.Check(t, func(t *rapid.T) {
		var members []record.CohortMember
		present := map[int64][]int{}
		for i, d := range w.devices {
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
		groups, err := w.sums.Groups(members, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[int64]bool{}
		patterns := map[string]bool{}
		for _, g := range groups {
			for _, at := range g.Windows {
				if seen[at.Hour] {
					t.Fatalf("hour %d is in two groups", at.Hour)
				}
				seen[at.Hour] = true
				patterns[fmt.Sprint(present[at.Hour])] = true
				want := w.params.NewKeySum()
				for _, i := range present[at.Hour] {
					secret, err := w.sums.Secret(w.devices[i], 1)
					if err != nil {
						t.Fatal(err)
					}
					if err := want.Add(secret); err != nil {
						t.Fatal(err)
					}
				}
				if !slices.Equal(want, g.Secret) {
					t.Fatalf("hour %d: the sum is not that of devices %v", at.Hour, present[at.Hour])
				}
			}
		}
		if len(seen) != len(present) || len(groups) != len(patterns) {
			t.Fatalf("%d hours in %d groups, want %d in %d", len(seen), len(groups), len(present), len(patterns))
		}
	})
}

func TestSecretWhoseSeedIsLostIsAnError(t *testing.T) {
	if _, err := newSumsWorld(t, 0).sums.Secret(record.RandomID(), 0); err == nil {
		t.Error("a seed that is not stored has a secret")
	}
}

func TestLateGroupsCoverEveryCorrectionOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := map[string]int{}
		devices := map[int]bool{}
		windows := map[he.Window]bool{}
		members := make([]record.CohortMember, rapid.IntRange(0, 5).Draw(t, "members"))
		for i := range members {
			for h := range rapid.Int64Range(0, 5).Draw(t, "hours") {
				for n := int64(1); n <= rapid.Int64Range(0, 3).Draw(t, "corrections"); n++ {
					members[i].Corrections = append(members[i].Corrections, [2]int64{h, n})
					w := he.Window{Hour: h, Correction: uint8(n)}
					want[fmt.Sprint(i, w)]++
					devices[i], windows[w] = true, true
				}
			}
		}
		groups := lateGroupsOf(members)
		if len(groups) > min(len(devices), len(windows)) {
			t.Fatalf("%d groups for %d devices and %d windows", len(groups), len(devices), len(windows))
		}
		for _, g := range groups {
			for _, i := range g.members {
				for _, w := range g.windows {
					want[fmt.Sprint(i, w)]--
				}
			}
		}
		for what, left := range want {
			if left != 0 {
				t.Fatalf("%s is left %d times", what, left)
			}
		}
	})
}
