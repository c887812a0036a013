// Package radio is how a bridge reaches sensors over Bluetooth LE.
//
// Entry points: a Radio finds, pairs and connects; what it connects to is a Link, which has
// characteristics. OverATT makes a Link of any connection that carries the attribute
// protocol, such as go-ble's; package bluez has a Radio that asks Linux's bluetoothd. Keep
// holds one sensor connected, for months.
//
// # Trust
//
// Sensors are hostile until proven otherwise. OverATT checks every PDU before go-ble's GATT
// client sees it; bluetoothd checks them itself, in a process of its own.
//
// # Promise
//
// Values of a link are handed over one by one, in order. Over OverATT an indication is
// confirmed to its sensor when the taker has returned, and so is durable; bluetoothd confirms
// on its own, before anybody has looked.
package radio

import (
	"context"
	"errors"

	"github.com/vitalveil/vitalveil/wearable"
)

var (
	// ErrSensor says that a sensor broke the attribute protocol. The connection is
	// closed; connecting again may help if the radio was at fault.
	ErrSensor = errors.New("sensor breaks the attribute protocol")
	// ErrNoRadio says that there is no Bluetooth here: no adapter, no service, no kernel
	// that knows it. Trying again does not help until a person has changed that.
	ErrNoRadio = errors.New("there is no Bluetooth radio here")
	// ErrPrivilege says that this program may not use the radio. The text says who may.
	ErrPrivilege = errors.New("the radio may not be used")
	// ErrPairing says that a sensor speaks to those only that it is paired with.
	ErrPairing = errors.New("the sensor wants to be paired first")
	// ErrSilent says that a sensor did not answer, though its connection did not end.
	ErrSilent = errors.New("the sensor is gone without a word")
)

// Sensor is one that a radio hears or knows.
type Sensor struct {
	Address string // such as "C6:00:00:00:00:01": what it is connected by
	Name    string // what it calls itself; hostile text
	Paired  bool
	Signal  int // dBm; 0: not heard now
	Health  bool
}

// Radio finds sensors and connects to them. Connect is called by one caller at a time.
type Radio interface {
	// Scan reports sensors until the context ends, those that are known at once. A sensor
	// may be reported more than once.
	Scan(ctx context.Context, found func(Sensor)) error
	// Pair makes a bond with a sensor. Where the sensor wants a number that it shows, ask
	// returns it.
	Pair(ctx context.Context, address string, ask func(context.Context) (uint32, error)) error
	Connect(ctx context.Context, address string) (Link, error)
	Close() error
}

// Link is a connection to one sensor. Its methods that ask the sensor something are for one
// caller at a time; Close, Done and Err are for any.
type Link interface {
	Characteristics(ctx context.Context) ([]Characteristic, error)
	// Subscribe has every value handed to take, which runs on the link's own goroutine: the
	// next value waits for it. An error of take ends the connection.
	Subscribe(ctx context.Context, c Characteristic, take func(value []byte) error) error
	Read(ctx context.Context, c Characteristic) ([]byte, error)
	// Write returns when the sensor has answered that it took the value.
	Write(ctx context.Context, c Characteristic, value []byte) error
	// Done is closed when the connection has ended.
	Done() <-chan struct{}
	// Err returns why the connection ended by itself, or nil.
	Err() error
	// Close ends the connection and waits until no value is handed over any more. It may be
	// repeated, but not from within take.
	Close() error
}

// Characteristic is one of a sensor's.
type Characteristic struct {
	UUID wearable.UUID
	// Place tells it from others with the same UUID; it is the link's own.
	Place string
	// Sends: it can be subscribed to. Indicates: its values are confirmed.
	Sends, Indicates, Readable, Writable bool
}
