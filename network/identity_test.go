package network

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTestCA(t testing.TB, msp string) *CA {
	t.Helper()
	ca, err := NewCA(msp)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t testing.TB, ca *CA, name string) Identity {
	t.Helper()
	id, err := ca.Issue(name, "client")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func creator(t testing.TB, id Identity) []byte {
	t.Helper()
	b, err := id.Creator()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMemberIsWhomItsOwnRootIssued(t *testing.T) {
	a, b := newTestCA(t, "A"), newTestCA(t, "B")
	trust, err := NewTrust(map[string][]byte{"A": a.RootPEM(), "B": b.RootPEM()})
	if err != nil {
		t.Fatal(err)
	}
	id := issue(t, a, "peer")
	for range 2 {
		m, err := trust.Creator(creator(t, id), time.Now())
		if err != nil || m.MSP != "A" || !m.Key.Equal(&id.Key.PublicKey) {
			t.Fatalf("got %+v, %v", m, err)
		}
	}
	if _, err := trust.Creator(creator(t, id), time.Now().Add(leafLife)); !errors.Is(err, ErrMember) {
		t.Fatalf("after its end: %v", err)
	}
}

// TestAttackCrossIssue: B's authority issues certificates that name A.
func TestAttackCrossIssue(t *testing.T) {
	a, b := newTestCA(t, "A"), newTestCA(t, "B")
	trust, err := NewTrust(map[string][]byte{"A": a.RootPEM(), "B": b.RootPEM()})
	if err != nil {
		t.Fatal(err)
	}
	rogue := *b
	rogue.root.MSP = "A"
	forged := issue(t, &rogue, "client")
	honest := issue(t, b, "client")
	asA := honest
	asA.MSP = "A"
	root := Identity{MSP: "A", Certificate: a.RootPEM()}
	for name, id := range map[string]Identity{
		"names A, issued by B": forged, "names B, claims A": asA, "an authority's own": root,
		"unknown MSP": {MSP: "C", Certificate: honest.Certificate}, "no certificate": {MSP: "A"},
		"two certificates": {MSP: "B", Certificate: append(honest.Certificate, honest.Certificate...)},
		"text after it":    {MSP: "B", Certificate: append(bytes.Clone(honest.Certificate), 'x')},
	} {
		if _, err := trust.Creator(creator(t, id), time.Now()); !errors.Is(err, ErrMember) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := trust.Creator([]byte("\xff\xff"), time.Now()); !errors.Is(err, ErrMember) {
		t.Error("bytes that are no identity pass")
	}
	if _, err := trust.Creator(make([]byte, maxCertificate+1), time.Now()); !errors.Is(err, ErrMember) {
		t.Error("an identity of any size passes")
	}
	if _, err := trust.Creator(creator(t, honest), time.Now()); err != nil {
		t.Error(err)
	}
}

func TestBadRootsAreRefused(t *testing.T) {
	a := newTestCA(t, "A")
	member := issue(t, a, "client")
	for name, roots := range map[string]map[string][]byte{
		"none":             {},
		"of another MSP":   {"B": a.RootPEM()},
		"not an authority": {"A": member.Certificate},
		"not PEM":          {"A": []byte("root")},
		"malformed MSP":    {"A/../B": a.RootPEM()},
	} {
		if _, err := NewTrust(roots); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, msp := range []string{"", "a b", "-a", strings.Repeat("a", 65), "a/b"} {
		if _, err := NewCA(msp); err == nil {
			t.Errorf("%q is accepted as an MSP", msp)
		}
	}
	if _, err := a.Issue("", "client"); err == nil {
		t.Error("a certificate without a name is issued")
	}
}

func TestSignatures(t *testing.T) {
	id := issue(t, newTestCA(t, "A"), "client")
	msg := []byte("message")
	for range 20 { // half of them would have the higher s
		sig, err := id.Sign(msg)
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifySignature(&id.Key.PublicKey, msg, sig); err != nil {
			t.Fatal(err)
		}
		if err := VerifySignature(&id.Key.PublicKey, []byte("other"), sig); !errors.Is(err, ErrSignature) {
			t.Fatalf("another message: %v", err)
		}
		if err := VerifySignature(&id.Key.PublicKey, msg, append(sig, 0)); !errors.Is(err, ErrSignature) {
			t.Fatalf("trailing byte: %v", err)
		}
	}
	if _, err := (Identity{}).Sign(msg); err == nil {
		t.Fatal("an identity without a key signs")
	}
}

func TestSaveAndLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ids")
	ca := newTestCA(t, "A")
	id := issue(t, ca, "client")
	if err := errors.Join(id.Save(dir), ca.Save(dir)); err != nil {
		t.Fatal(err)
	}
	got, err := LoadIdentity(dir)
	if err != nil || got.MSP != "A" || !got.Key.Equal(id.Key) || !bytes.Equal(got.Certificate, id.Certificate) {
		t.Fatalf("got %v, %v", got, err)
	}
	again, err := LoadCA(dir)
	if err != nil || !bytes.Equal(again.RootPEM(), ca.RootPEM()) {
		t.Fatal(err)
	}
	trust, err := NewTrust(map[string][]byte{"A": ca.RootPEM()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trust.Creator(creator(t, issue(t, again, "later")), time.Now()); err != nil {
		t.Fatalf("what a loaded authority issues: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("the directory has mode %v, %v", info.Mode(), err)
	}
}

func TestLoadRefuses(t *testing.T) {
	ca := newTestCA(t, "A")
	id, other := issue(t, ca, "client"), issue(t, ca, "other")
	save := func() string {
		dir := t.TempDir()
		if err := id.Save(dir); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	change := func(name string, data []byte, mode os.FileMode) string {
		dir := save()
		path := filepath.Join(dir, name)
		if data != nil {
			if err := os.WriteFile(path, data, mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for name, dir := range map[string]string{
		"others may read the key": change(keyFile, nil, 0o644),
		"another's certificate":   change(certFile, other.Certificate, 0o600),
		"no key":                  change(keyFile, []byte("key"), 0o600),
		"no certificate":          change(certFile, []byte("cert"), 0o600),
		"endless file":            change(certFile, make([]byte, maxCertificate+1), 0o600),
		"nothing":                 t.TempDir(),
	} {
		if _, err := LoadIdentity(dir); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
	if _, err := LoadCA(save()); err == nil {
		t.Error("a member's identity is loaded as an authority")
	}
	wrong := id
	wrong.MSP = "B"
	if err := wrong.Save(t.TempDir()); err == nil {
		t.Error("an identity is saved under an MSP that is not its certificate's")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := (Identity{MSP: "A", Certificate: id.Certificate, Key: key}).Save(t.TempDir()); err == nil {
		t.Error("an identity is saved with a key that is not its certificate's")
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	ca := newTestCA(t, "A")
	id := issue(t, ca, "client")
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "id", id, "pointer", &id, "ca", ca)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "id", id, "pointer", &id, "ca", ca)
	asJSON, err := json.Marshal([]any{id, &id, ca})
	if err != nil {
		t.Fatal(err)
	}
	text := log.String() + string(asJSON) + fmt.Sprintf("%v %+v %#v %s %v %#v %v %+v", id, id, id, id, &id, &id, ca, ca)
	for _, key := range []*ecdsa.PrivateKey{id.Key, ca.root.Key} {
		raw, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		d := new(big.Int).SetBytes(raw)
		if strings.Contains(text, d.String()) || strings.Contains(text, d.Text(16)) {
			t.Fatal("a key is printed")
		}
	}
	if !strings.Contains(text, `of \"A\"`) && !strings.Contains(text, `of "A"`) {
		t.Fatalf("nothing useful is printed: %s", text)
	}
}

func FuzzCreator(f *testing.F) {
	ca := newTestCA(f, "A")
	trust, err := NewTrust(map[string][]byte{"A": ca.RootPEM()})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(creator(f, issue(f, ca, "client")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := trust.Creator(data, time.Now())
		if err == nil && (m.MSP != "A" || m.Key == nil) {
			t.Fatalf("it let %+v through", m)
		}
	})
}
