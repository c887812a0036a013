package state

import (
	"github.com/vitalveil/vitalveil/internal/record"
)

// PointerRef is the argument of Pointer:Get. The state key of the pointer, as a
// JSON string, does as well.
type PointerRef struct {
	Device     record.ID `json:"device"`
	Kind       string    `json:"kind"`
	Index      int64     `json:"index"`
	Correction uint8     `json:"correction"`
}

// StudyRef is the argument of Study:Get. An empty owner means the caller, and a
// bare study identifier does as well.
type StudyRef struct {
	Owner string `json:"owner"`
	ID    string `json:"id"`
}
