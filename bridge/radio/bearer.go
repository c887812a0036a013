package radio

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/go-ble/ble"
)

// Opcodes of the Attribute Protocol (Bluetooth Core 5.4, Vol 3, Part F, 3.4.8).
const (
	attError        = 0x01
	attMTURequest   = 0x02
	attMTUResponse  = 0x03
	attFindInfo     = 0x04
	attReadByType   = 0x08
	attRead         = 0x0a
	attReadByGroup  = 0x10
	attWrite        = 0x12
	attNotification = 0x1b
	attIndication   = 0x1d
	attConfirmation = 0x1e
	attCommandBit   = 0x40
)

const (
	attMinMTU       = 23
	attMaxMTU       = ble.MaxMTU
	attNotSupported = 0x06 // error code "request not supported"
)

// bearer stands between a connection and go-ble's GATT client, for two reasons.
//
// go-ble trusts its peer: an empty PDU, a short notification or a list with
// entries of length zero makes it panic on a goroutine that nobody can recover,
// and a stray response blocks it for ever. The bearer lets through only
// well-formed responses to the request that is outstanding.
//
// go-ble queues 16 notifications, drops the rest, and confirms an indication
// before anybody has looked at it. The bearer hands both to the session itself,
// one by one, reads on only when the session has taken one, and confirms an
// indication only then.
type bearer struct {
	ble.Conn
	take func(handle uint16, payload []byte) error

	responses chan []byte
	closing   chan struct{}
	once      sync.Once
	pump      sync.WaitGroup

	mu      sync.Mutex
	request []byte // outstanding, or nil
	err     error  // why the pump ended
	heard   time.Time
}

func newBearer(conn ble.Conn, take func(handle uint16, payload []byte) error) *bearer {
	b := &bearer{Conn: conn, take: take, responses: make(chan []byte), closing: make(chan struct{}), heard: time.Now()}
	b.pump.Go(b.run)
	return b
}

// run reads PDUs until the connection ends or the peer breaks the protocol.
func (b *bearer) run() {
	defer b.shut()
	buf := make([]byte, attMaxMTU)
	for {
		n, err := b.Conn.Read(buf)
		if err != nil {
			b.fail(err)
			return
		}
		if n == 0 {
			b.fail(fmt.Errorf("%w: empty PDU", ErrSensor))
			return
		}
		b.mu.Lock()
		b.heard = time.Now()
		b.mu.Unlock()
		if err := b.dispatch(append([]byte(nil), buf[:n]...)); err != nil {
			b.fail(err)
			return
		}
	}
}

// dispatch handles one PDU of at least one byte.
func (b *bearer) dispatch(pdu []byte) error {
	switch op := pdu[0]; {
	case op == attNotification || op == attIndication:
		return b.value(pdu)
	case op == attConfirmation || op&attCommandBit != 0:
		return nil
	case op&1 == 0: // a request: we are no server
		_, err := b.Conn.Write([]byte{attError, op, 0, 0, attNotSupported})
		return err
	}
	b.mu.Lock()
	request := b.request
	answers := request != nil && answersTo(request[0], pdu)
	if answers {
		b.request = nil
	}
	b.mu.Unlock()
	if !answers {
		return nil // late or stray; harmless as long as go-ble never sees it
	}
	if err := checkResponse(request, pdu); err != nil {
		return err
	}
	select {
	case b.responses <- pdu:
	case <-b.closing:
	}
	return nil
}

// value hands over a notification or indication.
func (b *bearer) value(pdu []byte) error {
	if len(pdu) < 3 {
		return fmt.Errorf("%w: notification of %d bytes", ErrSensor, len(pdu))
	}
	indicated := pdu[0] == attIndication
	if err := b.take(binary.LittleEndian.Uint16(pdu[1:]), pdu[3:]); err != nil {
		return err
	}
	// Simulated sensors wait for this before they send more.
	if sensor, ok := b.Conn.(interface{ Taken() }); ok {
		sensor.Taken()
	}
	if indicated {
		_, err := b.Conn.Write([]byte{attConfirmation})
		return err
	}
	return nil
}

func answersTo(request byte, pdu []byte) bool {
	if pdu[0] == attError {
		return len(pdu) == 5 && pdu[1] == request
	}
	return pdu[0] == request+1
}

