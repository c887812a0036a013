package capture

import (
	"encoding/binary"

	"github.com/vitalveil/vitalveil/wearable"
)

// Opcodes of ATT (Bluetooth Core Specification, volume 3, part F).
const (
	attInformation      = 0x05
	attReadByType       = 0x08
	attByType           = 0x09
	attNotification     = 0x1B
	attIndication       = 0x1D
	attNotificationList = 0x23

	typeCharacteristic = 0x2803
)

// fromServer tells whether servers send a packet with that opcode: responses, of
// odd numbers, and what they send unasked. Confirmations (0x1E) are clients'.
func fromServer(opcode byte) bool {
	return opcode&1 != 0 && opcode <= attNotificationList
}

// att takes one ATT packet. Where nobody says who sent it, what servers send comes
// from the other side.
func (t *tracker) att(c *connection, from int, data []byte) []attributeValue {
	if len(data) < 3 {
		return nil
	}
	if from == unknownSide {
		from = sent
		if fromServer(data[0]) {
			from = received
		}
	}
	me, other := c.sides[from], c.sides[1-from]
	switch data[0] {
	case attReadByType:
		me.asked = 0
		if len(data) == 7 {
			me.asked = binary.LittleEndian.Uint16(data[5:])
		}
	case attByType:
		if other.asked == typeCharacteristic {
			t.characteristics(data[2:], int(data[1]), me)
		}
	case attInformation:
		t.information(data[2:], data[1], me)
	case attNotification, attIndication:
		return t.value(c, binary.LittleEndian.Uint16(data[1:]), data[3:], me)
	case attNotificationList:
		return t.valueList(c, data[1:], me)
	}
	return nil
}

// characteristics takes declarations: handle, properties, value handle, UUID.
func (t *tracker) characteristics(list []byte, width int, server *side) {
	if (width != 7 && width != 21) || len(list)%width != 0 {
		return
	}
	for ; len(list) > 0; list = list[width:] {
		t.discover(server, binary.LittleEndian.Uint16(list[3:]), list[5:width])
	}
}

// information takes pairs of handle and attribute type; the type of a value is
// its characteristic's UUID.
func (t *tracker) information(list []byte, format byte, server *side) {
	width := 4
	if format == 2 {
		width = 18
	}
	if len(list)%width != 0 {
		return
	}
	for ; len(list) > 0; list = list[width:] {
		t.discover(server, binary.LittleEndian.Uint16(list), list[2:width])
	}
}

func (t *tracker) discover(server *side, handle uint16, uuid []byte) {
	if t.discovered >= maxDiscovered {
		return
	}
	t.discovered++
	server.serves[handle] = wearable.UUIDFromBytes(uuid)
}

// value returns the value under a handle if its characteristic can be decoded.
func (t *tracker) value(c *connection, handle uint16, payload []byte, server *side) []attributeValue {
	uuid, known := server.serves[handle]
	if !known {
		c.report.Unknown++
	}
	if !wearable.Decodes(uuid) {
		return nil
	}
	return []attributeValue{{uuid, append([]byte(nil), payload...), c}}
}

// valueList takes several values: handle, length, value.
func (t *tracker) valueList(c *connection, list []byte, server *side) []attributeValue {
	var values []attributeValue
	for len(list) >= 4 {
		length := int(binary.LittleEndian.Uint16(list[2:]))
		if len(list)-4 < length {
			return values
		}
		values = append(values, t.value(c, binary.LittleEndian.Uint16(list), list[4:4+length], server)...)
		list = list[4+length:]
	}
	return values
}
