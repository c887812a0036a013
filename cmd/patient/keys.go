package patient

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/site"
)

type keysCommand struct {
	New     newCommand     `cmd:"" help:"Make a directory on another machine, with a key that the first directory can add."`
	Add     addCommand     `cmd:"" help:"Let another key or passkey sign too: this directory's key signs that."`
	Remove  removeCommand  `cmd:"" help:"Let a key sign no more."`
	Accept  acceptCommand  `cmd:"" help:"Take note of keys that were changed elsewhere, after showing them."`
	Recover recoverCommand `cmd:"" help:"Replace all keys with a new one, by the recovery code."`
}

type addCommand struct {
	dirFlag
	Key string `arg:"" help:"The public key, as the portal or \"patient show\" on the other machine shows it: 66 hex digits."`
	Yes bool   `help:"Sign without asking."`
}

// Run adds a key.
func (c addCommand) Run(ctx context.Context) error {
	return onKey(ctx, c.dirFlag, c.Key, c.Yes, func(k *record.PatientKeys, key []byte) error {
		k.ConsentKeys = append(k.ConsentKeys, key)
		return nil
	})
}

type removeCommand struct {
	dirFlag
	Key string `arg:"" help:"The public key: 66 hex digits."`
	Yes bool   `help:"Sign without asking."`
}

// Run removes a key.
func (c removeCommand) Run(ctx context.Context) error {
	return onKey(ctx, c.dirFlag, c.Key, c.Yes, func(k *record.PatientKeys, key []byte) error {
		n := len(k.ConsentKeys)
		k.ConsentKeys = slices.DeleteFunc(k.ConsentKeys, func(o []byte) bool { return bytes.Equal(o, key) })
		if len(k.ConsentKeys) == n {
			return errors.New("that key does not sign now")
		}
		return nil
	})
}

func onKey(ctx context.Context, f dirFlag, text string, yes bool, edit func(*record.PatientKeys, []byte) error) error {
	key, err := hex.DecodeString(text)
	if err != nil {
		return errors.New("a public key is 66 hex digits")
	}
	h, err := f.confirmed()
	if err != nil {
		return err
	}
	return h.change(ctx, yes, func(k *record.PatientKeys) error { return edit(k, key) })
}

// errOtherKeys says that the gateway shows keys that this directory does not know.
var errOtherKeys = errors.New("the keys on the ledger are not those that this directory knows; if you changed them elsewhere, \"vitalveil patient keys accept\"")

// known is the ledger's record of the patient with keys that this directory knows: a
// gateway cannot slip one in.
func (h *home) known(ctx context.Context, c *api.Client) (record.Patient, error) {
	p, err := h.record(ctx, c)
	if err != nil {
		return p, err
	}
	var before record.Patient
	found, err := dirFlag{h.dir}.load(recordFile, &before)
	switch {
	case err != nil:
		return p, err
	case !found && p.Keys == nil: // those of the inception record, whose digest is who the patient is
	case !found || digestOf(before, h.genesis.Network) != digestOf(p, h.genesis.Network):
		return p, errOtherKeys
	}
	return p, site.Save(filepath.Join(h.dir, recordFile), p)
}

func digestOf(p record.Patient, network string) record.ID {
	if p.Keys == nil {
		return record.ID{}
	}
	return p.Keys.Digest(network)
}

// change signs the next change of the patient's keys and hands it in.
func (h *home) change(ctx context.Context, yes bool, edit func(*record.PatientKeys) error) error {
	client, key, err := h.client()
	if err != nil {
		return err
	}
	defer client.Close()
	p, err := h.known(ctx, client)
	if err != nil {
		return err
	}
	next := following(p, h.genesis.Network)
	if err := edit(&next); err != nil {
		return err
	}
	return h.sign(ctx, client, p, next, key, yes)
}

// following is a change that changes nothing yet.
func following(p record.Patient, network string) record.PatientKeys {
	return record.PatientKeys{
		Patient: p.ID, Version: p.KeysVersion() + 1, Previous: digestOf(p, network),
		ConsentKeys: slices.Clone(p.ConsentKeys()), RecoveryHash: p.RecoveryHash(),
	}
}

// sign shows a change, signs it and hands it in.
func (h *home) sign(ctx context.Context, client *api.Client, p record.Patient, next record.PatientKeys, key *ecdsa.PrivateKey, yes bool) error {
	if err := consent.ValidateKeys(next.ConsentKeys, next.RecoveryHash); err != nil {
		return err
	}
	s := consent.SignedKeys{Change: next, Key: record.PublicKeyBytes(&key.PublicKey)}
	if err := consent.FollowsKeys(h.genesis.Network, p, s); err != nil {
		return err
	}
	if err := agree(keysWords(next), yes); err != nil {
		return err
	}
	var err error
	if s.Signature, err = record.Sign(key, next.Digest(h.genesis.Network)); err != nil {
		return err
	}
	file := filepath.Join(h.dir, fmt.Sprintf("keys-%d.json", next.Version))
	if err := site.Save(file, s); err != nil { // before it is handed in: what was signed is not lost
		return err
	}
	op, err := client.ChangeKeys(ctx, s)
	if err := Done(ctx, client, op, err); err != nil {
		return err
	}
	p.Keys = &next
	if err := site.Save(filepath.Join(h.dir, recordFile), p); err != nil {
		return err
	}
	_, err = fmt.Printf("change %d of the keys is on the ledger; a hub that answers claims follows it with \"vitalveil bridge keys %s\"\n", next.Version, file)
	return err
}

