package follow

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func sealedFile(t *testing.T, clear, key []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := must(newSealingWriter(&b, key))
	for rest := clear; len(rest) > 0; {
		n := min(len(rest), 1+len(clear)/7)
		must(w.Write(rest[:n]))
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSealedFilesOpenWhole(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	for _, n := range []int{0, 1, sealedPiece - 1, sealedPiece, sealedPiece + 1, 3 * sealedPiece} {
		clear := bytes.Repeat([]byte("readings"), n/8+1)[:n]
		r := must(newOpeningReader(bytes.NewReader(sealedFile(t, clear, key)), key))
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, clear) {
			t.Errorf("%d bytes: %d come back, %v", n, len(got), err)
		}
	}
}

func TestAttackSealedFileInOtherPieces(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	clear := bytes.Repeat([]byte("readings"), 3*sealedPiece/8)
	good := sealedFile(t, clear, key)
	const piece = sealedPiece + 16
	swapped := slices.Concat(good[piece:2*piece], good[:piece], good[2*piece:])
	flipped := bytes.Clone(good)
	flipped[piece+3] ^= 1
	for name, bad := range map[string][]byte{
		"cut between pieces": good[:2*piece], "cut": good[:2*piece+9], "nothing": nil, "swapped": swapped, "flipped": flipped,
		"a piece left out": slices.Concat(good[:piece], good[2*piece:]), "more": append(bytes.Clone(good), 1),
		"another key's": sealedFile(t, clear, bytes.Repeat([]byte{8}, 32)),
	} {
		r := must(newOpeningReader(bytes.NewReader(bad), key))
		if got, err := io.ReadAll(r); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %d bytes were opened", name, len(got))
		}
	}
}
