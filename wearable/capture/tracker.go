package capture

import (
	"encoding/binary"
	"fmt"

	"github.com/vitalveil/vitalveil/wearable"
)

// Codes of HCI (Bluetooth Core Specification, volume 4, part E) and of the link
// layer (volume 6, part B).
const (
	eventDisconnected = 0x05
	eventLEMeta       = 0x3E
	leConnected       = 0x01
	leEnhanced        = 0x0A
	leEnhancedV2      = 0x29

	advertising    = 0x8E89BED6 // the access address of primary advertising
	connectRequest = 5
	llContinuation = 1
	llStart        = 2
	llControl      = 3
	llTerminate    = 0x02
	llStartEncrypt = 0x05
)

const (
	// maxLinks bounds how many connections and peers a capture may make the
	// tracker remember, maxDiscovered how many attributes in all; further ones
	// are not followed.
	maxLinks      = 256
	maxDiscovered = 1 << 18
)

// attributeValue is one value that a server sent on its own accord. Its payload
// is the caller's to keep.
type attributeValue struct {
	uuid    wearable.UUID
	payload []byte
	link    *connection
}

// attributes maps value handles to characteristics.
type attributes map[uint16]wearable.UUID

// connection is one connection: its two sides, and how it is reported.
type connection struct {
	sides  [2]*side
	report *Link
	// halves are packets under way, of each side and of nobody known.
	halves [3]half
	// channels are the enhanced bearers of either side, by its channel number.
	channels [2]map[uint16]*channel
	// offered are the channel numbers of a request that has no answer yet.
	offered   []uint16
	offeredBy int
	encrypted bool
	// last is the link layer packet that each side sent last, to know it again.
	last [2][]byte
}

// side is what one side of a connection serves, and the attribute type of its last
// Read By Type request on each bearer.
type side struct {
	serves attributes
	asked  uint16
}

// tracker follows the packets of a capture.
type tracker struct {
	links map[uint64]*connection
	// known keeps the tables of each peer address, because a host that caches
	// them does not discover again after a reconnection.
	known map[[7]byte][2]attributes
	// reports are of all connections, the ended ones too.
	reports    []*Link
	discovered int
}

func newTracker() *tracker {
	return &tracker{links: map[uint64]*connection{}, known: map[[7]byte][2]attributes{}}
}

// summary returns the connections that had something to say.
func (t *tracker) summary() []Link {
	var all []Link
	for _, r := range t.reports {
		if r.Values > 0 || r.Unknown > 0 || r.Encrypted > 0 {
			all = append(all, *r)
		}
	}
	return all
}

func (t *tracker) unknown() int {
	n := 0
	for _, r := range t.reports {
		n += r.Unknown
	}
	return n
}

// packet takes one record and returns the values in it, and false where it is not
// what its data link says.
func (t *tracker) packet(p packet) ([]attributeValue, bool) {
	switch p.link {
	case linkUART, linkH4:
		return t.framed(p, p.data, 0)
	case linkH4Phdr:
		if len(p.data) < 4 {
			return nil, false
		}
		p.side = int(p.data[3] & 1)
		return t.framed(p, p.data[4:], 0)
	case linkMonitor:
		if len(p.data) < 4 {
			return nil, false
		}
		adapter := uint64(binary.BigEndian.Uint16(p.data))
		p.kind, p.side = monitorKind(binary.BigEndian.Uint16(p.data[2:]))
		return t.hci(p, p.data[4:], adapter)
	case linkUnframed, linkSnoopMon, linkLogger:
		return t.hci(p, p.data, 0)
	}
	return t.air(p)
}

func (t *tracker) framed(p packet, data []byte, adapter uint64) ([]attributeValue, bool) {
	if len(data) == 0 {
		return nil, false
	}
	p.kind = data[0]
	return t.hci(p, data[1:], adapter)
}

// hci takes a packet between host and controller.
func (t *tracker) hci(p packet, data []byte, adapter uint64) ([]attributeValue, bool) {
	switch p.kind {
	case h4Event:
		return nil, t.event(data, adapter)
	case h4ACL:
		return t.acl(data, p.side, adapter)
	}
	return nil, true
}

// event keeps track of connections, whose handles are reused.
func (t *tracker) event(data []byte, adapter uint64) bool {
	if len(data) < 2 || int(data[1]) != len(data)-2 {
		return false
	}
	code, body := data[0], data[2:]
	switch {
	case code == eventDisconnected && len(body) == 4:
		delete(t.links, key(adapter, binary.LittleEndian.Uint16(body[1:])))
	case code == eventLEMeta && len(body) >= 12 && (body[0] == leConnected || body[0] == leEnhanced || body[0] == leEnhancedV2) && body[1] == 0:
		handle := binary.LittleEndian.Uint16(body[2:])
		t.connected(key(adapter, handle), fmt.Sprintf("handle 0x%04x", handle&0x0FFF), [7]byte(body[5:12]))
	}
	return true
}

func key(adapter uint64, handle uint16) uint64 { return adapter<<16 | uint64(handle&0x0FFF) }

