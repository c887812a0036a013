package virtual

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/go-ble/ble"
	"github.com/vitalveil/vitalveil/wearable"
)

// Option changes a sensor.
type Option func(*Sensor)

// WithClock gives the sensor a clock of its own, which may be wrong, and the
// Current Time Service that shows it.
func WithClock(clock func() time.Time) Option { return func(s *Sensor) { s.clock = clock } }

// WithPairing makes the sensor refuse subscriptions, and reading what they would
// send, until Pair is called.
func WithPairing() Option { return func(s *Sensor) { s.locked = true } }

// WithDevice adds Battery and Device Information.
func WithDevice(battery byte, manufacturer, model string) Option {
	return func(s *Sensor) {
		s.extras = append(s.extras,
			Kind{service: "180f", constants: []constant{{wearable.UUIDBattery, []byte{battery}}}},
			Kind{service: "180a", constants: []constant{{wearable.UUIDManufacturer, []byte(manufacturer)}, {wearable.UUIDModel, []byte(model)}}})
	}
}

// Stamp returns what the sensor's clock shows, in the clock's own zone; without a
// clock of its own it is right, in UTC.
func (s *Sensor) Stamp() wearable.Timestamp {
	if s.clock == nil {
		return wearable.TimestampOf(time.Now().UTC())
	}
	return wearable.TimestampOf(s.clock())
}

// Pair bonds client and sensor: what needed pairing does not any more.
func (s *Sensor) Pair() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.locked = false
}

func (s *Sensor) isLocked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.locked
}

// Stored is one record of a sensor's memory: the values that tell of one
// measurement, such as a glucose measurement and its context.
type Stored struct {
	Sequence uint16
	Values   []StoredValue
}

// StoredValue is a payload of a characteristic, also a malformed one.
type StoredValue struct {
	UUID    wearable.UUID
	Payload []byte
}

// Remember adds records to the sensor's memory, which the control point gives out.
func (s *Sensor) Remember(records ...Stored) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory = append(s.memory, records...)
}

// Memory returns the records that are in the sensor's memory.
func (s *Sensor) Memory() []Stored {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Stored(nil), s.memory...)
}

// Glucose returns a record of a meter: a measurement of capillary whole blood at a
// finger, minutes after what its clock showed when it was last set.
func Glucose(sequence uint16, base wearable.Timestamp, minutes int16, mgdL int64) (Stored, error) {
	value, _ := wearable.EncodeSFLOAT(wearable.Int(mgdL)) // times 10^-5: kg/L
	concentration := wearable.DecodeSFLOAT(value)
	concentration.Exponent -= 5
	payload, err := wearable.Encode(wearable.Notification{UUID: wearable.UUIDGlucose, Fields: []wearable.Field{
		{Name: "sequence_number", Value: int64(sequence)},
		{Name: "base_time", Value: base},
		{Name: "time_offset", Value: int64(minutes)},
		{Name: "concentration", Value: concentration},
		{Name: "type", Value: int64(1)},
		{Name: "sample_location", Value: int64(1)},
	}})
	return Stored{sequence, []StoredValue{{wearable.UUIDGlucose, payload}}}, err
}

// Pressure returns what a household's cuff sends of one measurement: with its
// clock's time and the number of the person.
func Pressure(systolic, diastolic int64, at wearable.Timestamp, user uint8) ([]byte, error) {
	mmHg := func(n int64) wearable.Float { return wearable.Float{Mantissa: int32(n)} }
	return wearable.Encode(wearable.Notification{UUID: wearable.UUIDBloodPressure, Fields: []wearable.Field{
		{Name: "systolic", Value: mmHg(systolic)},
		{Name: "diastolic", Value: mmHg(diastolic)},
		{Name: "mean_arterial_pressure", Value: mmHg((systolic + 2*diastolic) / 3)},
		{Name: "timestamp", Value: at},
		{Name: "user_id", Value: int64(user)},
	}})
}

// Errors of the control point (Glucose Service 1.0, section 3.4).
const (
	errNotConfigured ble.ATTError = 0xFD
	errInProgress    ble.ATTError = 0xFE
)

