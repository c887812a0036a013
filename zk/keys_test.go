package zk

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark/constraint"
	bn254cs "github.com/consensys/gnark/constraint/bn254"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// square is a circuit whose setup takes no time: the cache does not care.
type square struct {
	Y frontend.Variable `gnark:",public"`
	X frontend.Variable
}

func (c *square) Define(api frontend.API) error {
	api.AssertIsEqual(api.Mul(c.X, c.X), c.Y)
	return nil
}

func smallSystem(t *testing.T) *bn254cs.R1CS {
	t.Helper()
	ccs, err := frontend.Compile(ecc.BN254.ScalarField(), r1cs.NewBuilder[constraint.U64], &square{})
	if err != nil {
		t.Fatal(err)
	}
	return ccs.(*bn254cs.R1CS)
}

func TestKeysAreCached(t *testing.T) {
	dir, system, circuit := filepath.Join(t.TempDir(), "new", "keys"), smallSystem(t), record.SumID([]byte("square"))
	var said []string
	load := func() *keyFile {
		f, err := cachedOrNew(dir, "day", circuit, system, func(s string) { said = append(said, s) })
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first, second := load(), load()
	if !bytes.Equal(first.verifying, second.verifying) || !bytes.Equal(first.proving, second.proving) {
		t.Error("the second load made other keys")
	}
	if len(said) != 2 || !strings.Contains(said[0], "setup") || !strings.Contains(said[1], "loaded") {
		t.Errorf("progress: %q", said)
	}
	if second.header.Origin.Setup != SetupDevelopment {
		t.Errorf("the setup is marked %q", second.header.Origin.Setup)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	hidden, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(names) != 2 || len(hidden) != 0 {
		t.Errorf("files left: %v %v, want day.keys and its lock (%v)", names, hidden, err)
	}
}

// Whatever happens to the file, it is found out, said, and made good.
func TestDamagedKeysAreRebuilt(t *testing.T) {
	system, circuit := smallSystem(t), record.SumID([]byte("square"))
	damage := map[string]func([]byte) []byte{
		"emptied":           func([]byte) []byte { return nil },
		"truncated":         func(b []byte) []byte { return b[:len(b)/2] },
		"one byte short":    func(b []byte) []byte { return b[:len(b)-1] },
		"one byte longer":   func(b []byte) []byte { return append(b, 0) },
		"magic":             func(b []byte) []byte { b[0] ^= 1; return b },
		"header":            func(b []byte) []byte { b[20] ^= 1; return b },
		"first half":        func(b []byte) []byte { b[len(b)/3] ^= 0x80; return b },
		"proving key":       func(b []byte) []byte { b[len(b)-40] ^= 1; return b },
		"hash":              func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"zeros of its size": func(b []byte) []byte { return make([]byte, len(b)) },
	}
	for name, f := range damage {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			before, err := cachedOrNew(dir, "day", circuit, system, func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "day.keys")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, f(data), 0o600); err != nil {
				t.Fatal(err)
			}
			var said []string
			after, err := cachedOrNew(dir, "day", circuit, system, func(s string) { said = append(said, s) })
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(after.verifying, before.verifying) || len(said) != 2 || !strings.Contains(said[0], "replacing") {
				t.Errorf("not replaced: %q", said)
			}
			if _, err := readKeyFile(path, "day", circuit); err != nil {
				t.Errorf("what replaced it: %v", err)
			}
		})
	}
}

func TestKeysOfAnotherCircuitAreNotUsed(t *testing.T) {
	f, err := setup("day", record.SumID([]byte("square")), smallSystem(t), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "day.keys")
	if err := f.write(path); err != nil {
		t.Fatal(err)
	}
	if _, err := readKeyFile(path, "day", record.SumID([]byte("cube"))); !errors.Is(err, errCache) {
		t.Errorf("another circuit: %v", err)
	}
	if _, err := readKeyFile(path, "week", f.header.Circuit); !errors.Is(err, errCache) {
		t.Errorf("another class: %v", err)
	}
}

// Header fields of a file with a right hash are still not believed.
func TestKeyFileLengthsAreChecked(t *testing.T) {
	circuit := record.SumID([]byte("square"))
	for _, lengths := range [][2]int{{1 << 40, 0}, {-1, 11}, {4, 5}, {4, 1 << 62}} {
		f := &keyFile{header: keyHeader{Class: "day", Circuit: circuit}, verifying: []byte("vvvv"), proving: []byte("pppppp")}
		path := filepath.Join(t.TempDir(), "day.keys")
		if err := f.write(path); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f.header.VerifyingBytes, f.header.ProvingBytes = lengths[0], lengths[1]
		header, err := json.Marshal(f.header)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseKeyFile(reseal(data, header), "day", circuit); !errors.Is(err, errCache) {
			t.Errorf("lengths %v: %v, want errCache", lengths, err)
		}
	}
}

