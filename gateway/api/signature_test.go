package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// signedRequest is an upload of a device, with a query and an idempotency key.
func signedRequest(t testing.TB, key *ecdsa.PrivateKey) *http.Request {
	t.Helper()
	body := `{"hello": "world"}`
	r, err := http.NewRequest("POST", "http://127.0.0.1/v1/x?y=1", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(api.HeaderKey, "one")
	s := api.Signer{Party: api.MemberParty("HospitalA"), Key: key}
	if err := s.Sign(r, "net", []byte(body), time.Unix(1000, 0)); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnyRequestCanBeSignedAndVerified(t *testing.T) {
	key := newKey(t)
	for _, c := range []struct{ method, target, body, key string }{
		{"GET", "/v1/network", "", ""},
		{"GET", "/", "", ""},
		{"GET", "", "", ""},
		{"HEAD", "/v1/x?", "", ""},
		{"GET", "/v1/x?a=1&b=%20&c=d;e", "", ""},
		{"GET", "/a%2Fb/%C3%A4", "", ""},
		{"POST", "/v1/x", "{}", ""},
		{"POST", "/v1/x?y=1", "{}", "key:1"},
	} {
		r, err := http.NewRequest(c.method, "http://127.0.0.1"+c.target, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if c.key != "" {
			r.Header.Set(api.HeaderKey, c.key)
		}
		signer := api.Signer{Party: api.DeviceParty(record.SumID([]byte("device"))), Key: key}
		if err := signer.Sign(r, "net", []byte(c.body), time.Unix(1000, 0)); err != nil {
			t.Fatal(err)
		}
		s, err := api.ReadSignature(r, "net")
		if err != nil {
			t.Errorf("%v: %v", c, err)
			continue
		}
		if err := s.Verify(record.PublicKeyBytes(&key.PublicKey)); err != nil || s.Party.String() != signer.Party || s.Created.Unix() != 1000 {
			t.Errorf("%v: %v, signed by %s at %s", c, err, s.Party, s.Created)
		}
	}
}

// TestTheSignatureBaseIsThatOfTheStandard signs by hand, as RFC 9421 section 2.5 says,
// over the body and digest of its section B.1.
func TestTheSignatureBaseIsThatOfTheStandard(t *testing.T) {
	key := newKey(t)
	params := `("@method" "@path" "@query" "content-digest" "content-type" "idempotency-key");created=1000;keyid="member:HospitalA";alg="ecdsa-p256-sha256";tag="vitalveil:net"`
	base := `"@method": POST
"@path": /foo
"@query": ?param=Value&Pet=dog
"content-digest": sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:
"content-type": application/json
"idempotency-key": k
"@signature-params": ` + params
	digest := sha256.Sum256([]byte(base))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	raw := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	req, err := http.NewRequest("POST", "http://example.com/foo?param=Value&Pet=dog", strings.NewReader(`{"hello": "world"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", " application/json ")
	req.Header.Set("Content-Digest", "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:")
	req.Header.Set("Idempotency-Key", "k")
	req.Header.Set("Signature-Input", "any="+params)
	req.Header.Set("Signature", "any=:"+base64.StdEncoding.EncodeToString(raw)+":")
	got, err := api.ReadSignature(req, "net")
	if err == nil {
		err = got.Verify(record.PublicKeyBytes(&key.PublicKey))
	}
	if err != nil {
		t.Error(err)
	}
	sum, stated, err := api.ContentDigest(req.Header)
	if err != nil || !stated || sum != record.SumID([]byte(`{"hello": "world"}`)) {
		t.Errorf("digest %s, stated %v, %v", sum, stated, err)
	}
}

func TestAttackARequestChangedAfterItWasSigned(t *testing.T) {
	key := newKey(t)
	public := record.PublicKeyBytes(&key.PublicKey)
	for what, change := range map[string]func(*http.Request){
		"method":   func(r *http.Request) { r.Method = "PUT" },
		"path":     func(r *http.Request) { r.URL.Path = "/v1/z" },
		"query":    func(r *http.Request) { r.URL.RawQuery = "y=2" },
		"no query": func(r *http.Request) { r.URL.RawQuery = "" },
		"digest": func(r *http.Request) {
			r.Header.Set(api.HeaderDigest, strings.Replace(r.Header.Get(api.HeaderDigest), "X", "Y", 1))
		},
		"idempotency key": func(r *http.Request) { r.Header.Set(api.HeaderKey, "two") },
		"time":            changeInput("created=1000", "created=1001"),
		"party":           changeInput("HospitalA", "HospitalB"),
		"less covered":    changeInput(` "@query"`, ""),
		"other order":     changeInput(`"@method" "@path"`, `"@path" "@method"`),
	} {
		r := signedRequest(t, key)
		change(r)
		s, err := api.ReadSignature(r, "net")
		if err == nil {
			err = s.Verify(public)
		}
		if err == nil {
			t.Errorf("another %s was taken", what)
		}
	}
}

func changeInput(from, to string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set(api.HeaderInput, strings.Replace(r.Header.Get(api.HeaderInput), from, to, 1))
	}
}

// TestAttackSignaturesOutsideTheProfile: what would leave something uncovered, or wait
// for what comes after the body, is refused before any key is looked up.
func TestAttackSignaturesOutsideTheProfile(t *testing.T) {
	input := func(text string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(api.HeaderInput, text) }
	}
	const all = `"@method" "@path" "@query" "content-digest" "idempotency-key"`
	const params = `;created=1000;keyid="member:A";tag="vitalveil:net"`
	sound := input("sig=(" + all + ")" + params)
	for what, change := range map[string]func(*http.Request){
		"nothing covered":             input("sig=()" + params),
		"method not covered":          input(`sig=("@path" "@query" "content-digest" "idempotency-key")` + params),
		"path not covered":            input(`sig=("@method" "@query" "content-digest" "idempotency-key")` + params),
		"query not covered":           input(`sig=("@method" "@path" "content-digest" "idempotency-key")` + params),
		"digest not covered":          input(`sig=("@method" "@path" "@query" "idempotency-key")` + params),
		"key not covered":             input(`sig=("@method" "@path" "@query" "content-digest")` + params),
		"a trailer":                   input("sig=(" + all + ` "x";tr)` + params),
		"the digest as a trailer":     input(`sig=("@method" "@path" "@query" "content-digest";tr "idempotency-key")` + params),
		"a parameter of a component":  input(`sig=("@method" "@path" "@query" "content-digest";x=1 "idempotency-key")` + params),
		"a part of the query":         input(`sig=(` + all + ` "@query-param";name="y")` + params),
		"a field of no interest":      input("sig=(" + all + ` "user-agent")` + params),
		"twice the same":              input("sig=(" + all + ` "@path")` + params),
		"a token":                     input(`sig=(@method)` + params),
		"no list":                     input(`sig="x"` + params),
		"not created":                 input("sig=(" + all + `);keyid="member:A";tag="vitalveil:net"`),
		"created as text":             input("sig=(" + all + `);created="1000";keyid="member:A";tag="vitalveil:net"`),
		"no keyid":                    input("sig=(" + all + `);created=1000;tag="vitalveil:net"`),
		"nobody's keyid":              input("sig=(" + all + `);created=1000;keyid="person:A";tag="vitalveil:net"`),
		"an identifier in capitals":   input("sig=(" + all + `);created=1000;keyid="device:` + strings.Repeat("A", 64) + `";tag="vitalveil:net"`),
		"no tag":                      input("sig=(" + all + `);created=1000;keyid="member:A"`),
		"another network":             input("sig=(" + all + `);created=1000;keyid="member:A";tag="vitalveil:other"`),
		"another algorithm":           input("sig=(" + all + ")" + params + `;alg="hmac-sha256"`),
		"an unknown parameter":        input("sig=(" + all + ")" + params + `;expires=1`),
		"no signature input":          func(r *http.Request) { r.Header.Del(api.HeaderInput) },
		"no signature":                func(r *http.Request) { r.Header.Del(api.HeaderSignature) },
		"two signatures":              func(r *http.Request) { sound(r); r.Header.Add(api.HeaderSignature, r.Header.Get(api.HeaderSignature)) },
		"two labels":                  func(r *http.Request) { sound(r); r.Header.Set(api.HeaderInput, r.Header.Get(api.HeaderInput)+", b=()") },
		"under another label":         input("other=(" + all + ")" + params),
		"a short signature":           func(r *http.Request) { sound(r); r.Header.Set(api.HeaderSignature, "sig=:AAAA:") },
		"too long":                    input("sig=(" + all + ");created=1000;tag=\"" + strings.Repeat("x", 2000) + `"`),
		"a key covered and not there": func(r *http.Request) { sound(r); r.Header.Del(api.HeaderKey) },
		"a digest that is not there":  func(r *http.Request) { sound(r); r.Header.Del(api.HeaderDigest) },
		"two keys":                    func(r *http.Request) { sound(r); r.Header.Add(api.HeaderKey, "two") },
	} {
		r := signedRequest(t, newKey(t))
		change(r)
		if s, err := api.ReadSignature(r, "net"); fault.Of(err) != fault.BadSignature {
			t.Errorf("%s: %v, %v", what, s.Party, err)
		}
	}
	r := signedRequest(t, newKey(t))
	sound(r)
	if _, err := api.ReadSignature(r, "net"); err != nil {
		t.Errorf("the sound one: %v", err)
	}
}

