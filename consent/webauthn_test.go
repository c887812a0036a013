package consent

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/vitalveil/vitalveil/internal/record"
)

const portal = "https://portal.example.org"

func parties() []record.RelyingParty {
	return []record.RelyingParty{
		{ID: "example.org", Origins: []string{portal, "https://example.org:8443"}},
		{ID: "other.example", Origins: []string{"https://other.example"}},
	}
}

// authenticator is a passkey with the browser before it, in software. What a
// field says goes into the next assertion, signed, so that only the check that
// is meant can refuse it.
type authenticator struct {
	testing.TB
	key       *ecdsa.PrivateKey
	party     string
	flags     byte
	after     []byte // authenticator data from byte 37 on
	kind      string
	challenge func(Document) string
	origin    string
	more      string // members of the client data after the known ones
	client    string // all of the client data, instead
}

func newAuthenticator(t testing.TB) *authenticator {
	key, _ := newKey(t)
	return &authenticator{
		TB: t, key: key, party: "example.org", flags: flagUserPresent | flagUserVerified,
		kind: "webauthn.get", challenge: func(d Document) string { return d.Challenge(network) },
		origin: portal, more: `,"crossOrigin":false`,
	}
}

func (a authenticator) sign(d Document) Signed {
	a.Helper()
	client := a.client
	if client == "" {
		client = `{"type":"` + a.kind + `","challenge":"` + a.challenge(d) + `","origin":"` + a.origin + `"` + a.more + `}`
	}
	party := sha256.Sum256([]byte(a.party))
	data := append(append(party[:], a.flags, 0, 0, 0, 7), a.after...)
	as := &Assertion{AuthenticatorData: data, ClientDataJSON: []byte(client)}
	clientHash := sha256.Sum256([]byte(client))
	digest := sha256.Sum256(append(append([]byte{}, data...), clientHash[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, a.key, digest[:])
	if err != nil {
		a.Fatal(err)
	}
	return Signed{Document: d, Key: record.PublicKeyBytes(&a.key.PublicKey), Signature: sig, Assertion: as}
}

// refuses wants a document refused for the reason that these words give.
func refuses(t *testing.T, what string, s Signed, words string) {
	t.Helper()
	err := s.CheckSignature(network, parties())
	switch {
	case err == nil:
		t.Errorf("%s is accepted", what)
	case !errors.Is(err, record.ErrSignature) || !strings.Contains(err.Error(), words):
		t.Errorf("%s: %v, want words %q", what, err, words)
	}
}

// alone makes a test of one change to an honest authenticator.
func alone(t *testing.T, what, words string, change func(*authenticator)) {
	t.Helper()
	a := newAuthenticator(t)
	change(a)
	refuses(t, what, a.sign(permit()), words)
}

func TestAnAuthenticatorSigns(t *testing.T) {
	extensions, err := cbor.Marshal(map[string]any{"uvm": [][]int{{2, 4, 2}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*authenticator){
		"plainly":                            func(*authenticator) {},
		"without crossOrigin":                func(a *authenticator) { a.more = "" },
		"from another page of the party":     func(a *authenticator) { a.origin = "https://example.org:8443" },
		"from the other party":               func(a *authenticator) { a.party, a.origin = "other.example", "https://other.example" },
		"with members that browsers make up": func(a *authenticator) { a.more = `,"crossOrigin":false,"extra_keys_may_be_added":[{"a":1},null]` },
		"with escapes":                       func(a *authenticator) { a.origin = `https:\/\/portal.example.org` },
		"as a synchronised passkey":          func(a *authenticator) { a.flags |= flagBackupEligible | flagBackedUp },
		"with reserved flags":                func(a *authenticator) { a.flags |= 1<<1 | 1<<5 },
		"with extensions": func(a *authenticator) {
			a.flags, a.after = a.flags|flagExtensions, extensions
		},
	} {
		a := newAuthenticator(t)
		change(a)
		s := a.sign(permit())
		if err := s.CheckSignature(network, parties()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPasskeysAndPlainKeysSignForTheSamePatient(t *testing.T) {
	a := newAuthenticator(t)
	plain, plainKey := newKey(t)
	in := record.Inception{
		ConsentKeys:  [][]byte{plainKey, record.PublicKeyBytes(&a.key.PublicKey)},
		RecoveryHash: record.RandomID(), Salt: record.RandomID(),
	}
	d := changed(permit(), func(d *Document) { d.Patient = in.PatientID(network) })
	for name, s := range map[string]Signed{"a passkey": a.sign(d), "a plain key": signed(t, d, plain)} {
		if err := s.Verify(network, parties(), patient(in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := back.Verify(network, parties(), patient(in)); err != nil {
			t.Errorf("%s, after a journey as JSON: %v", name, err)
		}
	}
	stranger := newAuthenticator(t).sign(d)
	if err := stranger.Verify(network, parties(), patient(in)); !errors.Is(err, record.ErrSignature) {
		t.Errorf("a stranger's passkey: %v", err)
	}
}

// The digest in testdata was signed in Chromium, through its own WebAuthn and a
// virtual authenticator of CTAP2.
func TestAnAssertionMadeByABrowser(t *testing.T) {
	raw, err := os.ReadFile("testdata/assertion-chromium.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Origin, Browser string
		Digest          record.ID
		Key, Signature  []byte
		Assertion       *Assertion
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	local := []record.RelyingParty{{ID: "localhost", Origins: []string{v.Origin}}}
	if err := CheckRelyingParties(local); err != nil {
		t.Fatal(err)
	}
	if err := checkSignature(local, v.Digest, v.Key, v.Signature, v.Assertion); err != nil {
		t.Fatal(err)
	}
	v.Digest[31]++
	if err := checkSignature(local, v.Digest, v.Key, v.Signature, v.Assertion); err == nil {
		t.Error("the same assertion counts for another document")
	}
}

func TestAttackReusedAssertion(t *testing.T) {
	grant := permit()
	a := newAuthenticator(t)
	s := a.sign(grant)
	for name, change := range map[string]func(*Document){
		"another grantee":  func(d *Document) { d.Grantee = "HospitalB" },
		"another patient":  func(d *Document) { d.Patient[0]++ },
		"the next version": func(d *Document) { d.Version, d.Previous = 2, grant.Digest(network) },
		"a later expiry":   func(d *Document) { d.Expires++ },
		"a revocation":     func(d *Document) { d.Status = StatusRevoked },
		"another consent":  func(d *Document) { d.ID[31]++ },
		"wider terms":      limiting(func(l *Limits) { l.Range.Lo = 1 }),
	} {
		moved := s
		moved.Document = changed(grant, change)
		refuses(t, name, moved, "another challenge")
	}
	if err := s.CheckSignature("another-network", parties()); err == nil || !strings.Contains(err.Error(), "another challenge") {
		t.Errorf("on another network: %v", err)
	}
	// With the challenge of the new document put in, the signature no longer holds.
	revocation := changed(grant, func(d *Document) { d.Status = StatusRevoked })
	bent := s
	bent.Document = revocation
	bent.Assertion = &Assertion{
		AuthenticatorData: s.Assertion.AuthenticatorData,
		ClientDataJSON:    []byte(strings.Replace(string(s.Assertion.ClientDataJSON), grant.Challenge(network), revocation.Challenge(network), 1)),
	}
	refuses(t, "a challenge put in afterwards", bent, "by an authenticator")
}

func TestAttackChallengeInAnotherForm(t *testing.T) {
	for name, form := range map[string]func(record.ID) string{
		"padded":              func(id record.ID) string { return base64.URLEncoding.EncodeToString(id[:]) },
		"in the other base64": func(id record.ID) string { return base64.RawStdEncoding.EncodeToString(id[:]) + "/" },
		"in hexadecimal":      record.ID.String,
		"cut off":             func(id record.ID) string { return base64.RawURLEncoding.EncodeToString(id[:31]) },
		"nothing":             func(record.ID) string { return "" },
		"with loose bits": func(id record.ID) string {
			const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			s := base64.RawURLEncoding.EncodeToString(id[:]) // the last digit has two bits too many
			last := strings.IndexByte(digits, s[len(s)-1])
			return s[:len(s)-1] + string(digits[last|1])
		},
	} {
		alone(t, name, "another challenge", func(a *authenticator) {
			a.challenge = func(d Document) string { return form(d.Digest(network)) }
		})
	}
}

func TestAttackForeignOrigin(t *testing.T) {
	for _, origin := range []string{
		"https://portal.example.org.evil.example", "https://evil.example", "http://portal.example.org",
		"https://portal.example.org:444", "https://portal.example.org/", "https://PORTAL.example.org", "https://example.org",
		"portal.example.org", "null", "", "https://other.example",
	} {
		alone(t, "origin "+origin, "origin", func(a *authenticator) { a.origin = origin })
	}
	alone(t, "no origin", "origin", func(a *authenticator) {
		a.client = `{"type":"webauthn.get","challenge":"` + permit().Challenge(network) + `","Origin":"` + portal + `"}`
	})
}

func TestAttackForeignRelyingParty(t *testing.T) {
	for _, party := range []string{"evil.example", "portal.example.org", "Example.org", "org", ""} {
		alone(t, party, "relying party", func(a *authenticator) { a.party = party })
	}
	alone(t, "a page of the other party", "origin", func(a *authenticator) { a.party = "other.example" })
	s := newAuthenticator(t).sign(permit())
	if err := s.CheckSignature(network, nil); err == nil || !strings.Contains(err.Error(), "relying party") {
		t.Errorf("a network without relying parties: %v", err)
	}
}

func TestAttackCrossOriginFrame(t *testing.T) {
	for _, more := range []string{
		`,"crossOrigin":true`, `,"crossOrigin":"false"`, `,"crossOrigin":null`, `,"crossOrigin":0`, `,"crossOrigin":[]`,
		`,"topOrigin":"https://evil.example"`, `,"crossOrigin":false,"topOrigin":"https://portal.example.org"`,
	} {
		alone(t, more, "frame", func(a *authenticator) { a.more = more })
	}
}

func TestAttackWithoutUserVerification(t *testing.T) {
	for name, flags := range map[string]byte{
		"only present": flagUserPresent, "only verified": flagUserVerified, "neither": 0,
		"a synchronised passkey, unverified": flagUserPresent | flagBackupEligible | flagBackedUp,
	} {
		alone(t, name, "verify its user", func(a *authenticator) { a.flags = flags })
	}
}

func TestAttackRegistrationAsAssertion(t *testing.T) {
	for _, kind := range []string{"webauthn.create", "payment.get", "Webauthn.get", "webauthn.get ", ""} {
		alone(t, kind, "type", func(a *authenticator) { a.kind = kind })
	}
	alone(t, "data with a new credential", "new credential", func(a *authenticator) {
		a.flags, a.after = a.flags|flagAttested, make([]byte, 40)
	})
}

func TestAttackDuplicateKeysInClientData(t *testing.T) {
	evil := `"https://evil.example"`
	for name, more := range map[string]string{
		"origin":                 `,"origin":` + evil,
		"the same origin":        `,"origin":"` + portal + `"`,
		"challenge":              `,"challenge":"AAAA"`,
		"type":                   `,"type":"webauthn.create"`,
		"an escaped spelling":    `,"ori\u0067in":` + evil,
		"crossOrigin":            `,"crossOrigin":false,"crossOrigin":true`,
		"deep inside a new part": `,"new":[{"a":1,"a":2}]`,
	} {
		alone(t, name, "duplicate", func(a *authenticator) { a.more = more })
	}
}

func TestAttackMalformedClientData(t *testing.T) {
	honest := `{"type":"webauthn.get","challenge":"` + permit().Challenge(network) + `","origin":"` + portal + `"`
	for name, client := range map[string]string{
		"trailing data":         honest + `}{}`,
		"cut off":               honest,
		"a list":                `[` + honest + `}]`,
		"nothing":               " ",
		"null":                  "null",
		"a byte order mark":     "\ufeff" + honest + `}`,
		"not UTF-8":             honest + `,"x":"` + "\xff" + `"}`,
		"too long":              honest + `,"x":"` + strings.Repeat("x", MaxClientData) + `"}`,
		"too deep":              honest + `,"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`,
		"a number as a type":    `{"type":1` + strings.TrimPrefix(honest, `{"type":"webauthn.get"`) + `}`,
		"null as a challenge":   `{"type":"webauthn.get","challenge":null,"origin":"` + portal + `"}`,
		"an origin in a list":   `{"type":"webauthn.get","challenge":"` + permit().Challenge(network) + `","origin":["` + portal + `"]}`,
		"members in capitals":   strings.NewReplacer("type", "Type", "challenge", "Challenge").Replace(honest) + `}`,
		"crossOrigin of spaces": honest + `,"crossOrigin": tru}`,
	} {
		alone(t, name, "client data", func(a *authenticator) { a.client = client })
	}
}

func TestAttackTrailingAuthenticatorData(t *testing.T) {
	trailing := func(b ...byte) func(*authenticator) { return func(a *authenticator) { a.after = b } }
	extended := func(b ...byte) func(*authenticator) {
		return func(a *authenticator) { a.flags, a.after = a.flags|flagExtensions, b }
	}
	alone(t, "one byte", "no flag", trailing(0))
	alone(t, "extensions without their flag", "no flag", trailing(0xa0))
	alone(t, "a flag without extensions", "no map", extended())
	alone(t, "a list as extensions", "no map", extended(0x80))
	alone(t, "null as extensions", "no map", extended(0xf6))
	alone(t, "a byte after the extensions", "extensions", extended(0xa0, 0))
	alone(t, "extensions cut off", "extensions", extended(0xa1, 0x61, 'x'))
	alone(t, "an extension twice", "extensions", extended(0xa2, 0x61, 'x', 1, 0x61, 'x', 2))
	alone(t, "a number as an extension's name", "extensions", extended(0xa1, 1, 2))
	alone(t, "an endless map", "no map", func(a *authenticator) { a.flags, a.after = a.flags|flagExtensions, []byte{0x9f, 0xff} })
	alone(t, "an indefinite map", "extensions", extended(0xbf, 0xff))
	alone(t, "a tag", "extensions", extended(0xa1, 0x61, 'x', 0xc1, 0))
	alone(t, "a map larger than all memory", "extensions", extended(0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))
	alone(t, "too long", "bytes", extended(append([]byte{0xa1, 0x61, 'x', 0x59, 0x04, 0x00}, make([]byte, 1024)...)...))
	alone(t, "backed up and not eligible", "backed up", func(a *authenticator) { a.flags |= flagBackedUp })
	s := newAuthenticator(t).sign(permit())
	s.Assertion = &Assertion{AuthenticatorData: s.Assertion.AuthenticatorData[:36], ClientDataJSON: s.Assertion.ClientDataJSON}
	refuses(t, "too short", s, "bytes")
}

// A signature has the one form of its kind: with an assertion it is never taken
// for a plain one, nor a plain one for an assertion's.
func TestAttackSignatureOfTheOtherKind(t *testing.T) {
	a := newAuthenticator(t)
	s := a.sign(permit())
	stripped := s
	stripped.Assertion = nil
	refuses(t, "without its assertion", stripped, "")
	plain := signed(t, permit(), a.key)
	plain.Assertion = s.Assertion
	refuses(t, "a plain signature with an assertion", plain, "by an authenticator")
	plain.Assertion = &Assertion{}
	refuses(t, "a plain signature with an empty assertion", plain, "client data")
	long := s
	long.Signature = append(s.Signature[:len(s.Signature):len(s.Signature)], 0)
	refuses(t, "a byte after the signature", long, "by an authenticator")
	other := s
	_, other.Key = newKey(t)
	refuses(t, "another key", other, "by an authenticator")
	other.Key = []byte{2}
	refuses(t, "no key", other, "public key")
	raw := s
	raw.Signature = make([]byte, 64)
	refuses(t, "zeros", raw, "by an authenticator")
}

func TestRelyingPartiesAreCheckedWhenANetworkIsMade(t *testing.T) {
	rp := func(id string, origins ...string) []record.RelyingParty {
		return []record.RelyingParty{{ID: id, Origins: origins}}
	}
	for _, good := range [][]record.RelyingParty{
		nil, parties(), rp("localhost", "http://localhost", "http://localhost:8080", "https://localhost:8443"),
		rp("localhost", "http://portal.localhost:1"), rp("example.org", portal, "android:apk-key-hash:RGBUe807tmxkP4i8i12naSdqLbEYDUAGemX4iqa5uXs"), rp("xn--bcher-kva.example", "https://a.b.xn--bcher-kva.example"),
	} {
		if err := CheckRelyingParties(good); err != nil {
			t.Errorf("%v: %v", good, err)
		}
	}
	const id = "example.org"
	for name, bad := range map[string][]record.RelyingParty{
		"plain http":               rp(id, "http://example.org"),
		"http that ends so":        rp("a.notlocalhost", "http://a.notlocalhost"),
		"another scheme":           rp(id, "ftp://example.org"),
		"an app of a short hash":   rp(id, "android:apk-key-hash:x"),
		"an app of a padded hash":  rp(id, "android:apk-key-hash:RGBUe807tmxkP4i8i12naSdqLbEYDUAGemX4iqa5uXs="),
		"an app of spare bits":     rp(id, "android:apk-key-hash:RGBUe807tmxkP4i8i12naSdqLbEYDUAGemX4iqa5uXt"),
		"an app in base64":         rp(id, "android:apk-key-hash:RGBUe807tmxkP4i8i12naSdqLbEYDUAGemX4iqa5u+s"),
		"an app in two lines":      rp(id, "android:apk-key-hash:RGBUe807tmxkP4i8i12naSdqLbEYDUAGemX4iqa5u\nXs"),
		"an app of no platform":    rp(id, "ios:bundle-id:org.example"),
		"no scheme":                rp(id, "example.org"),
		"a path":                   rp(id, "https://example.org/"),
		"a query":                  rp(id, "https://example.org?x"),
		"a name in it":             rp(id, "https://a@example.org"),
		"the default port":         rp(id, "https://example.org:443"),
		"the default port of http": rp("localhost", "http://localhost:80"),
		"port 0":                   rp(id, "https://example.org:0"),
		"a port too large":         rp(id, "https://example.org:65536"),
		"a port with zeros":        rp(id, "https://example.org:0444"),
		"a port with a sign":       rp(id, "https://example.org:+444"),
		"no port":                  rp(id, "https://example.org:"),
		"capitals":                 rp(id, "https://Example.org"),
		"letters beyond ASCII":     rp(id, "https://bücher.example.org"),
		"a dot at the end":         rp(id, "https://example.org."),
		"a wildcard":               rp(id, "https://*.example.org"),
		"another domain":           rp(id, "https://example.com"),
		"a domain that ends so":    rp(id, "https://badexample.org"),
		"the domain above":         rp("portal.example.org", "https://example.org"),
		"no origin":                rp(id),
		"an origin twice":          rp(id, portal, portal),
		"nine origins": rp(id, "https://a.example.org", "https://b.example.org", "https://c.example.org", "https://d.example.org",
			"https://e.example.org", "https://f.example.org", "https://g.example.org", "https://h.example.org", "https://i.example.org"),
		"an id with a scheme":  rp(portal, portal),
		"an id in capitals":    rp("Example.org", "https://example.org"),
		"an address":           rp("127.0.0.1", "https://127.0.0.1"),
		"an id of one label":   rp("org", "https://example.org"),
		"an empty id":          rp("", "https://example.org"),
		"an empty label":       rp("example..org", "https://example..org"),
		"a hyphen at an end":   rp("-a.example", "https://-a.example"),
		"a long label":         rp(strings.Repeat("a", 64)+".example", "https://"+strings.Repeat("a", 64)+".example"),
		"a long id":            rp(strings.Repeat("a.", 127)+"example", "https://"+strings.Repeat("a.", 127)+"example"),
		"the same party twice": append(rp(id, portal), rp(id, "https://example.org")...),
		"nine parties": append(append(append(append(append(append(append(append(
			rp("a.example", "https://a.example"), rp("b.example", "https://b.example")...), rp("c.example", "https://c.example")...),
			rp("d.example", "https://d.example")...), rp("e.example", "https://e.example")...), rp("f.example", "https://f.example")...),
			rp("g.example", "https://g.example")...), rp("h.example", "https://h.example")...), rp("i.example", "https://i.example")...),
	} {
		if err := CheckRelyingParties(bad); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func FuzzClientData(f *testing.F) {
	f.Add([]byte(`{"type":"webauthn.get","challenge":"AAAA","origin":"https://a.example","crossOrigin":false}`))
	f.Add([]byte(`{"type":"webauthn.get","type":"webauthn.create","challenge":"","origin":"\u0000"}`))
	f.Add([]byte(`{"type":"webauthn.get","challenge":"A","origin":"b","crossOrigin":true,"topOrigin":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseClientData(data)
		if err != nil {
			return
		}
		// Another reader, which takes the last of two members in any spelling of
		// their names, sees the same page, unless a name is spelt differently.
		var other map[string]any
		if err := json.Unmarshal(data, &other); err != nil {
			t.Fatal(err)
		}
		if other["type"] != "webauthn.get" || other["challenge"] != c.challenge || other["origin"] != c.origin {
			t.Fatalf("%s is %+v here and %v there", data, c, other)
		}
		if cross, there := other["crossOrigin"]; there && cross != false {
			t.Fatalf("a frame passed: %s", data)
		}
		if len(data) > MaxClientData {
			t.Fatalf("%d bytes passed", len(data))
		}
	})
}

func FuzzAuthenticatorData(f *testing.F) {
	f.Add(make([]byte, 37))
	f.Add(append(make([]byte, 32), 0x85, 0, 0, 0, 0, 0xa1, 0x61, 'x', 1))
	f.Add(append(make([]byte, 32), 0x45, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parseAuthenticatorData(data)
		if err != nil {
			return
		}
		if len(data) < 37 || len(data) > MaxAuthenticatorData || a.party != record.ID(data[:32]) {
			t.Fatalf("%x passed as %+v", data, a)
		}
		if a.userPresent != (data[32]&1 != 0) || a.userVerified != (data[32]&4 != 0) || data[32]&0x40 != 0 {
			t.Fatalf("flags %08b passed as %+v", data[32], a)
		}
		if extended := data[32]&0x80 != 0; extended == (len(data) == 37) || extended && cbor.Wellformed(data[37:]) != nil {
			t.Fatalf("%x follows flags %08b", data[37:], data[32])
		}
	})
}

func BenchmarkCheckAssertion(b *testing.B) {
	s := newAuthenticator(b).sign(permit())
	for b.Loop() {
		if err := s.CheckSignature(network, parties()); err != nil {
			b.Fatal(err)
		}
	}
}