// Read gives go-ble the next response.
func (b *bearer) Read(p []byte) (int, error) {
	select {
	case pdu := <-b.responses:
		return copy(p, pdu), nil
	case <-b.closing:
		return 0, io.EOF
	}
}

// Write sends a request of go-ble.
func (b *bearer) Write(p []byte) (int, error) {
	select {
	case <-b.closing:
		return 0, io.ErrClosedPipe
	default:
	}
	if len(p) > 0 && p[0]&1 == 0 && p[0]&attCommandBit == 0 && p[0] != attConfirmation {
		b.mu.Lock()
		b.request = append([]byte(nil), p...)
		b.mu.Unlock()
	}
	return b.Conn.Write(p)
}

// Close ends the connection and joins the pump. It must not be called from
// within take.
func (b *bearer) Close() error {
	err := b.shut()
	b.pump.Wait()
	return err
}

func (b *bearer) shut() error {
	var err error
	b.once.Do(func() {
		close(b.closing)
		err = b.Conn.Close()
	})
	return err
}

func (b *bearer) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.closing: // closed by us: what Read says then is no news
	default:
		b.err = err
	}
}

// blame says why the connection was ended here, if nothing else did.
func (b *bearer) blame(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
}

// silence is how long nothing has come.
func (b *bearer) silence() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Since(b.heard)
}

// cause returns why the connection ended by itself, or nil.
func (b *bearer) cause() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// checkResponse refuses responses that go-ble would misread. Handles must
// ascend within the range asked, or discovery would never end.
func checkResponse(request, pdu []byte) error {
	ok := true
	switch {
	case pdu[0] == attError:
	case request[0] == attMTURequest:
		ok = len(pdu) == 3 && binary.LittleEndian.Uint16(pdu[1:]) >= attMinMTU
		if ok && binary.LittleEndian.Uint16(pdu[1:]) > attMaxMTU {
			binary.LittleEndian.PutUint16(pdu[1:], attMaxMTU)
		}
	case request[0] == attFindInfo:
		ok = checkFindInfo(request, pdu)
	case request[0] == attReadByType:
		ok = len(pdu) >= 2 && checkList(request, pdu, 7, 21, func(e []byte) (uint16, uint16) {
			return binary.LittleEndian.Uint16(e), binary.LittleEndian.Uint16(e[3:])
		})
	case request[0] == attReadByGroup:
		ok = len(pdu) >= 2 && checkList(request, pdu, 6, 20, func(e []byte) (uint16, uint16) {
			return binary.LittleEndian.Uint16(e), binary.LittleEndian.Uint16(e[2:])
		})
	case request[0] == attWrite:
		ok = len(pdu) == 1
	case request[0] == attRead:
	default: // no other request is made
		ok = false
	}
	if !ok {
		return fmt.Errorf("%w: malformed response of type %#02x", ErrSensor, pdu[0])
	}
	return nil
}

// checkFindInfo checks a list of handles and types: format 1 has 16-bit types,
// format 2 has 128-bit ones.
func checkFindInfo(request, pdu []byte) bool {
	if len(pdu) < 2 || pdu[1] != 1 && pdu[1] != 2 {
		return false
	}
	size := 4
	if pdu[1] == 2 {
		size = 18
	}
	return ascending(request, pdu[2:], size, func(e []byte) (uint16, uint16) {
		h := binary.LittleEndian.Uint16(e)
		return h, h
	})
}

// checkList checks a list whose entries have the length that its second byte
// names, one of two.
func checkList(request, pdu []byte, short, long int, span func([]byte) (uint16, uint16)) bool {
	size := int(pdu[1])
	return (size == short || size == long) && ascending(request, pdu[2:], size, span)
}

// ascending checks that entries are whole and that their spans of handles ascend
// within the range of the request.
func ascending(request, list []byte, size int, span func([]byte) (uint16, uint16)) bool {
	if len(request) < 5 || len(list) == 0 || len(list)%size != 0 {
		return false
	}
	next, end := int(binary.LittleEndian.Uint16(request[1:])), int(binary.LittleEndian.Uint16(request[3:]))
	for ; len(list) > 0; list = list[size:] {
		first, last := span(list)
		if int(first) < next || last < first || int(last) > end {
			return false
		}
		next = int(last) + 1
	}
	return true
}
