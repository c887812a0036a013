package capture

import "encoding/binary"

// Channels and codes of L2CAP (Bluetooth Core Specification, volume 3, part A).
const (
	channelATT       = 4
	channelSignaling = 5

	creditRequest  = 0x17
	creditResponse = 0x18
	// enhancedATT is the number of the protocol that enhanced bearers carry.
	enhancedATT = 0x0027
)

const (
	// maxATT is the largest ATT packet: a whole attribute value and its header.
	// Longer ones are skipped.
	maxATT = 4096
	// maxChannels is how many enhanced bearers a side may have; a request opens
	// five at most.
	maxChannels   = 32
	perRequest    = 5
	requestHead   = 8
	responseHead  = 8
	signalingHead = 4
)

// half is an L2CAP packet under way.
type half struct {
	data     []byte
	expected int
}

// channel is an enhanced bearer in one direction: a value under way in it.
type channel struct {
	data     []byte
	expected int
}

// part takes a fragment of an L2CAP packet. Where nobody says who sent it, a
// continuation goes to the packet under way that it fits.
func (t *tracker) part(c *connection, from int, start bool, body []byte) ([]attributeValue, bool) {
	h := &c.halves[from]
	if from == unknownSide && (start && h.expected > 0 || !start && len(h.data)+len(body) > h.expected) {
		// Both sides have a packet under way: use the place of the other.
		h = &c.halves[sent]
	}
	if start {
		h.data, h.expected = h.data[:0], 0
		if len(body) < 4 {
			return nil, false
		}
		h.expected = 4 + int(binary.LittleEndian.Uint16(body))
		// A sniffer that decrypts leaves the four bytes of a packet's check.
		if len(body) == h.expected+4 {
			body = body[:h.expected]
		}
	}
	if h.expected == 0 || len(h.data)+len(body) > h.expected {
		h.data, h.expected = h.data[:0], 0
		return nil, false
	}
	h.data = append(h.data, body...)
	if len(h.data) < h.expected {
		return nil, true
	}
	whole := h.data
	h.data, h.expected = h.data[:0], 0
	return t.frame(c, from, binary.LittleEndian.Uint16(whole[2:]), whole[4:]), true
}

// frame takes one L2CAP packet on a channel.
func (t *tracker) frame(c *connection, from int, number uint16, body []byte) []attributeValue {
	switch number {
	case channelATT:
		if len(body) > maxATT {
			return nil
		}
		return t.att(c, from, body)
	case channelSignaling:
		c.signal(from, body)
		return nil
	}
	return t.bearer(c, from, number, body)
}

// signal follows the opening of enhanced bearers.
func (c *connection) signal(from int, body []byte) {
	if len(body) < signalingHead || int(binary.LittleEndian.Uint16(body[2:])) != len(body)-signalingHead {
		return
	}
	code, body := body[0], body[signalingHead:]
	switch {
	case code == creditRequest && len(body) > requestHead && len(body) <= requestHead+2*perRequest && binary.LittleEndian.Uint16(body) == enhancedATT:
		c.offered, c.offeredBy = numbers(body[requestHead:]), from
	case code == creditResponse && len(body) > responseHead && c.offered != nil:
		by := c.offeredBy
		if by == unknownSide {
			by = sent
		}
		// What the asking side gets goes to the numbers that it offered, what the
		// other gets to those that it answered with.
		c.openChannels(by, c.offered)
		c.openChannels(1-by, numbers(body[responseHead:]))
		c.offered = nil
	}
}

func numbers(list []byte) []uint16 {
	var all []uint16
	for ; len(list) >= 2; list = list[2:] {
		all = append(all, binary.LittleEndian.Uint16(list))
	}
	return all
}

// openChannels opens the bearers at which a side receives.
func (c *connection) openChannels(side int, all []uint16) {
	for _, number := range all[:min(len(all), perRequest)] {
		if number >= 0x40 && len(c.channels[side]) < maxChannels {
			c.channels[side][number] = &channel{}
		}
	}
}

// bearer takes a frame of an enhanced bearer; the first of a value has the value's
// length in front.
func (t *tracker) bearer(c *connection, from int, number uint16, body []byte) []attributeValue {
	to := 1 - from
	if from == unknownSide {
		to = received
		if c.channels[sent][number] != nil && c.channels[received][number] == nil {
			to = sent
		}
	}
	ch := c.channels[to][number]
	if ch == nil {
		return nil
	}
	if ch.expected == 0 {
		if len(body) < 2 {
			return nil
		}
		ch.expected, body = int(binary.LittleEndian.Uint16(body)), body[2:]
	}
	if ch.expected > maxATT || len(ch.data)+len(body) > ch.expected {
		ch.data, ch.expected = ch.data[:0], 0
		return nil
	}
	ch.data = append(ch.data, body...)
	if len(ch.data) < ch.expected {
		return nil
	}
	whole := ch.data
	ch.data, ch.expected = ch.data[:0], 0
	return t.att(c, from, whole)
}
