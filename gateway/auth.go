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

// maxSkew is how far the creation of a request's signature may be from the wall clock
// of the gateway. Within it, a captured request can be repeated: a write is the same
// operation then, and a read needs whoever captured it to have broken TLS.
const maxSkew = 5 * time.Minute

// unsigned marks a failure of the request's own signature: 401 instead of the
// 403 of a document's signature.
func unsigned(err error) error {
	if asFault(err).Code != fault.BadSignature {
		return err
	}
	return statusError{err, http.StatusUnauthorized}
}

// identify finds who calls, by the header alone. On a route where anybody may call
// and some are told more, a request without a signature is anybody's.
func (g *Gateway) identify(r *http.Request, c route) (caller, error) {
	key, err := idempotencyKey(r)
	who := caller{address: addressOf(r.RemoteAddr), key: key, accepts: c.method == http.MethodPost}
	signed := r.Header[api.HeaderInput] != nil || r.Header[api.HeaderSignature] != nil
	if err != nil || c.parties == nil || c.open && !signed {
		return who, err
	}
	s, err := api.ReadSignature(r, g.genesis.Network)
	if err != nil {
		return who, unsigned(err)
	}
	if !slices.Contains(c.parties, s.Party.Kind) {
		return who, fault.New(fault.Forbidden, "a %s may not ask this", s.Party.Kind)
	}
	if err := g.verify(r.Context(), s, who.address); err != nil {
		return who, unsigned(err)
	}
	who.party = s.Party
	return who, nil
}

// verify checks a request's signature under the keys that the ledger has for its party.
func (g *Gateway) verify(ctx context.Context, s api.RequestSignature, address string) error {
	skew := g.now().Sub(s.Created)
	if skew > maxSkew || skew < -maxSkew {
		return fault.New(fault.BadSignature, "the request was signed at another time: set the clock, it may be at most %s off", maxSkew)
	}
	keys, err := g.keysOf(ctx, s.Party, address)
	if err != nil && fault.Of(err) == fault.NotFound {
		return fault.New(fault.BadSignature, "the ledger knows no %s %s", s.Party.Kind, s.Party.Name)
	}
	if err != nil {
		return err
	}
	for _, key := range keys {
		if s.Verify(key) == nil {
			return nil
		}
	}
	return fault.New(fault.BadSignature, "the signature is not %s's over this request on network %s", s.Party, g.genesis.Network)
}

// keysOf is g.keys.of at the pace of the address that asks: what is not remembered
// costs a query of the ledger.
func (g *Gateway) keysOf(ctx context.Context, p api.Party, address string) ([][]byte, error) {
	if p.Kind != api.PartyMember && g.keys.remembered(p.String()) == nil {
		wait, cancel := context.WithTimeout(ctx, maxWaitTurn)
		defer cancel()
		if err := g.bounds.asks.of(address).Wait(wait); err != nil {
			return nil, crowded("too many parties in a short time that this gateway has to look up")
		}
	}
	return g.keys.of(ctx, p)
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
func (c *keyCache) of(ctx context.Context, p api.Party) ([][]byte, error) {
	if p.Kind == api.PartyMember {
		keys := c.members(p.Name)
		if keys == nil {
			return nil, fault.New(fault.NotFound, "no member %s", p.Name)
		}
		return keys, nil
	}
	party := p.String()
	if keys := c.remembered(party); keys != nil {
		return keys, nil
	}
	select {
	case c.asked <- struct{}{}:
		defer func() { <-c.asked }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	id, err := record.ParseID(p.Name)
	if err != nil {
		return nil, fault.New(fault.NotFound, "no %s", party)
	}
	keys, err := c.lookup(ctx, p.Kind, id)
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
		return fault.New(fault.Forbidden, "only %s %s may ask this, signed was as %s", kind, name, c.name())
	}
	return nil
}
