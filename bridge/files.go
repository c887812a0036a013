package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
)

// storeVersion is the version of the store's schema that this package writes.
// Version 1 had no corrections; hours that it sealed take none. Version 2 kept no
// pointers that were refused to be offered again. Version 3 had one sensor for each metric,
// did not know a sample again, and had no day rows.
const storeVersion = 4

// ErrNewer says that the store was written by a newer version of this program.
// Upgrade; an older program cannot know what the newer one has sealed.
var ErrNewer = state.ErrNewer

// mark says how much of a device may have left this installation: rows of the Unix hours
// before Hour, the first Corrected corrections that it sealed, and root and row of the
// Unix days before Day.
type mark struct{ Hour, Corrected, Day int64 }

// most is a mark that covers both.
func (m mark) most(o mark) mark {
	return mark{max(m.Hour, o.Hour), max(m.Corrected, o.Corrected), max(m.Day, o.Day)}
}

// ahead reports whether a mark covers what a device in this state has not sealed.
func (m mark) ahead(s *deviceState) bool { return s.mark().most(m) != s.mark() }

// marks is the content of the rollback guard.
type marks struct {
	Version   int              `json:"version"`
	Sealed    map[string]int64 `json:"sealed"`
	Corrected map[string]int64 `json:"corrected,omitempty"`
	Days      map[string]int64 `json:"days,omitempty"`
}

const maxGuard = 16 << 20

// loadMarks reads the rollback guard; a missing one has no marks.
func loadMarks(path string) (map[record.ID]mark, error) {
	sealed := map[record.ID]mark{}
	data, err := state.ReadFile(path, maxGuard)
	if errors.Is(err, fs.ErrNotExist) {
		return sealed, nil
	}
	if err != nil {
		return nil, err
	}
	var m marks
	if err := record.DecodeJSON(data, maxGuard, &m); err != nil {
		return nil, fmt.Errorf("%w: rollback guard %s: %v", ErrDamaged, path, err)
	}
	if m.Version > storeVersion {
		return nil, fmt.Errorf("%w: rollback guard %s has version %d", ErrNewer, path, m.Version)
	}
	for text, hour := range m.Sealed {
		id, err := record.ParseID(text)
		if err != nil {
			return nil, fmt.Errorf("%w: rollback guard %s: %v", ErrDamaged, path, err)
		}
		day, said := m.Days[text]
		if !said { // by a version without day rows
			day = dayOfHour(-maxHour)
		}
		sealed[id] = mark{hour, m.Corrected[text], day}
	}
	return sealed, nil
}

// saveMarks replaces the rollback guard; it is durable on return.
func saveMarks(path string, sealed map[record.ID]mark) error {
	m := marks{Version: storeVersion, Sealed: make(map[string]int64, len(sealed)), Corrected: map[string]int64{}, Days: map[string]int64{}}
	for id, k := range sealed {
		m.Sealed[id.String()] = k.Hour
		m.Days[id.String()] = k.Day
		if k.Corrected > 0 {
			m.Corrected[id.String()] = k.Corrected
		}
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return state.WriteFile(path, data)
}
