package bridge

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
)

// spoilTables cuts the store's tables short under an open hub: to whoever reads them
// the disk fails.
func spoilTables(t testing.TB, dir string) {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "store", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables in %s: %v", dir, err)
	}
	for _, table := range tables {
		if err := os.Truncate(table, 16); err != nil {
			t.Fatal(err)
		}
	}
}

// TestADiskThatFailsIsNotDamage: of a damaged store its owner is told never to use it
// again, of a failing disk to see to the disk. What was missing and what could not be
// read are told apart wherever the bridge reads what has to be there.
func TestADiskThatFailsIsNotDamage(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	h := w.hub(dir)
	d := sealedFor(t, w, h, 30)
	first := d.Document().FirstHour
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = w.hub(dir) // what the log held is in tables now
	d, _ = h.Device(d.ID())
	spoilTables(t, dir)

	all := uploadRecord{RowsFrom: first, RowsUntil: first + 30, DaysFrom: epochDay, DaysUntil: epochDay + 1, LateUntil: 1}
	for what, err := range map[string]error{
		"rows of an upload":   second(d.outbox.blob(all)),
		"a pointer":           onlyError(d.outbox.pointer(record.KindRow, first, 0)),
		"a row already there": (&sealing{device: d, state: d.state, days: map[int64]*openDay{}}).hour(first + 20),
		"a correction":        onlyError(d.outbox.late(0)),
		"the root of a day":   d.outbox.sign(nil, uploadRecord{DaysFrom: epochDay, DaysUntil: epochDay + 1}),
		"a day at hand":       onlyError((&sealing{device: d, state: d.state, days: map[int64]*openDay{}}).day(epochDay)),
		"what opens a day":    onlyError(d.predicates.openings(epochDay, []record.ID{{}})),
	} {
		if !errors.Is(err, ErrUnreadable) || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := h.Sync(t.Context()); !errors.Is(err, ErrUnreadable) || errors.Is(err, ErrDamaged) {
		t.Errorf("sync: %v", err)
	}
	if d.Retired() != "" {
		t.Error("a failing disk retired the device")
	}
}

func second[A, B any](_ A, _ B, err error) error { return err }

func onlyError[A any](_ A, err error) error { return err }

// TestWhatIsMissingIsDamage is the other of the two.
func TestWhatIsMissingIsDamage(t *testing.T) {
	w := newWorld(t)
	d := sealedFor(t, w, w.hub(filepath.Join(t.TempDir(), "hub")), 5)
	first := d.Document().FirstHour
	for what, err := range map[string]error{
		"rows of an upload": second(d.outbox.blob(uploadRecord{RowsFrom: first, RowsUntil: first + 6})),
		"a correction":      onlyError(d.outbox.late(0)),
		"a pointer":         onlyError(d.outbox.pointer(record.KindRow, first+6, 0)),
		"the root of a day": d.outbox.sign(nil, uploadRecord{DaysFrom: epochDay, DaysUntil: epochDay + 1}),
		"a second row":      (&sealing{device: d, state: d.state, days: map[int64]*openDay{}}).hour(first),
	} {
		if !errors.Is(err, ErrDamaged) || errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestNoErrorOfTheBridgeMeansTwoThings reads the source: what could not be read is
// never joined to an accusation.
func TestNoErrorOfTheBridgeMeansTwoThings(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "errors.Join(fmt.Errorf(\"%w") && strings.Contains(line, "ErrDamaged") {
				t.Errorf("%s: %s", file, line)
			}
		}
	}
}
