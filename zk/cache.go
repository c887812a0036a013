package zk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	groth16 "github.com/consensys/gnark/backend/groth16/bn254"

	"github.com/vitalveil/vitalveil/internal/record"
)

// A key file is magic, header length (4 bytes), header (JSON), verifying key,
// proving key, and the SHA-256 of all that. The hash finds damage; it does not
// protect against whoever may write the directory, who could as well replace
// the program.
const (
	keyMagic       = "VVKEYS01"
	maxHeaderBytes = 4096
	maxFileBytes   = 1 << 30
)

// errCache says that a key file is damaged or not of this circuit: replace it.
var errCache = errors.New("not a usable key file")

type keyHeader struct {
	Class   string    `json:"class"`
	Circuit record.ID `json:"circuit"` // digest of the compiled circuit
	Origin
	VerifyingBytes int `json:"verifying_key_bytes"`
	ProvingBytes   int `json:"proving_key_bytes"`
}

type keyFile struct {
	header             keyHeader
	verifying, proving []byte
	parsed             *groth16.ProvingKey // what proving holds, where it is at hand
}

// write replaces path in one step: a crash leaves the old file or the new one.
func (f *keyFile) write(path string) error {
	f.header.VerifyingBytes, f.header.ProvingBytes = len(f.verifying), len(f.proving)
	header, err := json.Marshal(f.header)
	if err != nil {
		return err
	}
	head := binary.BigEndian.AppendUint32([]byte(keyMagic), uint32(len(header)))
	parts := [][]byte{append(head, header...), f.verifying, f.proving}
	sum := sha256.New()
	for _, p := range parts {
		sum.Write(p)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".keys-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // does nothing once it is renamed
	for _, p := range append(parts, sum.Sum(nil)) {
		if _, err := tmp.Write(p); err != nil {
			return errors.Join(err, tmp.Close())
		}
	}
	if err := errors.Join(tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readKeyFile reads a file of this class and circuit. It returns errCache,
// wrapped, for one that should be replaced.
func readKeyFile(path, class string, circuit record.ID) (*keyFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFileBytes {
		return nil, fmt.Errorf("%w: it has %d bytes", errCache, info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseKeyFile(data, class, circuit)
}

func parseKeyFile(data []byte, class string, circuit record.ID) (*keyFile, error) {
	body := len(data) - sha256.Size
	if body < len(keyMagic)+4 {
		return nil, fmt.Errorf("%w: it is too short", errCache)
	}
	if sum := sha256.Sum256(data[:body]); !bytes.Equal(sum[:], data[body:]) {
		return nil, fmt.Errorf("%w: it is damaged, its hash is wrong", errCache)
	}
	rest, found := bytes.CutPrefix(data[:body], []byte(keyMagic))
	if !found {
		return nil, fmt.Errorf("%w: it is of another version", errCache)
	}
	n := int64(binary.BigEndian.Uint32(rest))
	rest = rest[4:]
	if n > maxHeaderBytes || n > int64(len(rest)) {
		return nil, fmt.Errorf("%w: its header is too long", errCache)
	}
	f := new(keyFile)
	if err := record.DecodeJSON(rest[:n], maxHeaderBytes, &f.header); err != nil {
		return nil, fmt.Errorf("%w: its header: %v", errCache, err)
	}
	rest = rest[n:]
	if f.header.Class != class || f.header.Circuit != circuit {
		return nil, fmt.Errorf("%w: it is of another circuit", errCache)
	}
	vb, pb := f.header.VerifyingBytes, f.header.ProvingBytes
	if vb < 0 || vb > len(rest) || pb != len(rest)-vb {
		return nil, fmt.Errorf("%w: its lengths do not add up", errCache)
	}
	f.verifying, f.proving = bytes.Clone(rest[:vb]), rest[vb:] // the former outlives the file's bytes
	return f, nil
}