// Opcodes, operators and answers of the control point.
const (
	opReport, opDelete, opAbort, opCount, opNumber, opResponse = 1, 2, 3, 4, 5, 6

	all, upTo, from, within, first, last = 1, 2, 3, 4, 5, 6

	success, unknownOpcode, badOperator, unknownOperator, badOperand, noRecords = 1, 2, 3, 4, 5, 6
)

// requested takes a write to the control point. What it asks for is done beside the
// server, which has to answer the write first.
func (s *Sensor) requested(serving *session, request []byte) ble.ATTError {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !serving.listening {
		return errNotConfigured
	}
	if len(request) < 2 {
		return ble.ErrInvalAttrValueLen
	}
	if request[0] == opAbort {
		if serving.abort != nil {
			serving.abort()
			serving.abort = nil
		}
		serving.work.Go(func() { s.answer(serving, opResponse, 0, opAbort, success) })
		return ble.ErrSuccess
	}
	if serving.abort != nil {
		return errInProgress
	}
	ctx, cancel := context.WithCancel(serving.ctx)
	serving.abort = cancel
	serving.work.Go(func() {
		answer := s.perform(ctx, serving, request)
		aborted := ctx.Err() != nil
		cancel()
		s.mu.Lock()
		if !aborted {
			serving.abort = nil
		}
		s.mu.Unlock()
		if !aborted {
			s.answer(serving, answer...)
		}
	})
	return ble.ErrSuccess
}

// answer indicates an answer of the control point.
func (s *Sensor) answer(serving *session, answer ...byte) {
	_ = s.EmitPayload(serving.ctx, wearable.UUIDRecordAccess, answer)
}

// perform does what was asked and returns the answer.
func (s *Sensor) perform(ctx context.Context, serving *session, request []byte) []byte {
	opcode := request[0]
	wants, refusal := selection(request[1:])
	if opcode != opReport && opcode != opDelete && opcode != opCount {
		refusal = unknownOpcode
	}
	if refusal != 0 {
		return []byte{opResponse, 0, opcode, refusal}
	}
	var chosen, others []Stored
	memory := s.Memory()
	for i, r := range memory {
		if wants(i, len(memory), r.Sequence) {
			chosen = append(chosen, r)
		} else {
			others = append(others, r)
		}
	}
	if opcode == opCount {
		return binary.LittleEndian.AppendUint16([]byte{opNumber, 0}, uint16(len(chosen)))
	}
	if len(chosen) == 0 {
		return []byte{opResponse, 0, opcode, noRecords}
	}
	if opcode == opDelete {
		s.mu.Lock()
		s.memory = others
		s.mu.Unlock()
		return []byte{opResponse, 0, opcode, success}
	}
	for _, r := range chosen {
		for _, v := range r.Values {
			if err := s.EmitPayload(ctx, v.UUID, v.Payload); err != nil {
				return []byte{opResponse, 0, opcode, 8} // procedure not completed
			}
		}
	}
	return []byte{opResponse, 0, opcode, success}
}

// selection reads operator and operand; only sequence numbers are a filter.
func selection(request []byte) (func(i, n int, sequence uint16) bool, byte) {
	operator, operand := request[0], request[1:]
	bounds := map[byte]int{all: 0, upTo: 1, from: 1, within: 2, first: 0, last: 0}
	count, known := bounds[operator]
	switch {
	case operator == 0:
		return nil, badOperator
	case !known:
		return nil, unknownOperator
	case count == 0 && len(operand) > 0, count > 0 && (len(operand) != 1+2*count || operand[0] != 1):
		return nil, badOperand
	}
	low, high := uint16(0), uint16(0xFFFF)
	if operator == from || operator == within {
		low = binary.LittleEndian.Uint16(operand[1:])
	}
	if operator == upTo || operator == within {
		high = binary.LittleEndian.Uint16(operand[len(operand)-2:])
	}
	return func(i, n int, sequence uint16) bool {
		inside := sequence >= low && sequence <= high
		return inside && (operator != first || i == 0) && (operator != last || i == n-1)
	}, 0
}
