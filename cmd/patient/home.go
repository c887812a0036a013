package patient

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/term"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/network/site"
)

// Names of what is in a patient's directory.
const (
	configFile  = "patient.json"
	keyFile     = "consent.key"
	requestFile = "request.json"
	recordFile  = "record.json" // the ledger's record of the patient, as it was last seen
	newKeysFile = "recovery.json"
)

// Config is DIR/patient.json. Relative paths begin at DIR.
type Config struct {
	// Network is the file with the network's document, received out of band.
	Network site.Path `json:"network"`
	// Gateway is the gateway's base URL.
	Gateway string `json:"gateway"`
	// Passphrase is a file with the passphrase that seals the consent key; empty: it is
	// asked for where one is needed.
	Passphrase site.Secret `json:"passphrase,omitempty"`
	// Patient is the identifier.
	Patient record.ID `json:"patient"`
	// Confirmed says that the recovery code was typed back.
	Confirmed bool `json:"confirmed"`
}

// Check refuses what cannot work.
func (c *Config) Check() error {
	if c.Network == "" || c.Gateway == "" {
		return errors.New("network and gateway are needed")
	}
	return nil
}

// home is a patient's directory, opened.
type home struct {
	dir string
	Config
	genesis record.Genesis
}

type dirFlag struct {
	Dir string `help:"The patient's directory: keys and configuration." type:"path" required:"" placeholder:"DIR"`
}

func (f dirFlag) path(name string) string { return filepath.Join(f.Dir, name) }

// open reads the directory.
func (f dirFlag) open() (*home, error) {
	h := &home{dir: f.Dir}
	if err := site.Load(f.path(configFile), &h.Config); err != nil {
		return nil, fmt.Errorf("%w (\"vitalveil patient init\" makes one)", err)
	}
	d, err := site.Descriptor(string(h.Network))
	if err != nil {
		return nil, err
	}
	h.genesis = d.Genesis
	return h, nil
}

// confirmed is open for whatever needs that the recovery code was written down.
func (f dirFlag) confirmed() (*home, error) {
	h, err := f.open()
	if err == nil && !h.Confirmed {
		err = errors.New("the recovery code was not typed back yet: \"vitalveil patient confirm\"")
	}
	return h, err
}

// save writes the configuration.
func (h *home) save() error { return site.Save(filepath.Join(h.dir, configFile), h.Config) }

// create makes a patient's directory, which must not be one already.
func (f dirFlag) create() error {
	if _, err := os.Stat(f.path(configFile)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has a patient's keys already; they are not replaced", f.Dir)
	}
	return os.MkdirAll(f.Dir, 0o700)
}

// sealedKey is the consent key on disk: plain, in a file for its user only, or sealed under
// a passphrase.
type sealedKey struct {
	Plain  []byte `json:"plain,omitempty"` // P-256 scalar
	Salt   []byte `json:"salt,omitempty"`
	Rounds int    `json:"rounds,omitempty"` // of PBKDF2 with HMAC-SHA256
	Sealed []byte `json:"sealed,omitempty"` // AES-256-GCM: nonce, then ciphertext
}

const (
	rounds        = 600_000
	maxRounds     = 10_000_000
	maxPassphrase = 1024
)

// aead makes the cipher that a passphrase opens.
func (k sealedKey) aead(passphrase []byte) (cipher.AEAD, error) {
	if k.Rounds < 1 || k.Rounds > maxRounds || len(k.Salt) != 16 {
		return nil, errors.New("the key file is damaged")
	}
	key, err := pbkdf2.Key(sha256.New, string(passphrase), k.Salt, k.Rounds, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// saveKey writes the consent key, sealed if there is a passphrase.
func saveKey(path string, key *ecdsa.PrivateKey, passphrase []byte) error {
	scalar, err := key.Bytes()
	if err != nil {
		return err
	}
	k := sealedKey{Plain: scalar}
	if len(passphrase) > 0 {
		k = sealedKey{Salt: make([]byte, 16), Rounds: rounds}
		rand.Read(k.Salt)
		seal, err := k.aead(passphrase)
		if err != nil {
			return err
		}
		k.Sealed = seal.Seal(nil, nil, scalar, nil)
	}
	return site.Save(path, k)
}

// key opens the consent key.
func (h *home) key() (*ecdsa.PrivateKey, error) {
	path := filepath.Join(h.dir, keyFile)
	text, err := site.Secret(path).Read(4096)
	if err != nil {
		return nil, err
	}
	var k sealedKey
	if err := record.DecodeJSON(text, 4096, &k); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	scalar := k.Plain
	if len(k.Sealed) > 0 {
		passphrase, err := h.passphrase()
		if err != nil {
			return nil, err
		}
		open, err := k.aead(passphrase)
		if err != nil {
			return nil, err
		}
		if scalar, err = open.Open(nil, nil, k.Sealed, nil); err != nil {
			return nil, errors.New("the passphrase does not open the consent key")
		}
	}
	return ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
}

// passphrase reads the passphrase from its file, or from the terminal.
func (h *home) passphrase() ([]byte, error) {
	if h.Passphrase != "" {
		return readPassphrase(h.Passphrase)
	}
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		return nil, errors.New("the consent key is sealed, and nobody is here to type its passphrase: name a file with it in " + configFile)
	}
	fmt.Fprint(os.Stderr, "Passphrase: ")
	defer fmt.Fprintln(os.Stderr)
	return term.ReadPassword(in)
}

func readPassphrase(s site.Secret) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	p, err := s.Read(maxPassphrase)
	p = bytes.TrimRight(p, "\r\n")
	if err == nil && len(p) == 0 {
		err = errors.New("the passphrase is empty")
	}
	return p, err
}

