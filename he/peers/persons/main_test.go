package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/cryptotest"
)

// TestRatiosAreWithinTheirBars makes a thousand releases of each figure on either side,
// all of them seeded: the library's randomness comes from crypto/rand, which a test can
// replace. With VITALVEIL_SOAK=1 every figure and the recorded people are compared, else
// the means of synthetic ones.
func TestRatiosAreWithinTheirBars(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	var out strings.Builder
	defer func() { t.Log(out.String()) }()
	if os.Getenv("VITALVEIL_SOAK") == "1" {
		replay := filepath.Join("..", "..", "..", "..", "shared", "data", "vitals", "icu2012")
		if _, err := os.Stat(replay); err != nil {
			t.Logf("SKIPPED, in part: recorded vitals are not beside this checkout (%v)", err)
			replay = ""
		}
		if err := run(&out, replay, 1000); err != nil {
			t.Error(err)
		}
		return
	}
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
	}
	r := worst{}
	if err := compareAlone(&out, sets, figures[:1], 1000, aloneEpsilon, r); err != nil {
		t.Fatal(err)
	}
	if err := compareStudy(&out, sets, 1000, studyEpsilon, r); err != nil {
		t.Fatal(err)
	}
	if err := r.verdict(&out); err != nil || r["mean"] < 0.5 || r[study] < 0.1 {
		t.Errorf("%v, %v: implausible, or above its bar", r, err)
	}
}

func TestARatioAboveItsBarFails(t *testing.T) {
	r := worst{}
	r.note("mean", 1.36)
	r.note("mean", 1)
	if err := r.verdict(new(strings.Builder)); err == nil || !strings.Contains(err.Error(), "mean") {
		t.Errorf("a mean that is off by 1.36 times the library's error: %v", err)
	}
}

func TestReadingsThatCannotBeReadAreRefused(t *testing.T) {
	if _, err := load("does-not-exist"); err == nil {
		t.Error("a directory that does not exist is read")
	}
	var out strings.Builder
	if err := run(&out, "", 0); err == nil {
		t.Error("no releases are compared")
	}
}
