//go:build race

package he

// raced says that the race detector is on, under which ring arithmetic is twenty
// times slower.
const raced = true
