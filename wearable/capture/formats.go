package capture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Who sent a packet: the side that captured (a host; in the air the central), the
// other side, or nobody says.
const (
	sent = iota
	received
	unknownSide
)

// packet is one record of a capture, as its data link has it. data is valid until
// the next one is read.
type packet struct {
	micros int64
	link   link
	side   int
	// kind is an H4 packet type where the record has it elsewhere than in data.
	kind byte
	data []byte
	// cut: the record's end was not captured.
	cut bool
}

// link is a kind of record. Numbers below 1000 are link types of pcap, the others
// data links of btsnoop, where those differ.
type link int

const (
	linkH4       link = 187  // an H4 packet, no direction
	linkH4Phdr   link = 201  // direction in four bytes, an H4 packet
	linkLE       link = 251  // a link layer packet
	linkMonitor  link = 254  // adapter and opcode of Linux's monitor, a packet
	linkLEPhdr   link = 256  // a pseudo header, a link layer packet
	linkNordic   link = 272  // nRF Sniffer: headers, a link layer packet
	linkUnframed link = 1001 // an HCI packet whose type is in the record's header
	linkUART     link = 1002 // an H4 packet, direction in the record's header
	linkSnoopMon link = 2001 // as linkMonitor, in the record's header
	linkLogger   link = 2999 // PacketLogger: the type in the record's header
)

var linkNames = map[link]string{
	linkH4: "H4", linkH4Phdr: "H4 with direction", linkLE: "link layer", linkMonitor: "Linux monitor", linkLEPhdr: "link layer with pseudo header",
	linkNordic: "nRF Sniffer", linkUnframed: "HCI", linkUART: "H4", linkSnoopMon: "Linux monitor", linkLogger: "HCI",
}

// H4 packet types (Bluetooth Core Specification, volume 4, part A).
const (
	h4ACL   = 2
	h4Event = 4
	h4Other = 0xFF
)

// maxRecord is above the largest ACL packet (65,535 bytes of data) with its
// headers.
const maxRecord = 1 << 17

// reader reads one container. next returns io.EOF after the last record; a record
// that the file ends within is a cut one.
type reader interface {
	format() string
	next() (packet, error)
}

const snoopMagic = "btsnoop\x00"

// open finds out what a file is.
func open(in *bufio.Reader) (reader, error) {
	head, err := in.Peek(16)
	if len(head) < 13 {
		return nil, fmt.Errorf("%w: it has %d bytes (%w)", ErrCapture, len(head), err)
	}
	switch magic := binary.BigEndian.Uint32(head); {
	case bytes.HasPrefix(head, []byte(snoopMagic)):
		return openSnoop(in)
	case magic == 0x0A0D0D0A:
		return openPcapNG(in)
	case magic == 0xA1B2C3D4 || magic == 0xD4C3B2A1 || magic == 0xA1B23C4D || magic == 0x4D3CB2A1:
		return openPcap(in)
	}
	for _, order := range []binary.ByteOrder{binary.BigEndian, binary.LittleEndian} {
		if plausibleLogger(head, order) {
			return &logger{records{in: in}, order}, nil
		}
	}
	return nil, fmt.Errorf("%w: it is neither btsnoop nor PacketLogger, pcap or pcapng", ErrCapture)
}

// records reads bytes with bounds.
type records struct {
	in     *bufio.Reader
	count  int
	buffer []byte
}

// head reads the header of the next record. Bytes behind the last whole record are
// a cut one.
func (r *records) head(head []byte) (cut bool, err error) {
	n, err := io.ReadFull(r.in, head)
	if n == 0 && err != nil {
		return false, io.EOF
	}
	r.count++
	return err != nil, nil
}

// body reads n bytes, growing with what really arrives and not with what a header
// claims.
func (r *records) body(n int) (data []byte, cut bool, err error) {
	if n < 0 || n > maxRecord {
		return nil, false, fmt.Errorf("%w: record %d says that it has %d bytes, at most %d are read", ErrCapture, r.count, n, maxRecord)
	}
	buffer := bytes.NewBuffer(r.buffer[:0])
	_, err = io.CopyN(buffer, r.in, int64(n))
	r.buffer = buffer.Bytes()
	return r.buffer, err != nil, nil
}

// snoop is btsnoop (RFC 1761 with the data links that Bluetooth tools added).
type snoop struct {
	records
	link link
}

func openSnoop(in *bufio.Reader) (reader, error) {
	var head [16]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, fmt.Errorf("%w: the file header is incomplete", ErrCapture)
	}
	version, dataLink := binary.BigEndian.Uint32(head[8:]), link(binary.BigEndian.Uint32(head[12:]))
	if version != 1 || dataLink != linkUnframed && dataLink != linkUART && dataLink != linkSnoopMon {
		return nil, fmt.Errorf("%w: btsnoop version %d, data link %d; version 1 of data links 1001, 1002, 2001 is read", ErrCapture, version, dataLink)
	}
	return &snoop{records{in: in}, dataLink}, nil
}

func (s *snoop) format() string { return fmt.Sprintf("btsnoop %d (%s)", s.link, linkNames[s.link]) }

