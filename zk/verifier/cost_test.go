//go:build unix

package verifier

import (
	"slices"
	"syscall"
	"testing"
	"time"
)

// processorTime is what this process has used.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Fifty claims cost a fraction of fifty verifications. The bound leaves room for a machine
// that is busy; -v prints the figure.
func TestABatchOfFiftyIsCheap(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for seconds")
	}
	f, v := readFixture(t)
	batch := claims(t, f, 50)
	var ratios []float64
	for range 5 {
		start := processorTime(t)
		for _, err := range v.VerifyAll(batch) {
			if err != nil {
				t.Fatal(err)
			}
		}
		together := processorTime(t) - start
		start = processorTime(t)
		for _, c := range batch {
			if err := v.Verify(c.Statement, c.Proof); err != nil {
				t.Fatal(err)
			}
		}
		alone := processorTime(t) - start
		t.Logf("together %v, one by one %v", together, alone)
		ratios = append(ratios, together.Seconds()/alone.Seconds())
	}
	slices.Sort(ratios)
	t.Logf("together over one by one: %.3f, processor time, median of 5", ratios[2])
	if ratios[2] > 0.25 {
		t.Errorf("a batch costs %.2f of its claims one by one", ratios[2])
	}
}
