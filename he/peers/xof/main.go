// Command xof measures the expandable functions from which package he could derive
// secrets and public polynomials, doing what he does with them: a piece of 8,192
// ternary coefficients from a seed, and a day's polynomial of 4 x 8,192 residues
// below 2^53. It runs wherever Go does:
//
//	go run ./xof
//	GOOS=wasip1 GOARCH=wasm go build -o xof.wasm ./xof    and a WASI runtime
//	GOARCH=arm64 go build -o xof.arm64 ./xof              and qemu-aarch64-static
//
// Times are the least of many runs on one core. Under an emulator only ratios within
// its column mean something, and only where the instructions are emulated alike.
package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha3"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"time"

	"github.com/cloudflare/circl/xof/k12"
	"github.com/zeebo/blake3"
	"golang.org/x/crypto/chacha20"
)

const (
	degree = 8192
	primes = 4
)

// candidate opens a stream for a 32-byte seed and a label.
type candidate struct {
	name string
	open func(seed [32]byte, label byte) io.Reader
}

// keystream reads a cipher's key stream.
type keystream struct{ cipher.Stream }

func (k keystream) Read(b []byte) (int, error) {
	clear(b)
	k.XORKeyStream(b, b)
	return len(b), nil
}

func candidates() []candidate {
	return []candidate{
		{"cSHAKE128, standard library", func(seed [32]byte, label byte) io.Reader {
			x := sha3.NewCSHAKE128(nil, []byte{'v', label})
			x.Write(seed[:])
			return x
		}},
		{"cSHAKE256, standard library", func(seed [32]byte, label byte) io.Reader {
			x := sha3.NewCSHAKE256(nil, []byte{'v', label})
			x.Write(seed[:])
			return x
		}},
		{"KangarooTwelve (TurboSHAKE128), circl", func(seed [32]byte, label byte) io.Reader {
			x := k12.NewDraft10([]byte{'v', label})
			x.Write(seed[:])
			return &x
		}},
		{"BLAKE3, zeebo", func(seed [32]byte, label byte) io.Reader {
			x := blake3.New()
			x.Write(append(seed[:], label))
			return x.Digest()
		}},
		{"AES-128-CTR, standard library", func(seed [32]byte, label byte) io.Reader {
			block, err := aes.NewCipher(seed[:16])
			check(err)
			return keystream{cipher.NewCTR(block, append(make([]byte, 15), label))}
		}},
		{"ChaCha20, x/crypto", func(seed [32]byte, label byte) io.Reader {
			c, err := chacha20.NewUnauthenticatedCipher(seed[:], append(make([]byte, 11), label))
			check(err)
			return keystream{c}
		}},
		{"ChaCha8, math/rand/v2", func(seed [32]byte, label byte) io.Reader {
			seed[31] ^= label
			return rand.NewChaCha8(seed)
		}},
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "xof:", err)
		os.Exit(1)
	}
}

// piece draws ternary coefficients, five from each byte below 243.
func piece(r io.Reader, out *[degree + 4]int8) {
	var buf [168]byte
	for n := 0; n < degree; {
		_, err := r.Read(buf[:])
		check(err)
		for _, b := range buf {
			if b >= 243 {
				continue
			}
			for d := range 5 {
				out[n+d] = int8(b%3) - 1
				b /= 3
			}
			if n += 5; n >= degree {
				break
			}
		}
	}
}

// polynomial draws residues below 2^53, seven bytes each.
func polynomial(open func(label byte) io.Reader, out *[primes][degree]uint64) {
	var buf [7*1024 + 1]byte
	for l := range out {
		r := open(byte(l))
		for i := range degree {
			at := i % 1024
			if at == 0 {
				_, err := io.ReadFull(r, buf[:7*1024])
				check(err)
			}
			out[l][i] = binary.LittleEndian.Uint64(buf[7*at:]) & (1<<53 - 1)
		}
	}
}

// least is the shortest of many runs.
func least(budget time.Duration, f func()) time.Duration {
	best := time.Hour
	for start := time.Now(); time.Since(start) < budget; {
		const times = 8
		from := time.Now()
		for range times {
			f()
		}
		best = min(best, time.Since(from)/times)
	}
	return best
}

func main() {
	budget := 400 * time.Millisecond
	fmt.Printf("%s/%s, %s\n\n| stream | piece, us | day polynomial, us | MB/s |\n|---|---|---|---|\n", runtime.GOOS, runtime.GOARCH, runtime.Version())
	var ternary [degree + 4]int8
	var day [primes][degree]uint64
	for _, c := range candidates() {
		var seed [32]byte
		onePiece := least(budget, func() {
			seed[0]++
			piece(c.open(seed, 'p'), &ternary)
		})
		oneDay := least(budget, func() {
			seed[0]++
			polynomial(func(label byte) io.Reader { return c.open(seed, label) }, &day)
		})
		bulk := make([]byte, 1<<16)
		stream := c.open(seed, 'b')
		raw := least(budget/2, func() {
			_, err := io.ReadFull(stream, bulk)
			check(err)
		})
		fmt.Printf("| %s | %.1f | %.0f | %.0f |\n", c.name, float64(onePiece.Nanoseconds())/1e3,
			float64(oneDay.Nanoseconds())/1e3, float64(len(bulk))/float64(raw.Nanoseconds())*1e3)
	}
}
