package patient

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/site"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/claim"
)

// Command is "vitalveil patient".
type Command struct {
	Init    initCommand    `cmd:"" help:"Make the consent key and the recovery code, which is shown once and has to be typed back."`
	Confirm confirmCommand `cmd:"" help:"Type the recovery code back."`
	Request requestCommand `cmd:"" help:"Write the request with which whoever vouches enrols the patient."`
	Show    showCommand    `cmd:"" help:"Show who the patient is to the network, and the keys that count."`
	Device  deviceCommand  `cmd:"" help:"Sign a device's request, after showing it."`
	Consent consentCommand `cmd:"" help:"Give a consent, or forbid something, after showing it in plain words."`
	Revoke  revokeCommand  `cmd:"" help:"Take back a consent, or all."`
	History historyCommand `cmd:"" help:"Show who asked what, and what was signed."`
	Erase   eraseCommand   `cmd:"" help:"Have everything deleted. Final."`
	Verify  verifyCommand  `cmd:"" help:"Check a receipt of an erasure, without a network."`
	Keys    keysCommand    `cmd:"" help:"Add or remove a key or passkey, or recover with the code."`
}

// Help explains the order of things.
func (Command) Help() string {
	return `"init" makes a directory with the consent key; keep it to yourself. Hand the file of
"request" to whoever vouches for patients, in person. Then sign devices, and consents:
each is shown in words before it is signed. Who loses the directory recovers with the
code; who has the code and the directory is the patient.`
}

type initCommand struct {
	dirFlag
	Network    string `help:"The network's document, received out of band." type:"existingfile" required:""`
	Gateway    string `help:"The gateway's URL." required:""`
	Passphrase string `help:"A file with a passphrase that seals the consent key." type:"existingfile"`
}

// Run makes keys and shows the recovery code.
func (c initCommand) Run() error {
	network, err := filepath.Abs(c.Network)
	if err != nil {
		return err
	}
	d, err := site.Descriptor(network)
	if err != nil {
		return err
	}
	h := &home{dir: c.Dir, genesis: d.Genesis, Config: Config{Network: site.Path(network), Gateway: c.Gateway, Passphrase: site.Secret(c.Passphrase)}}
	passphrase, err := readPassphrase(h.Passphrase)
	if err != nil {
		return err
	}
	if err := errors.Join(h.Check(), c.create()); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	code := record.NewRecoveryCode()
	request, err := NewRequest(d.Genesis, key, code)
	if err != nil {
		return err
	}
	h.Patient = request.Patient()
	// The configuration comes last: without it there is nothing here.
	if err := errors.Join(saveKey(c.path(keyFile), key, passphrase), site.Save(c.path(requestFile), request)); err != nil {
		return err
	}
	if err := h.save(); err != nil {
		return err
	}
	return show(code, func() error { return confirmCommand{c.dirFlag}.Run() })
}

// NewRequest makes what the patient is to the network. The details key goes into boxes
// for members, and is forgotten.
func NewRequest(g record.Genesis, key *ecdsa.PrivateKey, code record.RecoveryCode) (record.PatientRequest, error) {
	r := record.PatientRequest{Network: g.Network}
	hash, err := recoveryHash(g.Network, code)
	if err != nil {
		return r, err
	}
	secret := details.NewKey()
	r.Enrolment.Inception = record.Inception{
		ConsentKeys: [][]byte{record.PublicKeyBytes(&key.PublicKey)}, RecoveryHash: hash, Salt: record.RandomID(),
		DetailsKey: secret.Digest(g.Network),
	}
	if r.Boxes, err = details.SealBoxes(g.Network, r.Patient(), secret, g.Members); err != nil {
		return r, err
	}
	r.Enrolment.DetailsBlob = record.SumID(r.Boxes)
	r.Enrolment.Signature, err = record.Sign(key, r.Enrolment.Digest(g.Network))
	return r, err
}

func recoveryHash(network string, code record.RecoveryCode) (record.ID, error) {
	key, err := code.Key(network)
	if err != nil {
		return record.ID{}, err
	}
	return consent.RecoveryHash(record.PublicKeyBytes(&key.PublicKey)), nil
}

// show prints a recovery code, once, and has it typed back where somebody looks on.
func show(code record.RecoveryCode, confirm func() error) error {
	fmt.Fprintln(os.Stderr, "This is the recovery code. Write it down on paper: it is shown once, and nobody can give it back.")
	if _, err := fmt.Println(code.Text()); err != nil {
		return err
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		fmt.Fprintln(os.Stderr, "Type it back with \"vitalveil patient confirm\" (after a recovery, with \"vitalveil patient keys recover --confirm\"): nothing goes on before that.")
		return nil
	}
	return confirm()
}

type confirmCommand struct{ dirFlag }

// Run compares the code with the one that was shown.
func (c confirmCommand) Run() error {
	h, err := c.open()
	if err != nil {
		return err
	}
	if h.Confirmed {
		return errors.New("the code was typed back already")
	}
	var r record.PatientRequest
	if err := site.Load(c.path(requestFile), &r); err != nil {
		return err
	}
	if _, err := typed(h.genesis.Network, "Recovery code: ", r.Enrolment.Inception.RecoveryHash); err != nil {
		return err
	}
	h.Confirmed = true
	if err := h.save(); err != nil {
		return err
	}
	_, err = fmt.Printf("patient %s\n", h.Patient)
	return err
}

