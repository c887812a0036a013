package recording

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitalveil/vitalveil/wearable"
)

// Limits of a replay. They bound memory before anything is kept.
const (
	maxReplaySamples = 20_000_000
	maxReplayPeople  = 100_000
	maxFieldBytes    = 256
	maxReplaySeconds = 3653 * 86400 // ten years
)

// columns of a replay file, in any order.
var columns = [...]string{"subject", "t_seconds", "metric", "value", "unit"}

// aliases are the only foreign names of metrics that are taken.
var aliases = map[string]string{"nibp_sys": "bp_systolic", "nibp_dia": "bp_diastolic"}

// Load reads every *.csv and *.csv.gz below dir. An error names the file
// and, where there is one, the line.
func Load(dir string) (*Source, error) {
	files, err := replayFiles(dir)
	if err != nil {
		return nil, err
	}
	l := loader{people: map[string]*Person{}, ignored: map[string]bool{}}
	for _, f := range files {
		if err := l.file(f); err != nil {
			return nil, err
		}
	}
	if l.known == 0 {
		return nil, fmt.Errorf("%s: no reading of a known metric in %d files (ignored: %s); \"vitalveil metrics\" lists the known ones",
			dir, len(files), strings.Join(l.ignoredNames(), ", "))
	}
	src := &Source{Name: dir, Recorded: true, Ignored: l.ignoredNames()}
	for _, id := range slices.Sorted(maps.Keys(l.people)) {
		p := l.people[id]
		sortSamples(p.Samples)
		src.People = append(src.People, p)
	}
	return src, nil
}

func replayFiles(dir string) ([]string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("replay: %s is not a directory", dir)
	}
	var files []string
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() && (strings.HasSuffix(path, ".csv") || strings.HasSuffix(path, ".csv.gz")) {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("replay: no *.csv or *.csv.gz file below %s", dir)
	}
	return files, nil
}

// loader gathers subjects over several files.
type loader struct {
	people  map[string]*Person
	ignored map[string]bool
	known   int
}

func (l *loader) ignoredNames() []string {
	return slices.AppendSeq([]string{}, slices.Values(slices.Sorted(maps.Keys(l.ignored))))
}

func (l *loader) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return fmt.Errorf("%s: not a gzip file: %w", path, err)
		}
		defer z.Close()
		r = z
	}
	return l.rows(path, r)
}

// rows reads one file. The CSV reader is told the number of fields by the
// header, so that a short or long row is an error of its own.
func (l *loader) rows(path string, r io.Reader) error {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	header, err := c.Read()
	if err == io.EOF {
		return fmt.Errorf("%s:1: empty file, want the header %s", path, strings.Join(columns[:], ","))
	}
	if err != nil {
		return fmt.Errorf("%s:1: %w", path, readable(err))
	}
	at, err := header2columns(header)
	if err != nil {
		return fmt.Errorf("%s:1: %w", path, err)
	}
	line := 1
	for {
		rec, err := c.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", path, failedLine(err, line), readable(err))
		}
		line, _ = c.FieldPos(0)
		if err := l.row(rec, at); err != nil {
			return fmt.Errorf("%s:%d: %w", path, line, err)
		}
	}
}

// failedLine is the line that could not be read, given the last that could.
func failedLine(err error, last int) int {
	if e := (*csv.ParseError)(nil); errors.As(err, &e) {
		return e.Line
	}
	return last + 1
}

// readable says in words what a damaged gzip stream is.
func readable(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the file is cut off: %w", err)
	}
	if e := (*csv.ParseError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

func header2columns(header []string) ([len(columns)]int, error) {
	var at [len(columns)]int
	for i, want := range columns {
		at[i] = slices.Index(header, want)
		if at[i] < 0 {
			return at, fmt.Errorf("missing column %q, want the header %s", want, strings.Join(columns[:], ","))
		}
	}
	if len(header) != len(columns) {
		return at, fmt.Errorf("%d columns, want exactly %s", len(header), strings.Join(columns[:], ","))
	}
	return at, nil
}

func (l *loader) row(rec []string, at [len(columns)]int) error {
	for i, name := range columns {
		if f := rec[at[i]]; f == "" || len(f) > maxFieldBytes {
			return fmt.Errorf("%s is empty or longer than %d bytes", name, maxFieldBytes)
		}
	}
	id, metric, unit := rec[at[0]], rec[at[2]], rec[at[4]]
	sec, err := floorSeconds(rec[at[1]])
	if err != nil {
		return err
	}
	value, err := wearable.ParseDecimal(rec[at[3]])
	if err != nil {
		return fmt.Errorf("value %q: %w", rec[at[3]], err)
	}
	p := l.people[id]
	if p == nil {
		if len(l.people) == maxReplayPeople {
			return fmt.Errorf("more than %d subjects", maxReplayPeople)
		}
		p = &Person{ID: strings.Clone(id)}
		l.people[p.ID] = p
	}
	if a, ok := aliases[metric]; ok {
		metric = a
	}
	m, ok := wearable.ByKey(metric)
	if !ok || !m.Vital() {
		l.ignored[strings.Clone(metric)] = true
		return nil
	}
	if unit != m.UCUM {
		return fmt.Errorf("unit %q for %s, want %q", unit, metric, m.UCUM)
	}
	if l.known++; l.known > maxReplaySamples {
		return fmt.Errorf("more than %d readings; replay a part of the data", maxReplaySamples)
	}
	p.Samples = append(p.Samples, Sample{Unix: Epoch + sec, Slot: m.Slot, Value: value})
	return nil
}

// floorSeconds reads t_seconds exactly and rounds down: -0.5 is second -1.
func floorSeconds(s string) (int64, error) {
	t, err := wearable.ParseDecimal(s)
	if err != nil {
		return 0, fmt.Errorf("t_seconds %q: %w", s, err)
	}
	sec := t.FloorDiv(1)
	if sec > maxReplaySeconds || sec < -maxReplaySeconds {
		return 0, fmt.Errorf("t_seconds %s is more than ten years from 2025-01-01", s)
	}
	return sec, nil
}
