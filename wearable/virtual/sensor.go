package virtual

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-ble/ble"
	"github.com/go-ble/ble/linux/att"
	"github.com/vitalveil/vitalveil/wearable"
)

// Sentinels of Emit.
var (
	// ErrLinkLost means that the connection or the subscription ended while a
	// value was under way: the client may or may not have taken it. Emit it again
	// after the sensor is served anew.
	ErrLinkLost = errors.New("the link ended while a value was under way")
	// ErrForeign means that this kind of sensor does not send this.
	ErrForeign = errors.New("this sensor does not send that")
)

// Sensor is a simulated peripheral of one kind. It serves one connection at a
// time. All methods may be called concurrently.
type Sensor struct {
	kind Kind
	name string
	// turn holds one token: the right to have a value under way.
	turn   chan struct{}
	clock  func() time.Time
	extras []Kind

	mu      sync.Mutex
	session *session
	locked  bool
	memory  []Stored
	// changed is closed and replaced whenever a subscription comes about.
	changed chan struct{}
}

// NewHeartRateStrap returns a sensor with the Heart Rate Service: heart_rate by
// notification.
func NewHeartRateStrap(name string) *Sensor { return New(HeartRateStrap, name) }

// NewPulseOximeter returns a sensor with the Pulse Oximeter Service: spo2 and
// pulse_rate by notification of continuous measurements.
func NewPulseOximeter(name string) *Sensor { return New(PulseOximeter, name) }

// NewThermometer returns a sensor with the Health Thermometer Service: body_temp
// by indication, intermediate values by notification.
func NewThermometer(name string) *Sensor { return New(Thermometer, name) }

// NewBloodPressureCuff returns a sensor with the Blood Pressure Service:
// bp_systolic and bp_diastolic by indication.
func NewBloodPressureCuff(name string) *Sensor { return New(BloodPressureCuff, name) }

// New returns a sensor of any kind.
func New(k Kind, name string, options ...Option) *Sensor {
	s := &Sensor{kind: k, name: name, turn: make(chan struct{}, 1), changed: make(chan struct{})}
	for _, option := range options {
		option(s)
	}
	return s
}

// Name returns the device name that the sensor shows to clients.
func (s *Sensor) Name() string { return s.name }

// UUID returns the characteristic that Emit sends.
func (s *Sensor) UUID() wearable.UUID { return s.kind.values[0].uuid }

// Metrics returns the keys of the metrics that the sensor measures.
func (s *Sensor) Metrics() []string {
	return append([]string(nil), s.kind.metrics...)
}

// CanCarry tells whether the sensor sends this metric and can send this value
// exactly.
func (s *Sensor) CanCarry(metric string, v wearable.Decimal) bool {
	uuid, ok := wearable.Carrier(metric)
	return ok && uuid == s.UUID() && wearable.CanCarry(metric, v)
}

// Emit sends readings of the sensor's metrics in one value and returns once the
// client has taken it. It waits for a client to subscribe, and for an earlier
// value to be taken. Errors: wearable.ErrInexact (send them another way),
// ErrLinkLost, the context's.
func (s *Sensor) Emit(ctx context.Context, readings ...wearable.Reading) error {
	payload, err := wearable.EncodeReadings(s.UUID(), readings...)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return s.EmitPayload(ctx, s.UUID(), payload)
}

