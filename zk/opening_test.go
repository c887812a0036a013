package zk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

func mustCommit(t testing.TB, day int64, columns map[int][]uint16) (*Opening, [32]byte) {
	t.Helper()
	root, o, err := Commit(day, columns)
	if err != nil {
		t.Fatal(err)
	}
	return o, root
}

func TestOpeningRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		columns := map[int][]uint16{}
		for range rapid.IntRange(0, 3).Draw(rt, "columns") {
			columns[rapid.IntRange(0, 8).Draw(rt, "slot")] = column([3]int{rapid.IntRange(0, 1439).Draw(rt, "from"), 1440, 3})
		}
		root, o, err := Commit(rapid.Int64Range(verifier.MinDay, verifier.MaxDay).Draw(rt, "day"), columns)
		if err != nil {
			rt.Fatal(err)
		}
		kept, err := o.MarshalBinary()
		if err != nil {
			rt.Fatal(err)
		}
		var back Opening
		if err := back.UnmarshalBinary(kept); err != nil {
			rt.Fatal(err)
		}
		again, err := back.Root()
		if err != nil {
			rt.Fatal(err)
		}
		if again != root || verifier.CheckRoot(root) != nil {
			rt.Fatalf("root %s after the round trip, want %s", again, root)
		}
	})
}

func TestOpeningRefusesOtherBytes(t *testing.T) {
	o, _ := mustCommit(t, newYear, map[int][]uint16{heartRate: column([3]int{0, 9, 5})})
	kept, err := o.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	badCode := bytes.Clone(kept)
	badCode[len(badCode)-2] = 0xff
	badDay := bytes.Clone(kept)
	badDay[1+32+1] = 0x7f
	for name, data := range map[string][]byte{
		"nothing":                         nil,
		"another version":                 append([]byte{9}, kept[1:]...),
		"the secret only":                 kept[:33],
		"a byte too few":                  kept[:len(kept)-1],
		"a byte too many":                 append(bytes.Clone(kept), 0),
		"a code the metric does not have": badCode,
		"a day beyond the calendar":       badDay,
	} {
		if err := new(Opening).UnmarshalBinary(data); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func FuzzOpening(f *testing.F) {
	o, _ := mustCommit(f, newYear, map[int][]uint16{heartRate: column([3]int{0, 9, 5})})
	kept, err := o.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(kept)
	f.Add(kept[:44])
	f.Fuzz(func(t *testing.T, data []byte) {
		var o Opening
		if o.UnmarshalBinary(data) != nil {
			return
		}
		again, err := o.MarshalBinary()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("an opening has two forms: %v", err)
		}
	})
}

func TestOpeningPrintsRedacted(t *testing.T) {
	o, _ := mustCommit(t, newYear, map[int][]uint16{heartRate: full(57)})
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "pointer", o, "value", *o)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "pointer", o, "value", *o)
	printed := []string{log.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		printed = append(printed, fmt.Sprintf(verb, o), fmt.Sprintf(verb, *o), fmt.Sprintf(verb, []any{o, *o}))
	}
	text, err := json.Marshal([]any{o, *o})
	if err != nil {
		t.Fatal(err)
	}
	printed = append(printed, string(text))
	for _, p := range printed {
		if strings.Contains(p, "57 57") || strings.Contains(p, fmt.Sprint(o.secret[0], " ", o.secret[1])) || !strings.Contains(p, redacted) {
			t.Errorf("not redacted: %.200s", p)
		}
	}
}

func TestCommitRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		day     int64
		columns map[int][]uint16
	}{
		"a short column":                    {newYear, map[int][]uint16{0: make([]uint16, 1439)}},
		"a long column":                     {newYear, map[int][]uint16{0: make([]uint16, 1441)}},
		"a slot below":                      {newYear, map[int][]uint16{-1: column()}},
		"a slot above":                      {newYear, map[int][]uint16{16: column()}},
		"readings in a slot without metric": {newYear, map[int][]uint16{15: full(1)}},
		"a code above the largest":          {newYear, map[int][]uint16{heartRate: column([3]int{9, 10, 202})}},
		"a day after the calendar":          {verifier.MaxDay + 1, nil},
		"a day before it":                   {verifier.MinDay - 1, nil},
	} {
		if _, _, err := Commit(c.day, c.columns); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// Which metrics a day has must not show: a column without readings is as salted
// as any, and one left out is one with zeros only.
func TestEmptyColumnsAreHidden(t *testing.T) {
	o, root := mustCommit(t, newYear, map[int][]uint16{heartRate: column([3]int{0, 9, 5})})
	tree, err := o.tree()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[verifier.Element]bool{}
	for slot := range verifier.Slots {
		path, err := tree.Path(slot ^ 1) // the neighbour has the slot as a sibling
		if err != nil {
			t.Fatal(err)
		}
		leaf := path[0][slot%verifier.Arity]
		if seen[leaf] {
			t.Errorf("the column of slot %d occurs twice", slot)
		}
		seen[leaf] = true
	}
	o.day.Columns[spo2] = new(wearable.Column)
	if again, err := o.Root(); err != nil || again != root {
		t.Errorf("a column of zeros makes another root: %v", err)
	}
}

func TestEachCommitmentHasItsOwnSecret(t *testing.T) {
	day := wearable.Day{Number: newYear}
	if err := day.Set(heartRate, 3, 50); err != nil {
		t.Fatal(err)
	}
	first, a, err := CommitDay(&day)
	if err != nil {
		t.Fatal(err)
	}
	second, b, err := CommitDay(&day)
	if err != nil {
		t.Fatal(err)
	}
	if first == second || a.secret == b.secret {
		t.Error("two commitments to one day are linked")
	}
	if err := day.Set(heartRate, 4, 50); err != nil {
		t.Fatal(err)
	}
	if again, err := a.Root(); err != nil || again != first {
		t.Errorf("the opening follows the caller's day: %v", err)
	}
}

// Salts of one secret differ between slots and days, and are those pinned here.
func TestSaltsAreSeparated(t *testing.T) {
	var o, next Opening
	next.day.Number = 1
	seen := map[verifier.Element]bool{}
	for _, o := range []*Opening{&o, &next} {
		for which := range 256 {
			salt, err := o.salt(byte(which))
			if err != nil {
				t.Fatal(err)
			}
			if seen[salt] {
				t.Errorf("salt %d of day %d occurs twice", which, o.Day())
			}
			seen[salt] = true
		}
	}
	salt, err := o.daySalt()
	if err != nil {
		t.Fatal(err)
	}
	if got := verifier.ToID(salt).String(); got != pinnedSalt {
		t.Errorf("the day salt of secret 0 on day 0 is %s, want %s", got, pinnedSalt)
	}
}

const pinnedSalt = "085cb677aaaa85ba2e6291b681b7298d8e863ecb5ce2a1aee7dd4ec59e287e7b"

func BenchmarkCommit(b *testing.B) {
	columns := map[int][]uint16{}
	for slot := range 9 {
		columns[slot] = full(50)
	}
	for name, columns := range map[string]map[int][]uint16{"9 columns": columns, "empty": nil} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := Commit(newYear, columns); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
