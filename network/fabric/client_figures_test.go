package fabric_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/fabric"
	"github.com/vitalveil/vitalveil/network/fabric/launch"
	"github.com/vitalveil/vitalveil/network/fabric/launch/launchtest"
)

// TestFigures measures submissions and evaluations by one and by many
// goroutines. It prints and asserts nothing but success.
func TestFigures(t *testing.T) {
	if os.Getenv("VITALVEIL_SOAK") == "" {
		t.Skip("SKIPPED: measures for half a minute; set VITALVEIL_SOAK=1")
	}
	n := launchtest.Up(t, launch.Options{})
	p, err := n.Profile()
	if err != nil {
		t.Fatal(err)
	}
	c := fabric.ConnectFor(t, p, member(t, p, ownOrg))
	if _, err := c.Submit(t.Context(), network.Call{Function: "put", Args: []string{"warm", "up"}}); err != nil {
		t.Fatal(err)
	}
	for _, clients := range []int{1, 16, 64} {
		measure(t, "submit", clients, 5*time.Second, func(ctx context.Context, i int64) error {
			key := fmt.Sprintf("%d/%d", clients, i)
			_, err := c.Submit(ctx, network.Call{Function: "put", Args: []string{key, "value"}})
			return err
		})
	}
	for _, clients := range []int{1, 16} {
		measure(t, "evaluate", clients, 3*time.Second, func(ctx context.Context, _ int64) error {
			_, err := c.Evaluate(ctx, network.Call{Function: "get", Args: []string{"warm"}})
			return err
		})
	}
	height, err := c.Height(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	begin, blocks := time.Now(), 0
	for b, err := range c.Blocks(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		blocks++
		if b.Number+1 >= height {
			break
		}
	}
	t.Logf("%d blocks followed in %v", blocks, time.Since(begin).Round(time.Millisecond))
}

func measure(t *testing.T, what string, clients int, d time.Duration, f func(context.Context, int64) error) {
	t.Helper()
	var next atomic.Int64
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	begin := time.Now()
	for range clients {
		wg.Go(func() {
			for time.Since(begin) < d {
				start := time.Now()
				err := f(t.Context(), next.Add(1))
				mu.Lock()
				took = append(took, time.Since(start))
				mu.Unlock()
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	all := time.Since(begin)
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[int(float64(len(took)-1)*q)].Round(time.Millisecond / 10) }
	t.Logf("%s, %d at once: %.0f a second, median %v, 95 %% %v, 99 %% %v, longest %v", what, clients,
		float64(len(took))/all.Seconds(), at(0.5), at(0.95), at(0.99), at(1))
}
