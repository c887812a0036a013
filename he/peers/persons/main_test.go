package main

import (
	"strings"
	"testing"
)

// TestOursIsNearTheLibraryAndAheadOfItInAStudy on synthetic people, with fewer releases
// and room for chance; the command with its thousand is in docs/performance.md.
func TestOursIsNearTheLibraryAndAheadOfItInAStudy(t *testing.T) {
	sets, err := load("")
	if err != nil {
		t.Fatal(err)
	}
	if len(sets) != 9 {
		t.Fatalf("%d metrics", len(sets))
	}
	for _, s := range sets {
		if len(s.days) != 200 {
			t.Errorf("%s: %d people", s.Key, len(s.days))
		}
		ours, theirs, err := s.both(figures[0], 400, 284_000, 3.8, delta, 1)
		if err != nil {
			t.Fatal(err)
		}
		if ours > 2*theirs {
			t.Errorf("%s: a mean alone is off by %v, the library's by %v", s.Key, ours, theirs)
		}
		if ours, theirs, err = s.both(figures[0], 400, 71_000, 6./9, delta/9, 1); err != nil {
			t.Fatal(err)
		}
		if ours > theirs {
			t.Errorf("%s: a mean of a study is off by %v, the library's by %v", s.Key, ours, theirs)
		}
	}
}

func TestReadingsThatCannotBeReadAreRefused(t *testing.T) {
	if _, err := load("does-not-exist.csv"); err == nil {
		t.Error("a file that does not exist is read")
	}
	var out strings.Builder
	if err := run(&out, "", 0, 1, 1); err == nil {
		t.Error("no releases are compared")
	}
}
