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
//	go run ./persons -replay FILE.csv   recorded people (also .csv.gz)
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	replay := flag.String("replay", "", "CSV of readings (subject,t_seconds,metric,value,unit), plain or gzip; without it 200 synthetic people")
	runs := flag.Int("runs", 1000, "releases of each figure")
	alone := flag.Float64("alone", 3.8, "epsilon of each figure that is asked alone")
	study := flag.Float64("study", 6, "epsilon of the whole study")
	flag.Parse()
	if err := run(os.Stdout, *replay, *runs, *alone, *study); err != nil {
		fmt.Fprintln(os.Stderr, "persons:", err)
		os.Exit(1)
	}
}

// delta of every epsilon here.
const delta = 1e-6

func run(w io.Writer, replay string, runs int, alone, study float64) error {
	if runs < 1 || runs > 1_000_000 || !(alone > 0) || !(study > 0) {
		return fmt.Errorf("runs are from 1 to 1,000,000 and epsilons above 0")
	}
	sets, err := load(replay)
	if err != nil {
		return err
	}
	if err := compareAlone(w, sets, runs, alone); err != nil {
		return err
	}
	if err := compareStudy(w, sets, runs, study); err != nil {
		return err
	}
	return byNeed(w, sets)
}
