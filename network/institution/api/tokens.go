package api

import (
	"context"
	"crypto/subtle"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// TokenConfig says which bearer tokens count: JWT access tokens (RFC 9068) of one issuer.
type TokenConfig struct {
	Issuer   string `json:"issuer"`   // exactly as tokens have it
	Audience string `json:"audience"` // which tokens must be for
	KeysURL  string `json:"keys_url"` // the issuer's JWKS: https, or http on loopback
	// Algorithms are those that count; none stands for ES256.
	Algorithms []string `json:"algorithms,omitempty"`
	// Bound has only tokens count that are bound to the connection's certificate (RFC
	// 8705): nobody can use one that was stolen.
	Bound bool `json:"bound,omitempty"`
}

// Bounds of tokens and of their issuer's keys.
const (
	maxToken     = 8 << 10
	maxKeys      = 256 << 10
	maxTokenLife = 24 * time.Hour
	skew         = 30 * time.Second
	keysTime     = 5 * time.Second  // for a look at the issuer
	keysFresh    = 5 * time.Minute  // keys are looked at again after so long,
	keysServe    = 15 * time.Minute // and serve for so long where the issuer does not answer
	keysPause    = 10 * time.Second // between two looks, whatever tokens come
)

// asymmetric are the algorithms that may be configured: none with a shared key.
var asymmetric = []string{"ES256", "ES384", "EdDSA", "PS256", "PS384", "RS256"}

// Check refuses a configuration with which somebody else's tokens would count.
func (c TokenConfig) Check() error {
	if c.Issuer == "" || c.Audience == "" {
		return errors.New("tokens need an issuer and an audience")
	}
	for _, a := range c.Algorithms {
		if !slices.Contains(asymmetric, a) {
			return fmt.Errorf("the algorithm of tokens is one of %s, not %q", strings.Join(asymmetric, ", "), a)
		}
	}
	u, err := url.Parse(c.KeysURL)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && !(u.Scheme == "http" && onLoopback(u)) {
		return fmt.Errorf("keys_url %q is not an https URL (http serves on loopback only)", c.KeysURL)
	}
	return nil
}

func onLoopback(u *url.URL) bool {
	a, err := netip.ParseAddr(u.Hostname())
	return err == nil && a.IsLoopback()
}

// tokens verifies tokens.
type tokens struct {
	cfg        TokenConfig
	algorithms []jose.SignatureAlgorithm
	http       *http.Client
	clock      func() time.Time

	looking sync.Mutex // held while somebody looks at the issuer
	mu      sync.Mutex
	keys    jose.JSONWebKeySet
	read    time.Time // when keys were read
	looked  time.Time // when somebody tried last
}

func newTokens(cfg TokenConfig, clock func() time.Time) *tokens {
	t := &tokens{cfg: cfg, clock: clock, http: &http.Client{Timeout: keysTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	for _, a := range cfg.Algorithms {
		t.algorithms = append(t.algorithms, jose.SignatureAlgorithm(a))
	}
	if len(t.algorithms) == 0 {
		t.algorithms = []jose.SignatureAlgorithm{jose.ES256}
	}
	return t
}

// claims is what a token says. Others may be there and count for nothing.
type claims struct {
	Issuer    string          `json:"iss"`
	Subject   string          `json:"sub"`
	Audience  json.RawMessage `json:"aud"`
	Expires   int64           `json:"exp"`
	NotBefore int64           `json:"nbf"`
	Issued    int64           `json:"iat"`
	ID        string          `json:"jti"`
	Client    string          `json:"client_id"`
	Confirm   *struct {
		Thumbprint string `json:"x5t#S256"`
	} `json:"cnf"`
}

// client is whose the token is, shown on a connection with this certificate or without
// one (RFC 9068, section 4).
func (t *tokens) client(ctx context.Context, token string, leaf *x509.Certificate) (string, error) {
	if len(token) > maxToken {
		return "", errors.New("the token is too long")
	}
	signed, err := jose.ParseSignedCompact(token, t.algorithms)
	if err != nil {
		return "", errors.New("the token is no JWT with an algorithm that counts here")
	}
	head := signed.Signatures[0].Protected
	if typ, _ := head.ExtraHeaders[jose.HeaderType].(string); !strings.EqualFold(strings.TrimPrefix(strings.ToLower(typ), "application/"), "at+jwt") {
		return "", errors.New("the token is not an access token: its type is not at+jwt")
	}
	if _, critical := head.ExtraHeaders["crit"]; critical {
		return "", errors.New("the token has extensions that are not known here")
	}
	key, err := t.key(ctx, head.KeyID, head.Algorithm)
	if err != nil {
		return "", err
	}
	payload, err := signed.Verify(key)
	if err != nil {
		return "", errors.New("the token's signature is not its issuer's")
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return "", errors.New("the token's claims are not JSON")
	}
	if err := t.check(c, leaf); err != nil {
		return "", err
	}
	return c.Client, nil
}

func (t *tokens) check(c claims, leaf *x509.Certificate) error {
	now := t.clock()
	expires, issued := time.Unix(c.Expires, 0), time.Unix(c.Issued, 0)
	switch {
	case c.Issuer != t.cfg.Issuer:
		return errors.New("the token is of another issuer")
	case !t.forUs(c.Audience):
		return errors.New("the token is for another audience")
	case c.Client == "" || c.Subject == "" || c.ID == "" || c.Issued == 0:
		return errors.New("the token lacks one of client_id, sub, jti and iat")
	case !now.Before(expires.Add(skew)):
		return errors.New("the token has expired")
	case issued.After(now.Add(skew)) || c.NotBefore != 0 && time.Unix(c.NotBefore, 0).After(now.Add(skew)):
		return errors.New("the token is not valid yet")
	case expires.Sub(issued) > maxTokenLife:
		return fmt.Errorf("the token serves for longer than %s", maxTokenLife)
	case c.Confirm == nil && t.cfg.Bound:
		return errors.New("the token is not bound to a certificate")
	case c.Confirm == nil && leaf != nil:
		return errors.New("a certificate and a token that is not bound to it: show one of them")
	case c.Confirm != nil && (leaf == nil || subtle.ConstantTimeCompare([]byte(thumbprint(leaf)), []byte(c.Confirm.Thumbprint)) != 1):
		return errors.New("the token is bound to another certificate than the connection's")
	}
	return nil
}

// forUs reports whether the audience, a string or a list of them, has ours.
func (t *tokens) forUs(raw json.RawMessage) bool {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return one == t.cfg.Audience
	}
	var many []string
	return json.Unmarshal(raw, &many) == nil && slices.Contains(many, t.cfg.Audience)
}

// key is the issuer's key with this identifier, which the issuer has by now: one that it
// has taken back serves for minutes at most.
func (t *tokens) key(ctx context.Context, kid, algorithm string) (any, error) {
	if kid == "" {
		return nil, errors.New("the token does not name its key")
	}
	key, found := t.known(kid, algorithm)
	if !found || t.age() > keysFresh {
		if err := t.look(ctx); err != nil && (!found || t.age() > keysServe) {
			return nil, err
		}
		key, found = t.known(kid, algorithm)
	}
	if !found {
		return nil, errors.New("the token's key is not one of its issuer's")
	}
	return key, nil
}

func (t *tokens) age() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.clock().Sub(t.read)
}

func (t *tokens) known(kid, algorithm string) (any, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := t.keys.Key(kid)
	if len(found) != 1 {
		return nil, false
	}
	k := found[0]
	if k.Use != "" && k.Use != "sig" || k.Algorithm != "" && k.Algorithm != algorithm || !k.Valid() || !k.IsPublic() {
		return nil, false
	}
	return k.Key, true
}

var errIssuer = errors.New("the issuer's keys cannot be had now")

// look reads the issuer's keys again, one at a time and not more often than keysPause:
// tokens with made-up keys make no traffic.
func (t *tokens) look(ctx context.Context) error {
	t.looking.Lock()
	defer t.looking.Unlock()
	t.mu.Lock()
	early := t.clock().Sub(t.looked) < keysPause
	if !early {
		t.looked = t.clock()
	}
	t.mu.Unlock()
	if early {
		return errIssuer
	}
	ctx, cancel := context.WithTimeout(ctx, keysTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.cfg.KeysURL, nil)
	if err != nil {
		return err
	}
	resp, err := t.http.Do(req)
	if err != nil {
		return errIssuer
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxKeys+1))
	var keys jose.JSONWebKeySet
	if err != nil || resp.StatusCode != http.StatusOK || len(b) > maxKeys || json.Unmarshal(b, &keys) != nil {
		return errIssuer
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys, t.read = keys, t.clock()
	return nil
}
