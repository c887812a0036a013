package radio

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-ble/ble"

	"github.com/vitalveil/vitalveil/wearable/virtual"
)

// subscribed connects to a sensor and subscribes to whatever it sends.
func subscribed(ctx context.Context, conn ble.Conn, take func([]byte) error) (Link, error) {
	l, err := OverATT(ctx, conn)
	if err != nil {
		return nil, err
	}
	all, err := l.Characteristics(ctx)
	for _, c := range all {
		if err == nil && c.Sends {
			err = l.Subscribe(ctx, c, take)
		}
	}
	if err == nil && len(all) == 0 {
		err = errors.New("no characteristic")
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func ignore([]byte) error { return nil }

// script plays a hostile sensor: it answers each request as it likes.
func script(t *testing.T, answer func(request []byte) [][]byte) ble.Conn {
	central, peripheral := virtual.NewLink()
	var played sync.WaitGroup
	played.Go(func() {
		buf := make([]byte, ble.MaxMTU)
		for {
			n, err := peripheral.Read(buf)
			if err != nil {
				return
			}
			if buf[0]&1 != 0 {
				continue // not a request
			}
			for _, pdu := range answer(buf[:n]) {
				if _, err := peripheral.Write(pdu); err != nil {
					return
				}
			}
		}
	})
	t.Cleanup(func() { peripheral.Close(); played.Wait() })
	return central
}

// honest answers as a strap with one service, one characteristic and its
// descriptor would.
func honest(request []byte) []byte {
	start := uint16(0)
	if len(request) >= 3 {
		start = binary.LittleEndian.Uint16(request[1:])
	}
	none := []byte{attError, request[0], 0, 0, 0x0a}
	switch request[0] {
	case attMTURequest:
		return []byte{attMTUResponse, 23, 0}
	case attReadByGroup:
		if start == 1 {
			return []byte{attReadByGroup + 1, 6, 1, 0, 5, 0, 0x0d, 0x18}
		}
	case attReadByType:
		if start == 1 {
			return []byte{attReadByType + 1, 7, 2, 0, 0x10, 3, 0, 0x37, 0x2a}
		}
	case attFindInfo:
		if start == 4 {
			return []byte{attFindInfo + 1, 1, 4, 0, 0x02, 0x29}
		}
	case attWrite:
		return []byte{attWrite + 1}
	}
	return none
}

// go-ble's client panics on its own goroutine, loops or hangs on each of these.
// Here the connection ends with an error and the process lives on.
func TestAttackHostileSensor(t *testing.T) {
	instead := func(opcode byte, pdus ...[]byte) func([]byte) [][]byte {
		return func(request []byte) [][]byte {
			if request[0] == opcode {
				return pdus
			}
			return [][]byte{honest(request)}
		}
	}
	cases := map[string]func([]byte) [][]byte{
		"empty PDU":                  instead(attReadByGroup, []byte{}),
		"notification of one byte":   instead(attReadByGroup, []byte{attNotification}),
		"entries of length zero":     instead(attReadByType, []byte{attReadByType + 1, 0, 1, 2}),
		"entries too short":          instead(attReadByType, []byte{attReadByType + 1, 2, 1, 0}),
		"services without end":       instead(attReadByGroup, []byte{attReadByGroup + 1, 6, 1, 0, 0, 0, 0x0d, 0x18}),
		"handles that do not ascend": instead(attReadByType, []byte{attReadByType + 1, 7, 2, 0, 0x10, 1, 0, 0x37, 0x2a}),
		"unknown descriptor format":  instead(attFindInfo, []byte{attFindInfo + 1, 3, 4, 0, 2, 0x29, 1}),
		"half a descriptor":          instead(attFindInfo, []byte{attFindInfo + 1, 1, 4, 0, 2}),
		"packet size zero":           instead(attMTURequest, []byte{attMTUResponse, 0, 0}),
		"no answer to a write":       instead(attWrite),
	}
	for name, answer := range cases {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if l, err := subscribed(ctx, script(t, answer), ignore); err == nil {
			t.Errorf("%s: connected", name)
			l.Close()
		}
		cancel()
	}
	noise := func(request []byte) [][]byte { // strays around an honest answer
		return [][]byte{{attError}, {0x7f}, {attConfirmation}, {attMTURequest, 23, 0}, {0xd2, 1, 2}, honest(request), {attWrite + 1}}
	}
	l, err := subscribed(t.Context(), script(t, noise), ignore)
	if err != nil {
		t.Fatalf("strays end the connection: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// Whatever passes the check, go-ble's parsers may index without bounds checks.
func FuzzCheckResponse(f *testing.F) {
	f.Add([]byte{attReadByType, 1, 0, 9, 0, 3, 0x28}, []byte{attReadByType + 1, 7, 2, 0, 0x10, 3, 0, 0x37, 0x2a})
	f.Add([]byte{attFindInfo, 4, 0, 5, 0}, []byte{attFindInfo + 1, 1, 4, 0, 0x02, 0x29})
	f.Add([]byte{attReadByGroup, 1, 0, 255, 255, 0, 0x28}, []byte{attReadByGroup + 1, 6, 1, 0, 5, 0, 0x0d, 0x18})
	f.Fuzz(func(t *testing.T, request, pdu []byte) {
		if len(request) == 0 || len(pdu) == 0 || !answersTo(request[0], pdu) || checkResponse(request, pdu) != nil {
			return
		}
		if pdu[0] == attReadByType+1 || pdu[0] == attReadByGroup+1 {
			if pdu[1] < 6 || (len(pdu)-2)%int(pdu[1]) != 0 || len(pdu) < 8 {
				t.Fatalf("accepted % x", pdu)
			}
		}
	})
}
