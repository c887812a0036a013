package state

import "fmt"

// Quiet is the logger of a database below a state directory: it drops the
// database's chatter, since what matters comes back to the caller as an error.
type Quiet struct{}

// Infof drops it.
func (Quiet) Infof(string, ...any) {}

// Errorf drops it.
func (Quiet) Errorf(string, ...any) {}

// Fatalf is called when the database cannot go on without losing what it
// promised, such as a full disk while it writes its log: only a restart can tell
// what is there.
func (Quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf("database: "+format, args...)) }