// reseal puts another header into a key file and makes its hash right again.
func reseal(data, header []byte) []byte {
	old := int(data[len(keyMagic)+2])<<8 | int(data[len(keyMagic)+3])
	body := slices.Concat([]byte(keyMagic), []byte{0, 0, byte(len(header) >> 8), byte(len(header))}, header,
		data[len(keyMagic)+4+old:len(data)-32])
	sum := record.SumID(body)
	return append(body, sum[:]...)
}

func FuzzKeyFile(f *testing.F) {
	circuit := record.SumID([]byte("square"))
	f.Add([]byte(keyMagic + "\x00\x00\x00\x02{}"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := record.SumID(body)
		got, err := parseKeyFile(append(body, sum[:]...), "day", circuit)
		if err == nil && (got.header.Class != "day" || got.header.Circuit != circuit) {
			t.Error("a file of another circuit is accepted")
		}
	})
}

// Processes that start together agree on one setup.
func TestConcurrentLoadsAgree(t *testing.T) {
	dir, circuit := t.TempDir(), record.SumID([]byte("square"))
	var wait sync.WaitGroup
	found := make([][]byte, 6)
	for i := range found {
		system := smallSystem(t)
		wait.Go(func() {
			if f, err := cachedOrNew(dir, "day", circuit, system, func(string) {}); err == nil {
				found[i] = f.verifying
			}
		})
	}
	wait.Wait()
	for i := range found {
		if found[i] == nil || !bytes.Equal(found[i], found[0]) {
			t.Fatalf("load %d has other keys", i)
		}
	}
}

func TestLoadKeys(t *testing.T) {
	k := dayKeys(t)
	var said []string
	again, err := LoadKeys(keyDir, "day", func(s string) { said = append(said, s) })
	if err != nil {
		t.Fatal(err)
	}
	if again.Hash != k.Hash || k.Hash != record.SumID(k.VerifyingKey) {
		t.Errorf("keys changed between loads: %q", said)
	}
	s, openings := rich(t)
	proof, err := again.Prove(t.Context(), s, openings)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.verifier.Verify(s, proof); err != nil {
		t.Errorf("a proof with keys from the cache: %v", err)
	}
	info := again.Info()
	if info.Class != "day" || info.Constraints != again.Constraints || info.ProofBytes != len(proof) ||
		info.VerifyingKeyBytes != len(k.VerifyingKey) || info.ProvingKeyBytes < 1<<20 ||
		info.VerifyingKeyHash != k.Hash || info.Setup != SetupDevelopment {
		t.Errorf("info: %+v", info)
	}
	if infos, err := Infos(keyDir, nil, nil); err != nil || len(infos) != 2 || !reflect.DeepEqual(infos[0], info) {
		t.Errorf("infos: %+v, %v", infos, err)
	}
	if c := again.Circuit(); c.Hash != k.Hash || c.Class != "day" || c.Setup != SetupDevelopment {
		t.Errorf("circuit of a genesis: %+v", c)
	}
}

// Sizes are known without keys, and looking makes none.
func TestInfosMakesNoKeysUnasked(t *testing.T) {
	dir := t.TempDir()
	infos, err := Infos(dir, nil, nil)
	if err != nil || len(infos) != len(verifier.Classes()) {
		t.Fatalf("infos: %+v, %v", infos, err)
	}
	for i, c := range verifier.Classes() {
		if got := infos[i]; got.Class != c.Name || got.Constraints == 0 || got.ProvingKeyBytes == 0 || got.Setup != SetupNone || !got.VerifyingKeyHash.IsZero() {
			t.Errorf("%+v", got)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("files were made: %v %v", left, err)
	}
	if _, err := Infos(dir, []string{"year"}, nil); err == nil {
		t.Error("keys of a class that there is not were asked for")
	}
}

func TestLoadKeysRefusesUnknownClass(t *testing.T) {
	if _, err := LoadKeys(t.TempDir(), "year", nil); err == nil || !strings.Contains(err.Error(), verifier.Classes()[0].Name) {
		t.Errorf("got %v, want an error that names the classes", err)
	}
}

func TestInfoIsWhatCircuitsPrints(t *testing.T) {
	text, err := json.Marshal((&Keys{Class: verifier.Class{Name: "day", Days: 1}, Origin: Origin{Setup: SetupDevelopment}}).Info())
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"class":"day","constraints":0,"proof_bytes":196,"proving_key_bytes":0,"verifying_key_bytes":0,` +
		`"verifying_key_hash":"0000000000000000000000000000000000000000000000000000000000000000","setup":"development"}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}