// EmitPayload is Emit for a ready payload of any characteristic that the sensor
// sends, also a malformed one.
func (s *Sensor) EmitPayload(ctx context.Context, uuid wearable.UUID, payload []byte) error {
	if !s.kind.sends(uuid) {
		return fmt.Errorf("%s: characteristic %s: %w", s.name, uuid, ErrForeign)
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	sub, err := s.subscription(ctx, uuid)
	if err != nil {
		return err
	}
	if most := sub.session.conn.TxMTU() - 3; len(payload) > most {
		return fmt.Errorf("%s: value of %d bytes, at most %d fit a packet", s.name, len(payload), most)
	}
	return sub.send(ctx, payload)
}

// subscription waits until a client has subscribed to the characteristic.
func (s *Sensor) subscription(ctx context.Context, uuid wearable.UUID) (*subscription, error) {
	for {
		s.mu.Lock()
		changed := s.changed
		var sub *subscription
		if s.session != nil {
			sub = s.session.subscriptions[uuid]
		}
		s.mu.Unlock()
		if sub != nil && sub.notifier.Context().Err() == nil {
			return sub, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Serve answers a client until the connection ends, then returns. It fails at
// once where the sensor is being served already.
func (s *Sensor) Serve(conn *Peripheral) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	serving := &session{
		ctx:           ctx,
		conn:          &bearer{Peripheral: conn, confirmed: make(chan struct{}, 1)},
		subscriptions: map[wearable.UUID]*subscription{},
	}
	if err := s.begin(serving); err != nil {
		return err
	}
	defer s.end(serving)
	db := att.NewDB(s.services(serving), 1)
	serving.conn.refuses = s.refuses(serving)
	server, err := att.NewServer(db, serving.conn)
	if err != nil {
		return fmt.Errorf("%s: serve: %w", s.name, errors.Join(err, conn.Close()))
	}
	server.Loop()
	cancel()
	serving.work.Wait()
	return nil
}

func (s *Sensor) begin(serving *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != nil {
		return fmt.Errorf("%s: already connected to %v", s.name, s.session.conn.RemoteAddr())
	}
	s.session = serving
	return nil
}

func (s *Sensor) end(serving *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == serving {
		s.session = nil
	}
}

// subscribed is called by the server for every new subscription.
func (s *Sensor) subscribed(serving *session, c *ble.Characteristic, v value, n ble.Notifier) {
	s.mu.Lock()
	defer s.mu.Unlock()
	serving.subscriptions[v.uuid] = &subscription{session: serving, notifier: n, handle: c.ValueHandle, indicate: v.indicate}
	close(s.changed)
	s.changed = make(chan struct{})
}

// session is one connection.
type session struct {
	conn *bearer
	ctx  context.Context
	// sending are the characteristics that a client may subscribe to.
	sending []*ble.Characteristic
	// work is what the control point was asked for; abort ends it, guarded by the
	// sensor's mu.
	work  sync.WaitGroup
	abort context.CancelFunc
	// listening: the client wants the control point's answers; go-ble says so later,
	// in subscriptions. Guarded by the sensor's mu.
	listening bool
	// subscriptions by characteristic; guarded by the sensor's mu.
	subscriptions map[wearable.UUID]*subscription
	// owed is true while a value has not been taken; guarded by the sensor's turn.
	owed bool
}

// bearer keeps the confirmations of indications from go-ble's server.
type bearer struct {
	*Peripheral
	confirmed chan struct{}
	// refuses answers a request that needs pairing, nil for all others.
	refuses func(request []byte) []byte
}

// Read returns the next packet that is for the server: no confirmation, and no
// request that needs pairing.
func (b *bearer) Read(p []byte) (int, error) {
	for {
		n, err := b.Peripheral.Read(p)
		if err != nil || n == 0 {
			return n, err
		}
		if p[0] == att.HandleValueConfirmationCode {
			select {
			case b.confirmed <- struct{}{}:
			default: // nobody asked for it
			}
			continue
		}
		refusal := b.refuses(p[:n])
		if refusal == nil {
			return n, nil
		}
		if _, err := b.Write(refusal); err != nil {
			return 0, err
		}
	}
}

// refuses returns the answer to requests that need pairing, while the sensor wants
// it: subscribing, and reading what would be sent.
func (s *Sensor) refuses(serving *session) func([]byte) []byte {
	protected := map[uint16]bool{}
	for _, c := range serving.sending {
		// The client configuration is the only descriptor, behind the value.
		protected[c.ValueHandle], protected[c.ValueHandle+1] = true, true
	}
	return func(request []byte) []byte {
		s.configured(serving, request)
		reads := request[0] == att.ReadRequestCode || request[0] == att.ReadBlobRequestCode
		if len(request) < 3 || !reads && request[0] != att.WriteRequestCode || !s.isLocked() {
			return nil
		}
		if !protected[uint16(request[1])|uint16(request[2])<<8] {
			return nil
		}
		return []byte{att.ErrorResponseCode, request[0], request[1], request[2], byte(ble.ErrAuthentication)}
	}
}

// configured looks for the client's wish to hear of the control point.
func (s *Sensor) configured(serving *session, request []byte) {
	if len(request) != 5 || request[0] != att.WriteRequestCode || s.isLocked() {
		return
	}
	handle := uint16(request[1]) | uint16(request[2])<<8
	for _, c := range serving.sending {
		if c.UUID.Equal(attribute(wearable.UUIDRecordAccess)) && handle == c.ValueHandle+1 {
			s.mu.Lock()
			serving.listening = request[3]&2 != 0
			s.mu.Unlock()
		}
	}
}

// subscription is a client's wish for the values of one characteristic.
type subscription struct {
	session  *session
	notifier ble.Notifier
	handle   uint16
	indicate bool
}

// send puts one value under way and waits until it has been taken. The caller
// has the turn.
func (sub *subscription) send(ctx context.Context, payload []byte) error {
	serving := sub.session
	if serving.owed {
		if err := sub.taken(ctx); err != nil {
			return err
		}
	}
	drain(serving.conn.shared.taken)
	drain(serving.conn.confirmed)
	serving.owed = true
	if err := sub.write(payload); err != nil {
		return fmt.Errorf("%w: %w", ErrLinkLost, err)
	}
	if err := sub.taken(ctx); err != nil {
		return err
	}
	if sub.indicate {
		return sub.await(ctx, serving.conn.confirmed)
	}
	return nil
}

// taken waits for the client to take the value under way. After the caller's
// impatience it is still owed; after the end of a subscription it is not, since
// clients discard what is queued then.
func (sub *subscription) taken(ctx context.Context) error {
	err := sub.await(ctx, sub.session.conn.shared.taken)
	if err == nil || errors.Is(err, ErrLinkLost) {
		sub.session.owed = false
	}
	return err
}

func (sub *subscription) write(payload []byte) error {
	if !sub.indicate {
		_, err := sub.notifier.Write(payload)
		return err
	}
	packet := append([]byte{att.HandleValueIndicationCode, byte(sub.handle), byte(sub.handle >> 8)}, payload...)
	_, err := sub.session.conn.Write(packet)
	return err
}

// await waits for a signal of the client.
func (sub *subscription) await(ctx context.Context, signal <-chan struct{}) error {
	select {
	case <-signal:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-sub.notifier.Context().Done():
		return ErrLinkLost
	case <-sub.session.conn.Disconnected():
		return ErrLinkLost
	}
}

func drain(signal <-chan struct{}) {
	select {
	case <-signal:
	default:
	}
}