// typed reads a recovery code and compares it with its hash on record.
func typed(network, prompt string, want record.ID) (record.RecoveryCode, error) {
	fmt.Fprint(os.Stderr, prompt)
	line, err := readLine()
	if err != nil {
		return record.RecoveryCode{}, err
	}
	code, err := record.ParseRecoveryCode(line)
	if err != nil {
		return code, err
	}
	hash, err := recoveryHash(network, code)
	if err == nil && hash != want {
		err = errors.New("this is a recovery code, and not the one that counts here")
	}
	return code, err
}

type requestCommand struct {
	dirFlag
	Out string `help:"Where to write the request." type:"path" default:"patient-request.json"`
}

// Run writes the request.
func (c requestCommand) Run() error {
	h, err := c.confirmed()
	if err != nil {
		return err
	}
	var r record.PatientRequest
	if err := site.Load(c.path(requestFile), &r); err != nil {
		return err
	}
	if err := consent.VerifyRequest(h.genesis.Network, h.genesis.RelyingParties, r); err != nil {
		return err
	}
	if err := site.Save(c.Out, r); err != nil {
		return err
	}
	_, err = fmt.Printf("%s asks to enrol patient %s: hand it to whoever vouches (\"vitalveil institution enrol\")\n", c.Out, h.Patient)
	return err
}

type showCommand struct {
	dirFlag
	Offline bool `help:"Ask nobody."`
}

// Run shows the patient.
func (c showCommand) Run(ctx context.Context) error {
	h, err := c.open()
	if err != nil {
		return err
	}
	fmt.Printf("patient %s in network %s\n", h.Patient, h.genesis.Network)
	if c.Offline {
		return nil
	}
	client, key, err := h.client()
	if err != nil {
		return err
	}
	defer client.Close()
	p, err := h.record(ctx, client)
	if err != nil {
		return err
	}
	printKeys(p, key)
	return nil
}

func printKeys(p record.Patient, mine *ecdsa.PrivateKey) {
	for _, k := range p.ConsentKeys() {
		note := ""
		if string(k) == string(record.PublicKeyBytes(&mine.PublicKey)) {
			note = " (this directory's)"
		}
		fmt.Printf("key %s%s\n", hex.EncodeToString(k), note)
	}
	if p.RevokedAt != nil {
		fmt.Printf("everything permitted until %s is revoked\n", clock(*p.RevokedAt))
	}
	if p.Erased {
		fmt.Println("erased")
	}
}

func clock(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }

type deviceCommand struct {
	dirFlag
	File string `arg:"" help:"The request that \"vitalveil bridge enrol\" wrote; the signature is put into it." type:"existingfile"`
	Yes  bool   `help:"Sign without asking."`
}

// Run signs a device's enrolment.
func (c deviceCommand) Run() error {
	h, err := c.confirmed()
	if err != nil {
		return err
	}
	var r record.DeviceRequest
	if err := site.Load(c.File, &r); err != nil {
		return err
	}
	if err := r.Verify(h.genesis.Network); err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	d := r.Enrolment.Device
	if d.Patient != h.Patient {
		return fmt.Errorf("%s is of a device for another patient, %s", c.File, d.Patient.Short())
	}
	key, err := h.key()
	if err != nil {
		return err
	}
	words, err := deviceWords(r)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if err := agree(words, c.Yes); err != nil {
		return err
	}
	if r.Enrolment.PatientSignature, err = record.Sign(key, r.Digest()); err != nil {
		return err
	}
	p, err := h.own()
	if err != nil {
		return err
	}
	if p.Inception.PatientID(h.genesis.Network) != h.Patient {
		return errors.New("this directory has no whole record of the patient: \"vitalveil patient keys accept\" fetches it")
	}
	r.Signer = &record.Patient{ID: p.ID, Inception: p.Inception, Keys: p.Keys}
	if err := site.Save(c.File, r); err != nil {
		return err
	}
	_, err = fmt.Printf("%s is signed: \"vitalveil bridge enrol --signed %s\" sends it\n", c.File, c.File)
	return err
}

// deviceWords says what a device is for. What it cannot say is not signed.
func deviceWords(r record.DeviceRequest) ([]string, error) {
	d := r.Enrolment.Device
	names := make([]string, len(d.Metrics))
	for i, key := range d.Metrics {
		m, ok := wearable.ByKey(key)
		if !ok {
			return nil, fmt.Errorf("no metric is called %.40q (\"vitalveil metrics\" lists them)", key)
		}
		names[i] = claim.NameInText(m)
	}
	return []string{
		fmt.Sprintf("The bridge with device %s will speak for you from %s on.", record.DeviceID(r.Network, d.Key), clock(d.FirstHour*3600)),
		fmt.Sprintf("It measures: %s. What it seals counts where your consents allow it, and nowhere else.", strings.Join(names, ", ")),
	}, nil
}
