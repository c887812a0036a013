package wearable

import "encoding/binary"

// Packet types and codes of the Bluetooth Core Specification that a capture is
// followed by: H4 (volume 4, part A), HCI (volume 4, part E), L2CAP (volume 3,
// part A) and ATT (volume 3, part F).
const (
	h4ACL   = 2
	h4Event = 4

	eventDisconnected = 0x05
	eventLEMeta       = 0x3E
	leConnected       = 0x01
	leConnectedV2     = 0x0A

	channelATT = 4

	attInformation      = 0x05
	attReadByType       = 0x08
	attByType           = 0x09
	attNotification     = 0x1B
	attIndication       = 0x1D
	attNotificationList = 0x23

	typeCharacteristic = 0x2803
)

const (
	// maxLinks bounds how many connections and peers a capture may make the
	// tracker remember, maxDiscovered how many attributes in all; further ones
	// are not followed.
	maxLinks      = 256
	maxDiscovered = 1 << 18
	// maxATT is the largest ATT packet: a whole attribute value and its header.
	// Longer ones are skipped, except lists of several values.
	maxATT = 4096
)

// attributeValue is one value that a server sent on its own accord. Its payload
// is the caller's to keep.
type attributeValue struct {
	uuid    UUID
	payload []byte
}

// attributes maps value handles to characteristics.
type attributes map[uint16]UUID

// stream is one direction of one connection: what the sender transmits, and the
// attributes that it serves.
type stream struct {
	partial  []byte
	expected int
	serves   attributes
	// asked is the attribute type of this sender's last Read By Type request.
	asked uint16
}

// link is one connection: [0] what the host sent, [1] what it received.
type link [2]*stream

// tracker follows the packets of a capture.
type tracker struct {
	links map[uint16]*link
	// known keeps the tables of each peer address, because a host that caches
	// them does not discover again after a reconnection.
	known map[[7]byte]*link
	// undiscovered counts values under handles that no discovery explained;
	// discovered counts the attributes that were.
	undiscovered int
	discovered   int
}

func newTracker() *tracker {
	return &tracker{links: map[uint16]*link{}, known: map[[7]byte]*link{}}
}

func newLink() *link {
	return &link{{serves: attributes{}}, {serves: attributes{}}}
}

// packet takes one H4 packet and returns the values in it. Packets that are
// malformed or of no interest have none: a radio link loses and garbles packets
// without the rest becoming worthless.
func (t *tracker) packet(data []byte, received bool) []attributeValue {
	if len(data) == 0 {
		return nil
	}
	switch data[0] {
	case h4Event:
		t.event(data[1:])
	case h4ACL:
		return t.acl(data[1:], received)
	}
	return nil
}

// event keeps track of connections, whose handles are reused.
func (t *tracker) event(data []byte) {
	if len(data) < 2 || int(data[1]) != len(data)-2 {
		return
	}
	code, body := data[0], data[2:]
	switch {
	case code == eventDisconnected && len(body) == 4:
		delete(t.links, binary.LittleEndian.Uint16(body[1:])&0x0FFF)
	case code == eventLEMeta && len(body) >= 12 && (body[0] == leConnected || body[0] == leConnectedV2) && body[1] == 0:
		t.connected(binary.LittleEndian.Uint16(body[2:])&0x0FFF, [7]byte(body[5:12]))
	}
}

// connected starts a connection afresh, with the tables already known of the
// peer.
func (t *tracker) connected(handle uint16, peer [7]byte) {
	remembered := t.known[peer]
	if remembered == nil {
		remembered = newLink()
		if len(t.known) < maxLinks {
			t.known[peer] = remembered
		}
	}
	if len(t.links) >= maxLinks && t.links[handle] == nil {
		return
	}
	t.links[handle] = &link{{serves: remembered[0].serves}, {serves: remembered[1].serves}}
}

// linkOf returns the connection, which may have begun before the capture.
func (t *tracker) linkOf(handle uint16) *link {
	l := t.links[handle]
	if l == nil && len(t.links) < maxLinks {
		l = newLink()
		t.links[handle] = l
	}
	return l
}

// acl reassembles L2CAP packets from ACL fragments.
func (t *tracker) acl(data []byte, received bool) []attributeValue {
	if len(data) < 4 || int(binary.LittleEndian.Uint16(data[2:])) != len(data)-4 {
		return nil
	}
	head, body := binary.LittleEndian.Uint16(data), data[4:]
	l := t.linkOf(head & 0x0FFF)
	if l == nil {
		return nil
	}
	from, to := l[0], l[1]
	if received {
		from, to = to, from
	}
	const continuation = 1
	if head>>12&3 != continuation {
		from.partial, from.expected = from.partial[:0], 0
		if len(body) < 4 {
			return nil
		}
		from.expected = 4 + int(binary.LittleEndian.Uint16(body))
	}
	if from.expected == 0 || len(from.partial)+len(body) > from.expected {
		from.partial, from.expected = from.partial[:0], 0
		return nil
	}
	from.partial = append(from.partial, body...)
	if len(from.partial) < from.expected {
		return nil
	}
	whole := from.partial
	from.partial, from.expected = from.partial[:0], 0
	if binary.LittleEndian.Uint16(whole[2:]) != channelATT || len(whole) > maxATT {
		return nil
	}
	return t.att(whole[4:], from, to)
}

// att takes one ATT packet, sent by from to to.
func (t *tracker) att(data []byte, from, to *stream) []attributeValue {
	if len(data) < 3 {
		return nil
	}
	switch data[0] {
	case attReadByType:
		from.asked = 0
		if len(data) == 7 {
			from.asked = binary.LittleEndian.Uint16(data[5:])
		}
	case attByType:
		if to.asked == typeCharacteristic {
			t.characteristics(data[2:], int(data[1]), from)
		}
	case attInformation:
		t.information(data[2:], data[1], from)
	case attNotification, attIndication:
		return t.value(binary.LittleEndian.Uint16(data[1:]), data[3:], from)
	case attNotificationList:
		return t.valueList(data[1:], from)
	}
	return nil
}

// characteristics takes declarations: handle, properties, value handle, UUID.
func (t *tracker) characteristics(list []byte, width int, server *stream) {
	if (width != 7 && width != 21) || len(list)%width != 0 {
		return
	}
	for ; len(list) > 0; list = list[width:] {
		t.discover(server, binary.LittleEndian.Uint16(list[3:]), list[5:width])
	}
}

// information takes pairs of handle and attribute type; the type of a value is
// its characteristic's UUID.
func (t *tracker) information(list []byte, format byte, server *stream) {
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

func (t *tracker) discover(server *stream, handle uint16, uuid []byte) {
	if t.discovered >= maxDiscovered {
		return
	}
	t.discovered++
	server.serves[handle] = UUIDFromBytes(uuid)
}

// value returns the value under a handle if its characteristic can be decoded.
func (t *tracker) value(handle uint16, payload []byte, server *stream) []attributeValue {
	uuid, known := server.serves[handle]
	if !known {
		t.undiscovered++
	}
	if !Measures(uuid) {
		return nil
	}
	return []attributeValue{{uuid, append([]byte(nil), payload...)}}
}

// valueList takes several values: handle, length, value.
func (t *tracker) valueList(list []byte, server *stream) []attributeValue {
	var values []attributeValue
	for len(list) >= 4 {
		length := int(binary.LittleEndian.Uint16(list[2:]))
		if len(list)-4 < length {
			return nil
		}
		values = append(values, t.value(binary.LittleEndian.Uint16(list), list[4:4+length], server)...)
		list = list[4+length:]
	}
	return values
}
