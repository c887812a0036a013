// Command persons puts statistics about people, as package he/privacy releases them
// from sealed day rows, beside Google's library for differential privacy (v3), which
// sees every reading, in one run on the same person-days:
//
//   - each figure asked alone at one epsilon and delta,
//   - the mean of every metric in one study at one total epsilon and delta.
//
// An ideal curator stands beside both: one Gaussian noise instead of one a piece, split
// as ours is, with exact accounting. It shows what the pieces and the accounting cost,
// so that nobody takes what the library's composition loses for our merit.
//
//	go run ./persons                    200 synthetic people
//	go run ./persons -replay DIR        recorded people (CSV files, as the demo replays them) as well
//
// It ends with a verdict, and fails where a ratio of errors is above its bar. Our noise is
// seeded here; the library's has no seed but in the test.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	replay := flag.String("replay", "", "directory of CSV files (subject,t_seconds,metric,value,unit; plain or gzip) to compare on besides 200 synthetic people")
	runs := flag.Int("runs", 1000, "releases of each figure")
	flag.Parse()
	if err := run(os.Stdout, *replay, *runs); err != nil {
		fmt.Fprintln(os.Stderr, "persons:", err)
		os.Exit(1)
	}
}

// What is spent: on each figure that is asked alone, and on a whole study.
const (
	aloneEpsilon = 3.8
	studyEpsilon = 6
	delta        = 1e-6
)

func run(w io.Writer, replay string, runs int) error {
	if runs < 1 || runs > 1_000_000 {
		return fmt.Errorf("runs are from 1 to 1,000,000")
	}
	r := worst{}
	for _, from := range []string{"", replay} {
		if from == "" && len(r) > 0 {
			break
		}
		sets, err := load(from)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "\n# %s\n\n", title(from))
		if err := compareAlone(w, sets, figures, runs, aloneEpsilon, r); err != nil {
			return err
		}
		if err := compareStudy(w, sets, runs, studyEpsilon, r); err != nil {
			return err
		}
		if err := byNeed(w, sets); err != nil {
			return err
		}
	}
	return r.verdict(w)
}

func title(replay string) string {
	if replay == "" {
		return "200 synthetic people"
	}
	return filepath.Base(replay)
}
