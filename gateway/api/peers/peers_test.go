package peers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/yaronf/httpsign"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/record"
)

const (
	network = "net"
	party   = "member:HospitalA"
	body    = `{"hello": "world"}`
)

var covered = httpsign.Headers("@method", "@path", "@query", "content-digest", "idempotency-key")

func request(t *testing.T) *http.Request {
	t.Helper()
	r, err := http.NewRequest("POST", "http://example.org/v1/x?a=b&c=%20d", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(api.HeaderKey, "key:1")
	return r
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestWhatAnotherSignsIsVerifiedHere(t *testing.T) {
	key := newKey(t)
	for _, named := range []bool{true, false} { // with and without alg
		r := request(t)
		content := io.NopCloser(strings.NewReader(body))
		digest, err := httpsign.GenerateContentDigestHeader(&content, []string{httpsign.DigestSha512, httpsign.DigestSha256})
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(api.HeaderDigest, digest)
		config := httpsign.NewSignConfig().SignAlg(named).SetKeyID(party).SetTag(api.Tag(network))
		signer, err := httpsign.NewP256Signer(*key, config, covered)
		if err != nil {
			t.Fatal(err)
		}
		input, signature, err := httpsign.SignRequest("theirs", *signer, r)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(api.HeaderInput, input)
		r.Header.Set(api.HeaderSignature, signature)
		s, err := api.ReadSignature(r, network)
		if err == nil {
			err = s.Verify(record.PublicKeyBytes(&key.PublicKey))
		}
		if err != nil || s.Party.String() != party {
			t.Errorf("%s: by %s, %v", input, s.Party, err)
		}
		sum, stated, err := api.ContentDigest(r.Header)
		if err != nil || !stated || sum != record.SumID([]byte(body)) {
			t.Errorf("%s: %s, %v", digest, sum, err)
		}
	}
}

func TestWhatIsSignedHereAnotherVerifies(t *testing.T) {
	key := newKey(t)
	r := request(t)
	signer := api.Signer{Party: party, Key: key}
	if err := signer.Sign(r, network, []byte(body), time.Now()); err != nil {
		t.Fatal(err)
	}
	config := httpsign.NewVerifyConfig().SetKeyID(party).SetAllowedTags([]string{api.Tag(network)})
	verifier, err := httpsign.NewP256Verifier(key.PublicKey, config, covered)
	if err != nil {
		t.Fatal(err)
	}
	if err := httpsign.VerifyRequest("sig", *verifier, r); err != nil {
		t.Errorf("%s: %v", r.Header.Get(api.HeaderInput), err)
	}
	if err := httpsign.ValidateContentDigestHeader(r.Header.Values(api.HeaderDigest), &r.Body, []string{httpsign.DigestSha256}); err != nil {
		t.Error(err)
	}
	r.Header.Set(api.HeaderKey, "key:2")
	if err := httpsign.VerifyRequest("sig", *verifier, r); err == nil {
		t.Error("another Idempotency-Key was taken")
	}
}
