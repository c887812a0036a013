package radio

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	dialTime  = 30 * time.Second
	dialGrace = 10 * time.Second // for a radio that is told to stop
	firstWait = time.Second
	mostWait  = 5 * time.Minute
	// usefulTime is for how long a connection has to bring readings for the next attempt
	// to be made at once. A sensor that connects and is gone again is no reason to hurry.
	usefulTime = time.Minute
)

// ErrWedged says that the radio neither connected nor gave up. It was closed, and is opened
// anew.
var ErrWedged = errors.New("the radio hangs; it is opened anew")

// Pool lets many sensors share one radio: one is dialled at a time, and a radio that hangs is
// replaced.
type Pool struct {
	open func(context.Context) (Radio, error)
	dial chan struct{} // holds who dials

	mu     sync.Mutex
	radio  Radio
	wedged int
	closed bool
	left   sync.WaitGroup // dials that were given up
}

// NewPool makes a pool of the radio that open opens, when it is first needed.
func NewPool(open func(context.Context) (Radio, error)) *Pool {
	return &Pool{open: open, dial: make(chan struct{}, 1)}
}

// Wedged is how often the radio was replaced because it hung.
func (p *Pool) Wedged() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wedged
}

// Close closes the radio, and waits for what was given up.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	r := p.radio
	p.radio = nil
	p.mu.Unlock()
	var err error
	if r != nil {
		err = r.Close()
	}
	p.left.Wait()
	return err
}

// Use has a function use the radio while nobody dials.
func (p *Pool) Use(ctx context.Context, do func(Radio) error) error {
	select {
	case p.dial <- struct{}{}:
		defer func() { <-p.dial }()
	case <-ctx.Done():
		return ctx.Err()
	}
	r, err := p.current(ctx)
	if err != nil {
		return err
	}
	return do(r)
}

// current is called by who holds dial.
func (p *Pool) current(ctx context.Context) (Radio, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.New("the radio was closed")
	}
	if p.radio == nil {
		var err error
		if p.radio, err = p.open(ctx); err != nil {
			return nil, err
		}
	}
	return p.radio, nil
}

// Connect connects to a sensor, in its turn.
func (p *Pool) Connect(ctx context.Context, address string) (Link, error) {
	var link Link
	err := p.Use(ctx, func(r Radio) error {
		var err error
		link, err = p.connect(ctx, r, address)
		return err
	})
	return link, err
}

type dialled struct {
	link Link
	err  error
}

// connect gives a radio its time, and some grace, and then another radio takes its place.
func (p *Pool) connect(ctx context.Context, r Radio, address string) (Link, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	result := make(chan dialled, 1)
	p.left.Go(func() {
		l, err := r.Connect(ctx, address)
		result <- dialled{l, err}
	})
	select {
	case d := <-result:
		return d.link, d.err
	case <-ctx.Done():
	}
	grace := time.NewTimer(dialGrace)
	defer grace.Stop()
	select {
	case d := <-result:
		return d.link, d.err
	case <-grace.C:
	}
	p.mu.Lock()
	p.radio, p.wedged = nil, p.wedged+1
	p.mu.Unlock()
	p.left.Go(func() {
		r.Close()
		if d := <-result; d.link != nil {
			d.link.Close()
		}
	})
	return nil, ErrWedged
}

// State is how it stands with a sensor.
type State struct {
	Connected bool
	Since     time.Time // of the state
	Problem   error     // why the last attempt or connection ended; nil: none did
	Attempts  int       // since the last connection that brought readings
}

// Keep holds a sensor connected until the context ends. serve uses a link until it is done,
// and returns for how long it brought readings. told hears of every change.
func (p *Pool) Keep(ctx context.Context, address string, serve func(context.Context, Link) (time.Duration, error), told func(State)) {
	wait, attempts := firstWait, 0
	for ctx.Err() == nil {
		useful, err := p.once(ctx, address, serve, told)
		if ctx.Err() != nil {
			return
		}
		attempts++
		switch {
		case useful >= usefulTime:
			wait, attempts = firstWait, 0
		case errors.Is(err, ErrNoRadio) || errors.Is(err, ErrPrivilege):
			wait = mostWait
		}
		told(State{Since: time.Now(), Problem: err, Attempts: attempts})
		spread := wait/2 + time.Duration(rand.Int64N(int64(wait))) // sensors do not come back all at once
		select {
		case <-ctx.Done():
			return
		case <-time.After(spread):
		}
		if useful < usefulTime {
			wait = min(2*wait, mostWait)
		}
	}
}

func (p *Pool) once(ctx context.Context, address string, serve func(context.Context, Link) (time.Duration, error), told func(State)) (time.Duration, error) {
	l, err := p.Connect(ctx, address)
	if err != nil {
		return 0, err
	}
	told(State{Connected: true, Since: time.Now()})
	useful, err := serve(ctx, l)
	err = errors.Join(err, l.Err())
	if cerr := l.Close(); err == nil && cerr != nil {
		err = cerr
	}
	if err == nil {
		err = fmt.Errorf("the connection to %s ended", address)
	}
	return useful, err
}