func (s *snoop) next() (packet, error) {
	var head [24]byte
	cut, err := s.head(head[:])
	if cut || err != nil {
		return packet{cut: cut}, err
	}
	original, included := binary.BigEndian.Uint32(head[0:]), binary.BigEndian.Uint32(head[4:])
	flags := binary.BigEndian.Uint32(head[8:])
	p := packet{micros: int64(binary.BigEndian.Uint64(head[16:])), link: s.link, side: int(flags & 1)}
	p.data, cut, err = s.body(int(included))
	p.cut = cut || included < original
	switch s.link {
	case linkUnframed:
		p.kind = h4ACL
		if flags&2 != 0 {
			p.kind = h4Event
			if p.side == sent {
				p.kind = h4Other // a command
			}
		}
	case linkSnoopMon:
		p.kind, p.side = monitorKind(uint16(flags))
	}
	return p, err
}

// monitorKind reads an opcode of Linux's monitor (btmon).
func monitorKind(opcode uint16) (byte, int) {
	switch opcode {
	case 3:
		return h4Event, received
	case 4:
		return h4ACL, sent
	case 5:
		return h4ACL, received
	}
	return h4Other, unknownSide
}

// logger is Apple's PacketLogger: length of what follows it, seconds,
// microseconds, type, in either byte order and without a magic number.
type logger struct {
	records
	order binary.ByteOrder
}

const loggerHead = 13

func plausibleLogger(head []byte, order binary.ByteOrder) bool {
	length, micros, kind := order.Uint32(head), order.Uint32(head[8:]), head[12]
	return length >= loggerHead-4 && length <= maxRecord && micros < 1_000_000 && (kind < 0x10 || kind >= 0xF0)
}

func (l *logger) format() string { return fmt.Sprintf("PacketLogger (%v)", l.order) }

func (l *logger) next() (packet, error) {
	var head [loggerHead]byte
	cut, err := l.head(head[:])
	if cut || err != nil {
		return packet{cut: cut}, err
	}
	length := int64(l.order.Uint32(head[:])) - (loggerHead - 4)
	p := packet{micros: int64(l.order.Uint32(head[4:]))*1_000_000 + int64(l.order.Uint32(head[8:])), link: linkLogger, kind: h4Other}
	switch head[12] {
	case 1:
		p.kind, p.side = h4Event, received
	case 2:
		p.kind, p.side = h4ACL, sent
	case 3:
		p.kind, p.side = h4ACL, received
	}
	p.data, p.cut, err = l.body(int(length))
	return p, err
}

// pcap is libpcap's format, read by gopacket.
type pcap struct {
	in   *pcapgo.Reader
	link link
}

func openPcap(in *bufio.Reader) (reader, error) {
	r, err := pcapgo.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("%w: pcap: %w", ErrCapture, err)
	}
	l := link(r.LinkType() & 0xFFFF)
	if linkNames[l] == "" || l > 1000 {
		return nil, wrongLink("pcap", l)
	}
	return &pcap{r, l}, nil
}

func wrongLink(format string, l link) error {
	return fmt.Errorf("%w: %s of link type %d; 187, 201, 251, 254, 256, 272 are read", ErrCapture, format, l)
}

func (r *pcap) format() string { return fmt.Sprintf("pcap %d (%s)", r.link, linkNames[r.link]) }

func (r *pcap) next() (packet, error) {
	data, info, err := r.in.ZeroCopyReadPacketData()
	p := pcapPacket(data, info, r.link)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) && info.CaptureLength > 0 {
		return packet{cut: true, micros: p.micros}, nil
	}
	return p, pcapError(err)
}

func pcapError(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrCapture, err)
}

func pcapPacket(data []byte, info gopacket.CaptureInfo, l link) packet {
	return packet{
		micros: info.Timestamp.UnixMicro(), link: l, side: unknownSide, data: data,
		cut: info.CaptureLength < info.Length || info.CaptureLength > maxRecord,
	}
}

// pcapNG is pcapng, read by gopacket; each record has its interface's link type.
type pcapNG struct {
	in    *pcapgo.NgReader
	ended bool
}

func openPcapNG(in *bufio.Reader) (reader, error) {
	r, err := pcapgo.NewNgReader(in, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
	if err != nil {
		return nil, fmt.Errorf("%w: pcapng: %w", ErrCapture, err)
	}
	return &pcapNG{in: r}, nil
}

func (r *pcapNG) format() string { return "pcapng" }

func (r *pcapNG) next() (packet, error) {
	if r.ended {
		return packet{}, io.EOF
	}
	data, info, options, err := r.in.ZeroCopyReadPacketDataWithOptions()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		r.ended = true
		return packet{cut: true}, nil
	}
	if err != nil {
		return packet{}, pcapError(err)
	}
	l, ok := info.AncillaryData[0].(layers.LinkType)
	if !ok || linkNames[link(l)] == "" {
		return packet{}, wrongLink("pcapng", link(l))
	}
	p := pcapPacket(data, info, link(l))
	if options.Flags != nil {
		switch options.Flags.Direction {
		case pcapgo.NgEpbFlagDirectionInbound:
			p.side = received
		case pcapgo.NgEpbFlagDirectionOutbound:
			p.side = sent
		}
	}
	return p, nil
}
