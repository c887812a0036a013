package virtual

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/go-ble/ble"
)

// depth is how many packets are under way in one direction before a writer
// waits.
const depth = 4

// Central is the client's end of a connection.
type Central struct{ end }

// Peripheral is the sensor's end of a connection.
type Peripheral struct{ end }

var (
	_ ble.Conn = (*Central)(nil)
	_ ble.Conn = (*Peripheral)(nil)
)

// Taken tells the sensor that the client has dealt with the value it got last.
// Call it once at the end of each notification or indication handler. Clients
// that do not know this package may look for it as an interface{ Taken() }.
func (c *Central) Taken() {
	select {
	case c.shared.taken <- struct{}{}:
	default: // called more than once: the sensor knows already
	}
}

// shared is what both ends have in common.
type shared struct {
	taken chan struct{}
	done  chan struct{}
	close sync.Once
	// left counts down to the packet at which the link breaks.
	left atomic.Int64
}

// end is one end of a link. Each packet written is read whole, in order, at the
// other end, as over L2CAP.
type end struct {
	shared        *shared
	in            <-chan []byte
	out           chan<- []byte
	local, remote ble.Addr
	rxMTU, txMTU  atomic.Int64
	ctx           atomic.Pointer[context.Context]
}

// sensorMTU is the largest packet that a sensor takes, and sends where the client
// takes it too.
const sensorMTU = 247

var serial atomic.Uint32

// NewLink returns the two ends of a new connection. Closing either closes both.
// It holds no goroutine.
func NewLink() (*Central, *Peripheral) {
	n := serial.Add(1)
	// 0xC6: a random static address, as wearables have.
	return NewLinkTo(net.HardwareAddr{0xC6, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// NewLinkTo is NewLink with a sensor at that address.
func NewLinkTo(address ble.Addr) (*Central, *Peripheral) {
	phone := net.HardwareAddr{0xC2, 0, 0, 0, 0, 1}
	up, down := make(chan []byte, depth), make(chan []byte, depth)
	both := &shared{taken: make(chan struct{}, 1), done: make(chan struct{})}
	central, peripheral := new(Central), new(Peripheral)
	central.open(both, up, down, phone, address)
	peripheral.open(both, down, up, address, phone)
	peripheral.SetRxMTU(sensorMTU)
	return central, peripheral
}

func (e *end) open(both *shared, in <-chan []byte, out chan<- []byte, local, remote ble.Addr) {
	e.shared, e.in, e.out, e.local, e.remote = both, in, out, local, remote
	e.rxMTU.Store(ble.DefaultMTU)
	e.txMTU.Store(ble.DefaultMTU)
	e.SetContext(context.Background())
}

// Read waits for the next packet; io.EOF after the link was closed.
func (e *end) Read(b []byte) (int, error) {
	select {
	case packet := <-e.in:
		if len(packet) > len(b) {
			return 0, fmt.Errorf("packet of %d bytes: %w", len(packet), io.ErrShortBuffer)
		}
		return copy(b, packet), nil
	case <-e.shared.done:
		return 0, io.EOF
	}
}

// Write sends one packet.
func (e *end) Write(b []byte) (int, error) {
	if len(b) > ble.MaxMTU {
		return 0, fmt.Errorf("packet of %d bytes, at most %d are allowed", len(b), ble.MaxMTU)
	}
	// Checked first because select picks at random among the ready.
	select {
	case <-e.shared.done:
		return 0, io.ErrClosedPipe
	default:
	}
	if e.shared.left.Load() > 0 && e.shared.left.Add(-1) == 0 {
		_ = e.Close()
		return 0, io.ErrClosedPipe
	}
	select {
	case e.out <- append([]byte(nil), b...):
		return len(b), nil
	case <-e.shared.done:
		return 0, io.ErrClosedPipe
	}
}

// BreakAt makes the link break at the nth packet from now, of either side: that
// packet is lost.
func (e *end) BreakAt(n int) { e.shared.left.Store(int64(n)) }

// Close ends the connection for both ends.
func (e *end) Close() error {
	e.shared.close.Do(func() { close(e.shared.done) })
	return nil
}

// Disconnected is closed when the connection ends.
func (e *end) Disconnected() <-chan struct{} { return e.shared.done }

// Context returns what SetContext set.
func (e *end) Context() context.Context { return *e.ctx.Load() }

// SetContext attaches a context, for go-ble's use.
func (e *end) SetContext(ctx context.Context) { e.ctx.Store(&ctx) }

// LocalAddr returns a made-up address of this end.
func (e *end) LocalAddr() ble.Addr { return e.local }

// RemoteAddr returns a made-up address of the other end.
func (e *end) RemoteAddr() ble.Addr { return e.remote }

// RxMTU returns the largest packet this end accepts.
func (e *end) RxMTU() int { return int(e.rxMTU.Load()) }

// SetRxMTU sets it.
func (e *end) SetRxMTU(mtu int) { e.rxMTU.Store(int64(mtu)) }

// TxMTU returns the largest packet the other end accepts.
func (e *end) TxMTU() int { return int(e.txMTU.Load()) }

// SetTxMTU sets it.
func (e *end) SetTxMTU(mtu int) { e.txMTU.Store(int64(mtu)) }

// ReadRSSI returns a plausible signal strength in dBm.
func (e *end) ReadRSSI() int { return -50 }
