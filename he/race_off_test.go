//go:build !race

package he

const raced = false