// client signs requests as the patient.
func (h *home) client() (*api.Client, *ecdsa.PrivateKey, error) {
	key, err := h.key()
	if err != nil {
		return nil, nil, err
	}
	return api.NewClient(h.Gateway, h.genesis.Network, &api.Signer{Party: api.PatientParty(h.Patient), Key: key}), key, nil
}

// operationTime bounds the wait for what was handed in; it goes on without us.
const operationTime = 2 * time.Minute

// Done waits until what was handed in is on the ledger; op and err are what handing it in
// gave.
func Done(ctx context.Context, c *api.Client, op *api.Operation, err error) error {
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, operationTime)
	defer cancel()
	_, err = c.Wait(ctx, op)
	return err
}

// answerTime bounds how often a gateway is asked again that cannot answer now, since it is
// still reading what was just recorded.
const answerTime = 5 * time.Second

// answered asks until the gateway can answer, or for answerTime.
func answered[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	for deadline := time.Now().Add(answerTime); ; {
		got, err := ask(ctx)
		if err == nil || !fault.Codes[fault.Of(err)].Retry || time.Now().After(deadline) {
			return got, err
		}
		select {
		case <-ctx.Done():
			return got, err
		case <-time.After(receiptPause):
		}
	}
}

// record is the ledger's record of the patient: the gateway's word, but for the keys in it,
// with which it proves nothing that the patient would sign blindly.
func (h *home) record(ctx context.Context, c *api.Client) (record.Patient, error) {
	p, err := answered(ctx, func(ctx context.Context) (record.Patient, error) { return c.Patient(ctx, h.Patient) })
	if err != nil {
		return p, err
	}
	if p.ID != h.Patient || p.Inception.PatientID(h.genesis.Network) != h.Patient {
		return p, errors.New("the gateway shows the record of another patient")
	}
	return p, nil
}

// agree shows words and asks whether to sign.
func agree(words []string, yes bool) error {
	for _, w := range words {
		fmt.Println(site.Plain(w))
	}
	if yes {
		return nil
	}
	fmt.Fprint(os.Stderr, "Sign this? Type yes: ")
	line, err := readLine()
	if err != nil || line != "yes" {
		return errors.New("nothing was signed")
	}
	return nil
}

// readLine reads one line of standard input, of at most 256 bytes, and no more than it.
func readLine() (string, error) {
	var line []byte
	b := make([]byte, 1)
	for len(line) < 256 {
		n, err := os.Stdin.Read(b)
		if n == 1 && b[0] == '\n' || n == 0 && err != nil && len(line) > 0 {
			return string(bytes.TrimSpace(line)), nil
		}
		if err != nil {
			return "", err
		}
		line = append(line, b[:n]...)
	}
	return "", errors.New("the line is too long")
}

// load reads a document of ours from the directory; missing: false.
func (f dirFlag) load(name string, into any) (bool, error) {
	b, err := state.ReadFile(f.path(name), 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, json.Unmarshal(b, into)
}

// own is the patient as this directory knows it, without a network.
func (h *home) own() (record.Patient, error) {
	f := dirFlag{h.dir}
	var p record.Patient
	if found, err := f.load(recordFile, &p); found || err != nil {
		return p, err
	}
	var r record.PatientRequest
	_, err := f.load(requestFile, &r)
	return record.Patient{ID: h.Patient, Inception: r.Enrolment.Inception}, err
}

// maxClockError is how far ledger time and this machine's clock may be apart, in seconds.
const maxClockError = 3600

// now is the time from which on a consent counts, unless it names another: ledger time, as
// far as this machine's clock bears out what the gateway says. Time that follows data is
// the gateway's word alone, and shown before it is signed.
func (h *home) now(said int64) (int64, error) {
	if apart := said - time.Now().Unix(); h.genesis.Clock != record.ClockSimulated && (apart > maxClockError || apart < -maxClockError) {
		return 0, fmt.Errorf("the gateway says that it is %s: either it lies, or this machine's clock is wrong. Nothing was signed", clock(said))
	}
	return said, nil
}