// connected starts a connection afresh, with the tables already known of the
// peer: its address type, and the address, least significant byte first.
func (t *tracker) connected(id uint64, name string, peer [7]byte) {
	remembered, ok := t.known[peer]
	if !ok {
		remembered = [2]attributes{{}, {}}
		if len(t.known) < maxLinks {
			t.known[peer] = remembered
		}
	}
	if len(t.links) >= maxLinks && t.links[id] == nil {
		return
	}
	a := peer[1:]
	name = fmt.Sprintf("%s (%02x:%02x:%02x:%02x:%02x:%02x)", name, a[5], a[4], a[3], a[2], a[1], a[0])
	t.links[id] = t.connection(name, remembered)
}

func (t *tracker) connection(name string, tables [2]attributes) *connection {
	report := &Link{Name: name}
	// Beyond the bound a connection is followed and not reported by name.
	if len(t.reports) < 4*maxLinks {
		t.reports = append(t.reports, report)
	} else {
		report = t.reports[len(t.reports)-1]
	}
	return &connection{
		sides:    [2]*side{{serves: tables[0]}, {serves: tables[1]}},
		channels: [2]map[uint16]*channel{{}, {}}, report: report,
	}
}

// linkOf returns the connection, which may have begun before the capture.
func (t *tracker) linkOf(id uint64, name string) *connection {
	c := t.links[id]
	if c == nil && len(t.links) < maxLinks {
		c = t.connection(name, [2]attributes{{}, {}})
		t.links[id] = c
	}
	return c
}

// acl takes an ACL packet, a part of an L2CAP packet.
func (t *tracker) acl(data []byte, from int, adapter uint64) ([]attributeValue, bool) {
	if len(data) < 4 || int(binary.LittleEndian.Uint16(data[2:])) != len(data)-4 {
		return nil, false
	}
	head := binary.LittleEndian.Uint16(data)
	c := t.linkOf(key(adapter, head), fmt.Sprintf("handle 0x%04x", head&0x0FFF))
	if c == nil {
		return nil, true
	}
	const continuation = 1
	return t.part(c, from, head>>12&3 != continuation, data[4:])
}

// air takes a packet of the link layer, under the headers of a sniffer.
func (t *tracker) air(p packet) ([]attributeValue, bool) {
	data, decrypted := p.data, false
	switch p.link {
	case linkLEPhdr:
		if len(data) < 10 {
			return nil, false
		}
		flags := binary.LittleEndian.Uint16(data[8:])
		if flags&(1<<10) != 0 && flags&(1<<11) == 0 {
			return nil, false // its checksum was looked at and is wrong
		}
		decrypted = flags&(1<<3) != 0
		switch flags >> 7 & 7 {
		case 2:
			p.side = sent
		case 3:
			p.side = received
		}
		data = data[10:]
	case linkNordic:
		ok := false
		if data, p.side, decrypted, ok = nordic(data); !ok {
			return nil, false
		}
	}
	if len(data) < 4+2+3 || 4+2+int(data[5])+3 > len(data) {
		return nil, false
	}
	address, head, body := binary.LittleEndian.Uint32(data), data[4], data[6:6+int(data[5])]
	if address == advertising {
		t.advertised(head, body)
		return nil, true
	}
	return t.connectedAir(address, head, body, p.side, decrypted)
}

// nordic takes off the headers of nRF Sniffer (its protocol versions 1 to 3; a link
// layer packet of version 1 has a byte of padding behind its header).
func nordic(data []byte) (packet []byte, from int, decrypted, ok bool) {
	const head, ofPacket = 7, 10
	if len(data) < head+ofPacket || int(data[head]) < ofPacket || len(data) < head+int(data[head]) {
		return nil, 0, false, false
	}
	if kind := data[6]; kind != 0x02 && kind != 0x06 {
		return nil, 0, false, false
	}
	flags := data[head+1]
	if flags&1 == 0 {
		return nil, 0, false, false // the checksum is wrong
	}
	from = received
	if flags&2 != 0 {
		from = sent
	}
	packet = data[head+int(data[head]):]
	if len(packet) > 6 && len(packet) == 4+2+1+int(packet[5])+3 {
		packet = append(append([]byte(nil), packet[:6]...), packet[7:]...)
	}
	return packet, from, flags&(1<<2) != 0 && flags&(1<<3) != 0, true
}

// advertised finds connections as they begin.
func (t *tracker) advertised(head byte, body []byte) {
	if head&0x0F != connectRequest || len(body) < 12+4 {
		return
	}
	address := binary.LittleEndian.Uint32(body[12:])
	peer := [7]byte{head >> 7}
	copy(peer[1:], body[6:12])
	t.connected(uint64(address), accessName(address), peer)
}

func accessName(address uint32) string { return fmt.Sprintf("access address 0x%08x", address) }

// connectedAir takes a packet of a connection.
func (t *tracker) connectedAir(address uint32, head byte, body []byte, from int, decrypted bool) ([]attributeValue, bool) {
	c := t.linkOf(uint64(address), accessName(address))
	if c == nil || len(body) == 0 {
		return nil, true
	}
	if from != unknownSide {
		whole := append([]byte{head & 0x0B}, body...) // without what an answer changes
		if string(whole) == string(c.last[from]) {
			return nil, true // sent again
		}
		c.last[from] = whole
	}
	kind := head & 3
	switch {
	case c.encrypted && !decrypted:
		c.report.Encrypted++
	case kind == llControl && body[0] == llStartEncrypt:
		c.encrypted = true
	case kind == llControl && body[0] == llTerminate:
		delete(t.links, uint64(address))
	case kind == llStart || kind == llContinuation:
		return t.part(c, from, kind == llStart, body)
	}
	return nil, true
}
