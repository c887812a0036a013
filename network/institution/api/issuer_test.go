package api

import (
	"crypto/ecdsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vitalveil/vitalveil/internal/consortium"
)

// issuer signs access tokens and publishes its keys, on loopback.
type issuer struct {
	url   string
	looks atomic.Int64
	down  atomic.Bool

	mu   sync.Mutex
	keys map[string]*ecdsa.PrivateKey
}

func newIssuer(w *world) *issuer {
	is := &issuer{keys: map[string]*ecdsa.PrivateKey{"one": consortium.NewKey()}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		is.looks.Add(1)
		if is.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(is.set())
	}))
	w.Cleanup(s.Close)
	is.url = s.URL
	return is
}

func (is *issuer) set() jose.JSONWebKeySet {
	is.mu.Lock()
	defer is.mu.Unlock()
	var out jose.JSONWebKeySet
	for kid, k := range is.keys {
		out.Keys = append(out.Keys, jose.JSONWebKey{Key: &k.PublicKey, KeyID: kid, Algorithm: "ES256", Use: "sig"})
	}
	return out
}

// claims are those of a token that counts, for a client.
func (is *issuer) claims(client string) map[string]any {
	now := time.Now().Unix()
	return map[string]any{
		"iss": is.url, "sub": client, "aud": []string{"hospital-a"}, "exp": now + 300, "iat": now, "jti": "1", "client_id": client,
	}
}

// sign makes a token.
func (is *issuer) sign(claims map[string]any, typ, kid string, key any, alg jose.SignatureAlgorithm) string {
	o := (&jose.SignerOptions{}).WithType(jose.ContentType(typ))
	s := must(jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, o))
	return must(must(s.Sign(must(json.Marshal(claims)))).CompactSerialize())
}

// token is one that counts, for a client.
func (is *issuer) token(client string, change ...func(map[string]any)) string {
	c := is.claims(client)
	for _, f := range change {
		f(c)
	}
	is.mu.Lock()
	key := is.keys["one"]
	is.mu.Unlock()
	return is.sign(c, "at+jwt", "one", key, jose.ES256)
}
