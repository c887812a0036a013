package site

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/network"
)

// Names of what is in the directory of an organisation.
const (
	MemberFile        = "member.json"
	IdentityDir       = "identity"
	LedgerIdentityDir = "ledger-identity" // of a ledger that the organisation runs

	hpkeFile   = "hpke.key"
	signDir    = "sign"
	socketFile = "control.sock"
	keysSocket = "keys.sock"
)

// MemberDocument is what an institution gives to the others, DIR/member.json:
// nothing in it is secret. They must be sure that it is this institution's.
type MemberDocument struct {
	Member record.Member `json:"member"`
	Root   []byte        `json:"root"` // PEM: who speaks for the organisation
}

// Keys are a member's secrets.
type Keys struct {
	Identity network.Identity
	Boxes    *he.MemberKeys
	Sign     *ecdsa.PrivateKey
}

// MakeKeys makes an organisation's authority, in a directory of its own, identities of
// its institution and of a ledger that it may run, the institution's keys, and the
// document about them. A directory that has them already is refused: other
// keys could not open what is sealed to these.
func MakeKeys(dir, caDir, msp, name string) (MemberDocument, error) {
	var doc MemberDocument
	if _, err := os.Stat(filepath.Join(dir, MemberFile)); !errors.Is(err, fs.ErrNotExist) {
		return doc, fmt.Errorf("%s holds an institution already; its keys are not replaced", dir)
	}
	if _, err := os.Stat(caDir); !errors.Is(err, fs.ErrNotExist) {
		return doc, fmt.Errorf("%s is there already; name another place for the organisation's authority with --ca", caDir)
	}
	ca, err := network.NewCA(msp)
	if err != nil {
		return doc, err
	}
	identity, err := ca.Issue("institution", "peer")
	if err != nil {
		return doc, err
	}
	ledger, err := ca.Issue("ledger", "peer")
	if err != nil {
		return doc, err
	}
	signer, err := ca.Issue("signing key", "client")
	if err != nil {
		return doc, err
	}
	boxes, err := he.NewMemberKeys()
	if err != nil {
		return doc, err
	}
	secret, err := boxes.Bytes()
	if err != nil {
		return doc, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return doc, err
	}
	err = errors.Join(ca.Save(caDir), identity.Save(filepath.Join(dir, IdentityDir)), ledger.Save(filepath.Join(dir, LedgerIdentityDir)),
		signer.Save(filepath.Join(dir, signDir)), state.WriteFile(filepath.Join(dir, hpkeFile), secret))
	if err != nil {
		return doc, err
	}
	doc = MemberDocument{Root: ca.RootPEM(), Member: boxes.Enter(record.Member{
		MSP: msp, Name: name, SignKey: record.PublicKeyBytes(&signer.Key.PublicKey),
	})}
	return doc, Save(filepath.Join(dir, MemberFile), doc)
}

// LoadKeys reads what MakeKeys has made; the identity goes along with its files.
func LoadKeys(dir string) (Keys, error) {
	var k Keys
	var err error
	if k.Identity, err = network.FollowIdentity(filepath.Join(dir, IdentityDir)); err != nil {
		return k, err
	}
	signer, err := network.LoadIdentity(filepath.Join(dir, signDir))
	if err != nil {
		return k, err
	}
	k.Sign = signer.Key
	path := filepath.Join(dir, hpkeFile)
	secret, err := Secret(path).Read(1 << 10)
	if err != nil {
		return k, err
	}
	if k.Boxes, err = he.ParseMemberKeys(secret); err != nil {
		return k, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}
