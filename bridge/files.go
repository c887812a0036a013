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
// and did not know a sample again.
const storeVersion = 4

// ErrNewer says that the store was written by a newer version of this program.
// Upgrade; an older program cannot know what the newer one has sealed.
var ErrNewer = state.ErrNewer

// mark says how much of a device may have left this installation: rows of the
// Unix hours before Hour, and the first Corrected corrections that it sealed.
type mark struct{ Hour, Corrected int64 }

// marks is the content of the rollback guard.
type marks struct {
	Version   int              `json:"version"`
	Sealed    map[string]int64 `json:"sealed"`
	Corrected map[string]int64 `json:"corrected,omitempty"`
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
		sealed[id] = mark{hour, m.Corrected[text]}
	}
	return sealed, nil
}

// saveMarks replaces the rollback guard; it is durable on return.
func saveMarks(path string, sealed map[record.ID]mark) error {
	m := marks{Version: storeVersion, Sealed: make(map[string]int64, len(sealed)), Corrected: map[string]int64{}}
	for id, k := range sealed {
		m.Sealed[id.String()] = k.Hour
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
