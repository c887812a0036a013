package radio

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/go-ble/ble"
	"github.com/go-ble/ble/linux/gatt"

	"github.com/vitalveil/vitalveil/wearable"
)

const (
	wantedMTU = 247
	// quietTime is how long a sensor may say nothing before it is asked whether it is there,
	// and answerTime how long it may take to say so: both together stay below 30 s.
	quietTime  = 18 * time.Second
	answerTime = 9 * time.Second
)

// attLink is a Link over go-ble's GATT client, which deadlocks when it is called from a
// handler of notifications and knows no context: a mutex lets one request through at a time,
// and closing the bearer ends it.
type attLink struct {
	bearer *bearer

	asking  sync.Mutex
	client  *gatt.Client
	found   map[string]*ble.Characteristic // by place
	watcher sync.WaitGroup

	mu    sync.Mutex
	takes map[uint16]func([]byte) error // by handle of the value
}

// OverATT makes a Link of a connection that carries the attribute protocol. The link owns the
// connection, and closes it if this fails.
func OverATT(ctx context.Context, conn ble.Conn) (Link, error) {
	return overATT(ctx, conn, quietTime, answerTime)
}

func overATT(ctx context.Context, conn ble.Conn, quiet, answer time.Duration) (*attLink, error) {
	l := &attLink{found: map[string]*ble.Characteristic{}, takes: map[uint16]func([]byte) error{}}
	l.bearer = newBearer(conn, l.value)
	err := l.ask(ctx, func() error {
		var err error
		if l.client, err = gatt.NewClient(l.bearer); err != nil {
			return err
		}
		_, err = l.client.ExchangeMTU(wantedMTU)
		return declined(err)
	})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	l.watcher.Go(func() { l.watch(quiet, answer) })
	return l, nil
}

// declined passes over that the sensor answered, and declined.
func declined(err error) error {
	var e ble.ATTError
	if errors.As(err, &e) {
		return nil
	}
	return err
}

// ask does one request of go-ble's client.
func (l *attLink) ask(ctx context.Context, request func() error) error {
	l.asking.Lock()
	defer l.asking.Unlock()
	stop := context.AfterFunc(ctx, func() { l.bearer.shut() })
	err := request()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil {
		return nil
	}
	if cause := l.bearer.cause(); cause != nil {
		err = errors.Join(err, cause)
	}
	return errors.Join(err, ctx.Err())
}

// Characteristics implements Link.
func (l *attLink) Characteristics(ctx context.Context) ([]Characteristic, error) {
	var profile *ble.Profile
	err := l.ask(ctx, func() error {
		var err error
		profile, err = l.client.DiscoverProfile(true)
		return err
	})
	if err != nil {
		return nil, err
	}
	var list []Characteristic
	for _, s := range profile.Services {
		for _, c := range s.Characteristics {
			x := Characteristic{
				UUID: wearable.UUIDFromBytes(c.UUID), Place: strconv.Itoa(int(c.ValueHandle)),
				Sends:    c.CCCD != nil && c.Property&(ble.CharNotify|ble.CharIndicate) != 0,
				Readable: c.Property&ble.CharRead != 0, Writable: c.Property&ble.CharWrite != 0,
			}
			x.Indicates = x.Sends && c.Property&ble.CharNotify == 0
			l.found[x.Place] = c
			list = append(list, x)
		}
	}
	return list, nil
}

// on does a request about a characteristic that was found.
func (l *attLink) on(ctx context.Context, c Characteristic, request func(*ble.Characteristic) error) error {
	x, ok := l.found[c.Place]
	if !ok {
		return fmt.Errorf("no characteristic at %q", c.Place)
	}
	return pairing(l.ask(ctx, func() error { return request(x) }))
}

// pairing names what a sensor means that declines for want of a bond (Bluetooth Core 5.4,
// Vol 3, Part F, 3.4.1.1).
func pairing(err error) error {
	var e ble.ATTError
	if errors.As(err, &e) && (e == ble.ErrAuthentication || e == ble.ErrInsuffEnc || e == ble.ErrInsuffEncrKeySize || e == ble.ErrAuthorization) {
		return fmt.Errorf("%w: %w", ErrPairing, err)
	}
	return err
}

// Subscribe implements Link.
func (l *attLink) Subscribe(ctx context.Context, c Characteristic, take func([]byte) error) error {
	return l.on(ctx, c, func(x *ble.Characteristic) error {
		l.mu.Lock()
		l.takes[x.ValueHandle] = take
		l.mu.Unlock()
		// The bearer takes the values; go-ble only needs to know that there is a handler.
		return l.client.Subscribe(x, c.Indicates, func([]byte) {})
	})
}

// Read implements Link.
func (l *attLink) Read(ctx context.Context, c Characteristic) ([]byte, error) {
	var value []byte
	err := l.on(ctx, c, func(x *ble.Characteristic) error {
		var err error
		value, err = l.client.ReadCharacteristic(x)
		return err
	})
	return value, err
}

// Write implements Link.
func (l *attLink) Write(ctx context.Context, c Characteristic, value []byte) error {
	return l.on(ctx, c, func(x *ble.Characteristic) error { return l.client.WriteCharacteristic(x, value, false) })
}

// value hands over one value. It runs on the bearer's goroutine, so that the next PDU is
// read, and an indication confirmed, only when it returns.
func (l *attLink) value(handle uint16, payload []byte) error {
	l.mu.Lock()
	take := l.takes[handle]
	l.mu.Unlock()
	if take == nil {
		return nil
	}
	return take(payload)
}

// watch asks a sensor that says nothing whether it is there. Some radios never tell that a
// connection is dead.
func (l *attLink) watch(quiet, answer time.Duration) {
	tick := time.NewTicker(quiet / 2)
	defer tick.Stop()
	for {
		select {
		case <-l.bearer.closing:
			return
		case <-tick.C:
		}
		if l.bearer.silence() < quiet/2 {
			continue
		}
		late := time.AfterFunc(answer, func() {
			l.bearer.blame(ErrSilent)
			l.bearer.shut()
		})
		// Any answer will do, that there is no such handle too.
		_ = l.ask(context.Background(), func() error {
			_, err := l.client.ReadCharacteristic(&ble.Characteristic{ValueHandle: 1})
			return declined(err)
		})
		late.Stop()
	}
}

// Done implements Link.
func (l *attLink) Done() <-chan struct{} { return l.bearer.closing }

// Err implements Link.
func (l *attLink) Err() error { return l.bearer.cause() }

// Close implements Link.
func (l *attLink) Close() error {
	err := l.bearer.Close()
	l.watcher.Wait()
	return err
}
