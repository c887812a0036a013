package gateway

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// maxSkew is how far a request's time may be from the wall clock of the gateway.
// Within it, a captured request can be repeated: a write is the same operation
// then, and a read needs whoever captured it to have broken TLS.
const maxSkew = 5 * time.Minute

// parseAuthorization checks all of a request's signature that needs no body.
func (g *Gateway) parseAuthorization(r *http.Request, c route) (api.Authorization, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return api.Authorization{}, fault.New(fault.BadSignature, "the request must carry one Authorization header, it has %d", len(headers))
	}
	a, err := api.ParseAuthorization(headers[0])
	if err != nil {
		return a, fault.New(fault.BadSignature, "%s", err)
	}
	if !slices.Contains(c.parties, a.Kind) {
		return a, fault.New(fault.Forbidden, "a %s may not ask this", a.Kind)
	}
	skew := g.now().Sub(time.Unix(a.Time, 0))
	if skew > maxSkew || skew < -maxSkew {
		return a, fault.New(fault.BadSignature, "the request was signed for another time: set the clock, it may be at most %s off", maxSkew)
	}
	return a, nil
}

// identify finds who claims to have signed a request, and the keys that the
// ledger has for them.
func (g *Gateway) identify(r *http.Request, c route) (api.Authorization, [][]byte, error) {
	a, err := g.parseAuthorization(r, c)
	if err != nil {
		return a, nil, err
	}
	keys, err := g.keys.of(r.Context(), a)
	if err != nil && fault.Of(err) == fault.NotFound {
		err = fault.New(fault.BadSignature, "the ledger knows no %s %s", a.Kind, a.Name)
	}
	return a, keys, err
}

// verifyRequest checks the signature over the whole request.
func (g *Gateway) verifyRequest(r *http.Request, a api.Authorization, keys [][]byte, body []byte) error {
	digest := api.RequestDigest(g.genesis.Network, r.Method, r.URL.RequestURI(), body, a.Party(), a.Time)
	for _, key := range keys {
		if record.Verify(key, digest, a.Signature) == nil {
			return nil
		}
	}
	return fault.New(fault.BadSignature, "the signature is not %s's over this request on network %s", a.Party(), g.genesis.Network)
}

// Keys are remembered for a while, so that an upload costs no ledger query. A
// device's key never changes; a patient's are forgotten when this gateway changes
// them, and keyLife after they were changed elsewhere at the latest.
const (
	keyLife  = 30 * time.Second
	maxKeys  = 4096
	maxAsked = 64 // ledger queries for keys at once
)

// memberKeys returns the keys that living epochs have for a member, none for others.
// Before the index has the genesis, the configured one stands for it.
func (g *Gateway) memberKeys(msp string) [][]byte {
	roster := g.roster()
	var keys [][]byte
	for _, e := range roster.Epochs {
		if m := e.Member(msp); m != nil {
			keys = append(keys, m.SignKey)
		}
	}
	return keys
}

func (g *Gateway) roster() record.Roster {
	if r := g.index.Roster(); len(r.Epochs) > 0 {
		return r
	}
	return g.genesis.FirstRoster()
}

// keyCache looks up parties' keys on the ledger.
type keyCache struct {
	members func(msp string) [][]byte
	lookup  func(ctx context.Context, kind string, id record.ID) ([][]byte, error)
	now     func() time.Time
	asked   chan struct{}

	mu    sync.Mutex
	known map[string]knownKeys
}

type knownKeys struct {
	keys  [][]byte
	until time.Time
}

func newKeyCache(members func(string) [][]byte, now func() time.Time, lookup func(context.Context, string, record.ID) ([][]byte, error)) *keyCache {
	return &keyCache{
		members: members, lookup: lookup, now: now,
		asked: make(chan struct{}, maxAsked), known: map[string]knownKeys{},
	}
}

// of returns the keys with which a party may sign; fault.NotFound when the
// ledger does not know it.
func (c *keyCache) of(ctx context.Context, a api.Authorization) ([][]byte, error) {
	if a.Kind == api.PartyMember {
		keys := c.members(a.Name)
		if keys == nil {
			return nil, fault.New(fault.NotFound, "no member %s", a.Name)
		}
		return keys, nil
	}
	party := a.Party()
	if keys := c.remembered(party); keys != nil {
		return keys, nil
	}
	select {
	case c.asked <- struct{}{}:
		defer func() { <-c.asked }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	id, err := record.ParseID(a.Name)
	if err != nil {
		return nil, fault.New(fault.NotFound, "no %s", party)
	}
	keys, err := c.lookup(ctx, a.Kind, id)
	if err != nil {
		return nil, err
	}
	c.remember(party, keys)
	return keys, nil
}

func (c *keyCache) remembered(party string) [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.known[party]
	if !ok || c.now().After(k.until) {
		return nil
	}
	return k.keys
}

// forget makes the next request of a party ask the ledger.
func (c *keyCache) forget(party string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, party)
}

// remember drops what is stale when the cache is full, or else whatever the map
// yields first: any choice bounds it, and a wrong one costs a query.
func (c *keyCache) remember(party string, keys [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if len(c.known) >= maxKeys {
		for p, k := range c.known {
			if now.After(k.until) {
				delete(c.known, p)
			}
		}
	}
	for p := range c.known {
		if len(c.known) < maxKeys {
			break
		}
		delete(c.known, p)
	}
	c.known[party] = knownKeys{keys: keys, until: now.Add(keyLife)}
}

// requireParty is how a service insists on who signed.
func requireParty(c caller, kind string, name string) error {
	if c.party.Kind != kind || c.party.Name != name {
		return fault.New(fault.Forbidden, "only %s %s may ask this, signed was as %s", kind, name, c.party.Party())
	}
	return nil
}