func keysWords(k record.PatientKeys) []string {
	words := []string{"From now on these keys sign for you, and no others:"}
	for _, key := range k.ConsentKeys {
		words = append(words, "  "+hex.EncodeToString(key))
	}
	if k.RevokeAll {
		words = append(words, "Everything that you have permitted so far is taken back.")
	}
	return words
}

type acceptCommand struct {
	dirFlag
	Yes bool `help:"Accept without asking."`
}

// Run takes note of keys that were changed elsewhere.
func (c acceptCommand) Run(ctx context.Context) error {
	h, err := c.confirmed()
	if err != nil {
		return err
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
	if err := agree([]string{"These keys sign for you, as the gateway says. Each has to be yours."}, c.Yes); err != nil {
		return err
	}
	return site.Save(c.path(recordFile), p)
}

// placeFlags say which patient a new directory is for.
type placeFlags struct {
	Network    string `help:"The network's document, received out of band." type:"existingfile"`
	Gateway    string `help:"The gateway's URL."`
	Patient    string `help:"The patient's identifier."`
	Passphrase string `help:"A file with a passphrase that seals the new consent key." type:"existingfile"`
}

// make makes a directory with a fresh key for a patient who is there already.
func (c placeFlags) make(f dirFlag) (*home, *ecdsa.PrivateKey, error) {
	id, err := record.ParseID(c.Patient)
	if err != nil || c.Network == "" || c.Gateway == "" {
		return nil, nil, errors.New("name --network, --gateway and --patient")
	}
	network, err := filepath.Abs(c.Network)
	if err != nil {
		return nil, nil, err
	}
	d, err := site.Descriptor(network)
	if err != nil {
		return nil, nil, err
	}
	passphrase, err := readPassphrase(site.Secret(c.Passphrase))
	if err != nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if err := f.create(); err != nil {
		return nil, nil, err
	}
	h := &home{dir: f.Dir, genesis: d.Genesis, Config: Config{
		Network: site.Path(network), Gateway: c.Gateway, Passphrase: site.Secret(c.Passphrase), Patient: id,
	}}
	return h, key, saveKey(f.path(keyFile), key, passphrase)
}

type newCommand struct {
	dirFlag
	placeFlags
}

// Run makes a directory whose key the patient can add.
func (c newCommand) Run() error {
	h, key, err := c.make(c.dirFlag)
	if err != nil {
		return err
	}
	h.Confirmed = true // the code is with the first directory
	if err := h.save(); err != nil {
		return err
	}
	_, err = fmt.Println(hex.EncodeToString(record.PublicKeyBytes(&key.PublicKey)))
	return err
}

type recoverCommand struct {
	dirFlag
	placeFlags
	Record    string `help:"The ledger's record of the patient, such as record.json of an old directory: needed if keys were changed before." type:"existingfile"`
	Confirm   bool   `help:"Go on: read the code that was written down, then the new one, and replace the keys."`
	RevokeAll bool   `help:"Take back everything permitted so far."`
	Yes       bool   `help:"Sign without asking."`
}

// recovery is what is under way between the two steps.
type recovery struct {
	Record record.Patient `json:"record"`
	Hash   record.ID      `json:"hash"` // of the new recovery key
}

// Run makes a new directory with a new key and a new code; with --confirm it has them
// take the place of the old ones.
func (c recoverCommand) Run(ctx context.Context) error {
	if c.Confirm {
		return c.confirm(ctx)
	}
	var next recovery
	if c.Record != "" {
		if err := site.Load(c.Record, &next.Record); err != nil {
			return err
		}
		if next.Record.ID.String() != c.Patient {
			return errors.New("the record is of another patient")
		}
	}
	h, _, err := c.make(c.dirFlag)
	if err != nil {
		return err
	}
	next.Record.ID = h.Patient
	code := record.NewRecoveryCode()
	if next.Hash, err = recoveryHash(h.genesis.Network, code); err != nil {
		return err
	}
	if err := errors.Join(site.Save(c.path(newKeysFile), next), h.save()); err != nil {
		return err
	}
	return show(code, func() error { return c.confirm(ctx) })
}

// confirm reads both codes and replaces the keys.
func (c recoverCommand) confirm(ctx context.Context) error {
	h, err := c.open()
	if err != nil {
		return err
	}
	var next recovery
	found, err := c.load(newKeysFile, &next)
	if err != nil || !found || h.Confirmed {
		return errors.Join(err, errors.New("no recovery is under way in this directory"))
	}
	old, err := readCode("The code that was written down: ")
	if err != nil {
		return err
	}
	if _, err := typed(h.genesis.Network, "The new code: ", next.Hash); err != nil {
		return err
	}
	recoveryKey, err := old.Key(h.genesis.Network)
	if err != nil {
		return err
	}
	key, err := h.key()
	if err != nil {
		return err
	}
	// Without a record the old recovery hash is what the code says: a wrong code is for the
	// ledger to refuse.
	p := next.Record
	if p.Keys == nil {
		p.Inception.RecoveryHash = consent.RecoveryHash(record.PublicKeyBytes(&recoveryKey.PublicKey))
	}
	change := following(p, h.genesis.Network)
	change.ConsentKeys, change.RecoveryHash, change.RevokeAll = [][]byte{record.PublicKeyBytes(&key.PublicKey)}, next.Hash, c.RevokeAll
	client := api.NewClient(h.Gateway, h.genesis.Network, nil)
	defer client.Close()
	if err := h.sign(ctx, client, p, change, recoveryKey, c.Yes); err != nil {
		return err
	}
	h.Confirmed = true
	return h.save()
}

func readCode(prompt string) (record.RecoveryCode, error) {
	fmt.Fprint(os.Stderr, prompt)
	line, err := readLine()
	if err != nil {
		return record.RecoveryCode{}, err
	}
	return record.ParseRecoveryCode(line)
}