func TestADigestHasOneForm(t *testing.T) {
	const zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for text, ok := range map[string]bool{
		"sha-256=:" + zero + ":":                 true,
		"sha-512=:AAAA:, sha-256=:" + zero + ":": true,
		"sha-256=" + zero:                        false,
		"sha-256=:AAAA:":                         false,
		"sha-512=:AAAA:":                         false,
		"SHA-256=:" + zero + ":":                 false,
		"sha-256=(:" + zero + ":)":               false,
		"":                                       false,
		"sha-256=:" + zero + ":, x=\"" + strings.Repeat("x", 2000) + "\"": false,
	} {
		_, stated, err := api.ContentDigest(http.Header{api.HeaderDigest: {text}})
		if (err == nil) != ok || stated != ok {
			t.Errorf("%q: stated %v, %v", text, stated, err)
		}
	}
	if _, _, err := api.ContentDigest(http.Header{api.HeaderDigest: {"sha-256=:" + zero + ":", "sha-256=:" + zero + ":"}}); err == nil {
		t.Error("two digests were taken")
	}
}

func FuzzReadSignature(f *testing.F) {
	r := signedRequest(f, newKey(f))
	f.Add(r.Header.Get(api.HeaderInput), r.Header.Get(api.HeaderSignature), r.Header.Get(api.HeaderDigest))
	f.Add(`sig=("@method";tr "x");created=-1`, "sig=::", "sha-256=?1")
	f.Add(`sig=(tok "a");created=1000;keyid`, `sig=(:AA==:)`, `sha-256=:AA==:;x=y`)
	f.Fuzz(func(t *testing.T, input, sig, digest string) {
		r, err := http.NewRequest("POST", "http://127.0.0.1/v1/x?y=1", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(api.HeaderInput, input)
		r.Header.Set(api.HeaderSignature, sig)
		r.Header.Set(api.HeaderDigest, digest)
		api.ContentDigest(r.Header)
		s, err := api.ReadSignature(r, "net")
		if err != nil {
			return
		}
		for _, must := range []string{`"@method"`, `"@path"`, `"@query"`, `"content-digest"`} {
			if !strings.Contains(input, must) {
				t.Errorf("%s was taken, of %s, without %s", input, s.Party, must)
			}
		}
	})
}

func TestASignerDoesNotPrintItsKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	s := api.Signer{Party: "member:HospitalA", Key: key}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "value", s, "pointer", &s)
	decimal := new(big.Int).SetBytes(raw).String()
	for _, out := range []string{fmt.Sprint(s), fmt.Sprintf("%+v %#v %v", s, s, &s), string(text), log.String()} {
		if !strings.Contains(out, "redacted") || strings.Contains(out, decimal) || strings.Contains(out, hex.EncodeToString(raw)) {
			t.Errorf("printed as %s", out)
		}
	}
}
