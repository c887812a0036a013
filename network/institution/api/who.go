package api

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
)

// Role is what a caller may do.
type Role string

// The roles. An analyst asks and reads answers; an operator keeps the institution running
// and reads none.
const (
	Analyst  Role = "analyst"
	Operator Role = "operator"
)

// Caller is one line of the callers' file: a person or a program, by one of a certificate
// and a client.
type Caller struct {
	Name string `json:"name"`
	Role Role   `json:"role"`
	// Certificate is the common name of a certificate of the API's authority, or, as
	// sha256: and 64 hex digits, the digest of one certificate and no other.
	Certificate string `json:"certificate,omitempty"`
	// Client is the client_id of tokens.
	Client string `json:"client,omitempty"`
}

// Callers is the callers' file. Whoever is taken out of it is refused from the next
// request on.
type Callers struct {
	Callers []Caller `json:"callers"`
}

// Bounds of the file.
const (
	maxCallers     = 1000
	maxCallersFile = 1 << 20
)

var callerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// Check refuses a table in which somebody would be two, or nobody.
func (c Callers) Check() error {
	if len(c.Callers) > maxCallers {
		return fmt.Errorf("%d callers, at most %d are allowed", len(c.Callers), maxCallers)
	}
	seen := map[string]bool{}
	for _, one := range c.Callers {
		how := "certificate " + one.Certificate
		if one.Certificate == "" {
			how = "client " + one.Client
		}
		switch {
		case !callerName.MatchString(one.Name):
			return fmt.Errorf("%q is not a caller's name: 1 to 64 letters, digits and . _ @ -", one.Name)
		case one.Role != Analyst && one.Role != Operator:
			return fmt.Errorf("caller %s has the role %q: it is %s or %s", one.Name, one.Role, Analyst, Operator)
		case (one.Certificate == "") == (one.Client == ""):
			return fmt.Errorf("caller %s is known by either a certificate or a client", one.Name)
		case seen["name "+one.Name] || seen[how]:
			return fmt.Errorf("caller %s is there twice, by name or by %s", one.Name, how)
		}
		seen["name "+one.Name], seen[how] = true, true
	}
	return nil
}

// table follows the callers' file. While it cannot be read or is not sound, nobody is
// let in.
type table struct {
	path string

	mu      sync.Mutex
	modTime time.Time
	size    int64
	callers Callers
	err     error
}

// now is the table as the file has it.
func (t *table) now() (Callers, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	info, err := os.Stat(t.path)
	if err != nil {
		return Callers{}, err
	}
	if info.ModTime().Equal(t.modTime) && info.Size() == t.size {
		return t.callers, t.err
	}
	t.modTime, t.size = info.ModTime(), info.Size()
	t.callers, t.err = readCallers(t.path)
	return t.callers, t.err
}

func readCallers(path string) (Callers, error) {
	var c Callers
	b, err := state.ReadFile(path, maxCallersFile)
	if err == nil {
		err = record.DecodeJSON(b, maxCallersFile, &c)
	}
	if err == nil {
		err = c.Check()
	}
	if err != nil {
		return Callers{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// gate tells who calls.
type gate struct {
	table  *table
	roots  *x509.CertPool // of certificates
	tokens *tokens        // nil: none count
	clock  func() time.Time
}

var errNobody = errors.New("show a certificate of the institution's API authority, or a bearer token of its issuer")

// who tells the caller of a request, by its certificate or by its token. Both together
// count only where the token is bound to the certificate (RFC 8705).
func (g *gate) who(ctx context.Context, r *http.Request) (Caller, error) {
	var leaf *x509.Certificate
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		leaf = r.TLS.PeerCertificates[0]
	}
	headers := r.Header.Values("Authorization")
	if len(headers) > 1 {
		return Caller{}, errors.New("there are two Authorization headers")
	}
	if len(headers) == 1 {
		scheme, token, _ := strings.Cut(headers[0], " ")
		if !strings.EqualFold(scheme, "Bearer") || g.tokens == nil {
			return Caller{}, errNobody
		}
		client, err := g.tokens.client(ctx, token, leaf)
		if err != nil {
			return Caller{}, err
		}
		return g.find(func(c Caller) bool { return c.Client == client }, "client "+client)
	}
	if leaf == nil {
		return Caller{}, errNobody
	}
	// The handshake has verified the chain; a connection outlives a certificate.
	o := x509.VerifyOptions{Roots: g.roots, CurrentTime: g.clock(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := leaf.Verify(o); err != nil {
		return Caller{}, fmt.Errorf("the certificate does not count: %w", err)
	}
	print := fingerprint(leaf)
	if c, err := g.find(func(c Caller) bool { return c.Certificate == print }, ""); err == nil {
		return c, nil
	}
	name := leaf.Subject.CommonName
	return g.find(func(c Caller) bool { return c.Certificate == name && !strings.HasPrefix(name, "sha256:") }, "certificate "+name)
}

func (g *gate) find(is func(Caller) bool, what string) (Caller, error) {
	callers, err := g.table.now()
	if err != nil {
		return Caller{}, fmt.Errorf("nobody is let in: %w", err)
	}
	for _, c := range callers.Callers {
		if is(c) {
			return c, nil
		}
	}
	return Caller{}, fmt.Errorf("%s is not in the table of callers", what)
}

// fingerprint is how the callers' file names one certificate.
func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// thumbprint is how a token names the certificate that it is bound to (x5t#S256).
func thumbprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
