package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/record"
)

var sixtyFour = strings.Repeat("A", 86) // 64 zero bytes in base64url

func TestAuthorizationHasOneForm(t *testing.T) {
	id := record.SumID([]byte("device")).String()
	for header, ok := range map[string]bool{
		`Vitalveil party="device:` + id + `", time="1", signature="` + sixtyFour + `"`:                      true,
		`Vitalveil party="patient:` + id + `", time="-1", signature="` + sixtyFour + `"`:                    true,
		`Vitalveil party="member:Hospital.A-1_x", time="1", signature="` + sixtyFour + `"`:                  true,
		`vitalveil party="device:` + id + `", time="1", signature="` + sixtyFour + `"`:                      false,
		`Vitalveil  party="device:` + id + `", time="1", signature="` + sixtyFour + `"`:                     false,
		`Vitalveil time="1", party="device:` + id + `", signature="` + sixtyFour + `"`:                      false,
		`Vitalveil party="device:` + strings.ToUpper(id) + `", time="1", signature="` + sixtyFour + `"`:     false,
		`Vitalveil party="device:` + id + `", time="01", signature="` + sixtyFour + `"`:                     false,
		`Vitalveil party="device:` + id + `", time="+1", signature="` + sixtyFour + `"`:                     false,
		`Vitalveil party="device:` + id + `", time="1e3", signature="` + sixtyFour + `"`:                    false,
		`Vitalveil party="device:` + id + `", time="99999999999999999999", signature="` + sixtyFour + `"`:   false,
		`Vitalveil party="device:` + id + `", time="1", signature="` + sixtyFour + `=="`:                    false,
		`Vitalveil party="device:` + id + `", time="1", signature="` + sixtyFour[1:] + `B"`:                 false,
		`Vitalveil party="device:` + id + `", time="1", signature="` + sixtyFour[2:] + `"`:                  false,
		`Vitalveil party="device:` + id + `", time="1", signature="` + sixtyFour + `" `:                     false,
		`Vitalveil party="device:` + id + `", time="1", signature="` + sixtyFour + `", x="y"`:               false,
		`Vitalveil party="person:` + id + `", time="1", signature="` + sixtyFour + `"`:                      false,
		`Vitalveil party="member:", time="1", signature="` + sixtyFour + `"`:                                false,
		`Vitalveil party="member:a b", time="1", signature="` + sixtyFour + `"`:                             false,
		`Vitalveil party="member:` + strings.Repeat("a", 65) + `", time="1", signature="` + sixtyFour + `"`: false,
		"": false,
	} {
		a, err := api.ParseAuthorization(header)
		if (err == nil) != ok {
			t.Errorf("%s: %v", header, err)
		}
		if err != nil && !errors.Is(err, api.ErrAuthorization) {
			t.Errorf("%s: %v is no ErrAuthorization", header, err)
		}
		if err == nil && a.String() != header {
			t.Errorf("%s is written as %s", header, a)
		}
	}
}

func FuzzParseAuthorization(f *testing.F) {
	id := record.SumID([]byte("device")).String()
	f.Add(`Vitalveil party="device:` + id + `", time="1", signature="` + sixtyFour + `"`)
	f.Add(`Vitalveil party="member:HospitalA", time="-9223372036854775808", signature="` + sixtyFour + `"`)
	f.Add(`Vitalveil party="", time="", signature=""`)
	f.Fuzz(func(t *testing.T, header string) {
		a, err := api.ParseAuthorization(header)
		if err != nil {
			return
		}
		if a.String() != header || len(a.Signature) != 64 || len(header) > api.MaxHeader {
			t.Errorf("%q was taken for %q", header, a)
		}
	})
}

func TestASignatureCoversTheWholeRequest(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := api.Signer{Party: api.MemberParty("HospitalA"), Key: key}
	r, err := http.NewRequest("POST", "http://127.0.0.1/v1/x?y=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Authorize(r, "net", []byte("body"), time.Unix(1000, 0)); err != nil {
		t.Fatal(err)
	}
	a, err := api.ParseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		t.Fatal(err)
	}
	verify := func(network, method, target, body, party string, seconds int64) error {
		return record.Verify(record.PublicKeyBytes(&key.PublicKey), api.RequestDigest(network, method, target, []byte(body), party, seconds), a.Signature)
	}
	if err := verify("net", "POST", "/v1/x?y=1", "body", "member:HospitalA", 1000); err != nil {
		t.Errorf("as it was signed: %v", err)
	}
	for what, err := range map[string]error{
		"network": verify("other", "POST", "/v1/x?y=1", "body", "member:HospitalA", 1000),
		"method":  verify("net", "PUT", "/v1/x?y=1", "body", "member:HospitalA", 1000),
		"path":    verify("net", "POST", "/v1/z?y=1", "body", "member:HospitalA", 1000),
		"query":   verify("net", "POST", "/v1/x?y=2", "body", "member:HospitalA", 1000),
		"body":    verify("net", "POST", "/v1/x?y=1", "bodY", "member:HospitalA", 1000),
		"party":   verify("net", "POST", "/v1/x?y=1", "body", "member:HospitalB", 1000),
		"time":    verify("net", "POST", "/v1/x?y=1", "body", "member:HospitalA", 1001),
	} {
		if !errors.Is(err, record.ErrSignature) {
			t.Errorf("another %s: %v", what, err)
		}
	}
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
