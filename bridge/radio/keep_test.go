package radio

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/vitalveil/vitalveil/wearable/virtual"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// air is a radio by functions.
type air struct {
	Radio
	connect func(context.Context, string) (Link, error)
	closed  chan struct{}
}

func (a *air) Connect(ctx context.Context, address string) (Link, error) {
	return a.connect(ctx, address)
}

func (a *air) Close() error {
	if a.closed != nil {
		close(a.closed)
	}
	return nil
}

// silent is a link on which nothing happens.
type silent struct {
	Link
	done chan struct{}
}

func (s silent) Done() <-chan struct{} { return s.done }
func (silent) Err() error              { return nil }
func (silent) Close() error            { return nil }

func pool(a *air) *Pool {
	return NewPool(func(context.Context) (Radio, error) { return a, nil })
}

// The wait grows while connections bring nothing, and is short again after one that did. A
// connection that stands and is silent is none that did.
func TestTheWaitForASensorDependsOnWhatItBrought(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		useful := []time.Duration{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2 * time.Minute, 0}
		ctx, cancel := context.WithCancel(t.Context())
		var dialled []time.Time
		p := pool(&air{connect: func(context.Context, string) (Link, error) {
			dialled = append(dialled, time.Now())
			if len(dialled) > len(useful) {
				cancel()
				return nil, ctx.Err()
			}
			return silent{}, nil
		}})
		p.Keep(ctx, "strap", func(context.Context, Link) (time.Duration, error) { return useful[len(dialled)-1], nil }, func(State) {})
		for i := range len(useful) {
			wait := dialled[i+1].Sub(dialled[i])
			full := min(firstWait<<min(i, 20), mostWait)
			if i >= 10 {
				full = firstWait
			}
			if wait < full/2 || wait > full*3/2 {
				t.Errorf("after attempt %d the wait is %s, want about %s", i, wait, full)
			}
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatAPersonHasToMendIsNotHurried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start, n := time.Now(), 0
		var last State
		p := NewPool(func(context.Context) (Radio, error) {
			if n++; n == 3 {
				cancel()
			}
			return nil, ErrPrivilege
		})
		p.Keep(ctx, "strap", nil, func(s State) { last = s })
		if time.Since(start) < mostWait || !errors.Is(last.Problem, ErrPrivilege) {
			t.Errorf("tried %d times in %s, %v", n, time.Since(start), last.Problem)
		}
	})
}

// A radio that neither connects nor gives up is replaced, and other sensors go on.
func TestARadioThatHangsIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		late := silent{done: make(chan struct{})}
		wedged := &air{closed: make(chan struct{}), connect: func(context.Context, string) (Link, error) {
			<-hang // whatever the context says
			return late, nil
		}}
		good := &air{connect: func(context.Context, string) (Link, error) { return silent{}, nil }}
		radios := []*air{wedged, good}
		p := NewPool(func(context.Context) (Radio, error) {
			r := radios[0]
			radios = radios[1:]
			return r, nil
		})
		start := time.Now()
		if _, err := p.Connect(t.Context(), "a"); !errors.Is(err, ErrWedged) || time.Since(start) > dialTime+dialGrace {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		<-wedged.closed
		if _, err := p.Connect(t.Context(), "b"); err != nil || p.Wedged() != 1 {
			t.Errorf("the next radio: %v, replaced %d times", err, p.Wedged())
		}
		close(hang)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestOneSensorIsDialledAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dialling, most := 0, 0
		p := pool(&air{connect: func(context.Context, string) (Link, error) {
			dialling++
			most = max(most, dialling)
			time.Sleep(time.Second)
			dialling--
			return silent{}, nil
		}})
		for range 20 {
			go func() { _, _ = p.Connect(t.Context(), "x") }()
		}
		synctest.Wait()
		time.Sleep(30 * time.Second)
		if most != 1 {
			t.Errorf("%d at a time", most)
		}
	})
}

// Some radios never say that a connection is dead.
func TestAnAbruptEndIsNoticedWithinHalfAMinute(t *testing.T) {
	if quietTime+answerTime >= 30*time.Second {
		t.Fatalf("noticed after %s", quietTime+answerTime)
	}
	var mute atomic.Bool
	conn := script(t, func(request []byte) [][]byte {
		if mute.Load() {
			return nil
		}
		return [][]byte{honest(request)}
	})
	l, err := overATT(t.Context(), conn, 60*time.Millisecond, 30*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // it answers, so it stays
	select {
	case <-l.Done():
		t.Fatalf("a silent sensor that answers is let go: %v", l.Err())
	default:
	}
	mute.Store(true)
	<-l.Done()
	if !errors.Is(l.Err(), ErrSilent) {
		t.Errorf("ended by %v", l.Err())
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// 10,000 connections leak nothing.
func TestComplaintConnectionsLeakNothing(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 500
	}
	sensor := virtual.NewHeartRateStrap("strap")
	once := func() {
		central, peripheral := virtual.NewLink()
		served := make(chan error, 1)
		go func() { served <- sensor.Serve(peripheral) }()
		l, err := OverATT(t.Context(), central)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-served; err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		once()
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	heap, routines := m.HeapAlloc, runtime.NumGoroutine()
	for range n {
		once()
	}
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > heap+4<<20 {
		t.Errorf("%d connections leave %d bytes", n, m.HeapAlloc-heap)
	}
	var left []int
	for range 50 { // go-ble's goroutines end a little later
		if left = append(left, runtime.NumGoroutine()); left[len(left)-1] <= routines {
			return
		}
		runtime.Gosched()
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", slices.Min(left), routines)
}
