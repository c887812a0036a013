package follow

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A checkpoint is longer than what one seal may take in and a reader should hold,
// so it is sealed in pieces: AES-256-GCM under a key that seals nothing else, with
// the piece's number and a mark on the last one as the nonce. Pieces that are
// swapped, left out or cut off do not open. This is the construction STREAM of
// Hoang, Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its
// Nonce-Reuse Misuse-Resistance", CRYPTO 2015.

// sealedPiece is the length of a piece in clear; only the last is shorter.
const sealedPiece = 64 << 10

// pieces counts the pieces of a file.
type pieces struct {
	aead cipher.AEAD
	next uint64
}

func newPieces(key []byte) (pieces, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return pieces{}, err
	}
	aead, err := cipher.NewGCM(block)
	return pieces{aead: aead}, err
}

func (p *pieces) nonce(last bool) []byte {
	nonce := make([]byte, 12)
	binary.BigEndian.PutUint64(nonce[3:11], p.next)
	if last {
		nonce[11] = 1
	}
	p.next++
	return nonce
}

// sealingWriter seals what is written to it; Close writes the last piece.
type sealingWriter struct {
	pieces
	w     io.Writer
	clear []byte // the piece that is being filled
}

func newSealingWriter(w io.Writer, key []byte) (*sealingWriter, error) {
	p, err := newPieces(key)
	return &sealingWriter{pieces: p, w: w, clear: make([]byte, 0, sealedPiece)}, err
}

func (s *sealingWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if len(s.clear) == sealedPiece { // and it is not the last
			if err := s.flush(false); err != nil {
				return n - len(b), err
			}
		}
		k := min(len(b), sealedPiece-len(s.clear))
		s.clear = append(s.clear, b[:k]...)
		b = b[k:]
	}
	return n, nil
}

func (s *sealingWriter) flush(last bool) error {
	_, err := s.w.Write(s.aead.Seal(nil, s.nonce(last), s.clear, nil))
	clear(s.clear)
	s.clear = s.clear[:0]
	return err
}

func (s *sealingWriter) Close() error { return s.flush(true) }

// openingReader opens what a sealingWriter has sealed. It gives nothing of a piece
// that does not open.
type openingReader struct {
	pieces
	r      *bufio.Reader
	sealed []byte
	clear  []byte // not read yet
	done   bool
}

func newOpeningReader(r io.Reader, key []byte) (*openingReader, error) {
	p, err := newPieces(key)
	if err != nil {
		return nil, err
	}
	return &openingReader{pieces: p, r: bufio.NewReaderSize(r, sealedPiece), sealed: make([]byte, sealedPiece+p.aead.Overhead())}, nil
}

func (o *openingReader) Read(b []byte) (int, error) {
	for len(o.clear) == 0 {
		if o.done {
			return 0, io.EOF
		}
		if err := o.open(); err != nil {
			return 0, err
		}
	}
	n := copy(b, o.clear)
	o.clear = o.clear[n:]
	return n, nil
}

func (o *openingReader) open() error {
	n, err := io.ReadFull(o.r, o.sealed)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("a sealed file ends before its last piece: %w", io.ErrUnexpectedEOF)
	}
	_, err = o.r.Peek(1)
	o.done = errors.Is(err, io.EOF)
	if o.clear, err = o.aead.Open(o.sealed[:0], o.nonce(o.done), o.sealed[:n], nil); err != nil {
		return fmt.Errorf("a sealed file is damaged: %w", err)
	}
	return nil
}
