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
func (d *door) identify(r *http.Request, c route) (caller, error) {
	key, err := idempotencyKey(r)
	who := caller{address: addressOf(r.RemoteAddr), key: key, accepts: c.method == http.MethodPost}
	signed := r.Header[api.HeaderInput] != nil || r.Header[api.HeaderSignature] != nil
	if err != nil || len(c.parties) == 0 || c.open && !signed {
		return who, err
	}
	s, err := api.ReadSignature(r, d.genesis.Network)
	if err != nil {
		return who, unsigned(err)
	}
	if !slices.Contains(c.parties, s.Party.Kind) {
		return who, fault.New(fault.Forbidden, "a %s may not ask this", s.Party.Kind)
	}
	known, err := d.verify(r.Context(), s, who.address)
	if err != nil {
		return who, unsigned(err)
	}
	who.party, who.owner = s.Party, known.owner
	return who, nil
}

// verify checks a request's signature under the keys that the ledger has for its party,
// and returns what it knows of the party.
func (d *door) verify(ctx context.Context, s api.RequestSignature, address string) (signer, error) {
	skew := d.now().Sub(s.Created)
	if skew > maxSkew || skew < -maxSkew {
		return signer{}, fault.New(fault.BadSignature, "the request was signed at another time: set the clock, it may be at most %s off", maxSkew)
	}
	known, err := d.known(ctx, s.Party, address)
	if err != nil && fault.Of(err) == fault.NotFound {
		return signer{}, fault.New(fault.BadSignature, "the ledger knows no %s %s", s.Party.Kind, s.Party.Name)
	}
	if err != nil {
		return signer{}, err
	}
	for _, key := range known.keys {
		if s.Verify(key) == nil {
			return known, nil
		}
	}
	return signer{}, fault.New(fault.BadSignature, "the signature is not %s's over this request on network %s", s.Party, d.genesis.Network)
}

// known is g.keys.of at the pace of the address that asks: what is not remembered
// costs a query of the ledger.
func (d *door) known(ctx context.Context, p api.Party, address string) (signer, error) {
	if _, known := d.keys.remembered(p.String()); !known && p.Kind != api.PartyMember {
		wait, cancel := context.WithTimeout(ctx, maxWaitTurn)
		defer cancel()
		if err := d.bounds.asks.of(address).Wait(wait); err != nil {
			return signer{}, crowded("too many parties in a short time that this gateway has to look up")
		}
	}
	return d.keys.of(ctx, p)
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
func (l *ledger) memberKeys(msp string) [][]byte {
	roster := l.roster()
	var keys [][]byte
	for _, e := range roster.Epochs {
		if m := e.Member(msp); m != nil {
			keys = append(keys, m.SignKey)
		}
	}
	return keys
}

func (l *ledger) roster() record.Roster {
	if r := l.index.Roster(); len(r.Epochs) > 0 {
		return r
	}
	return l.genesis.FirstRoster()
}

// keyCache looks up parties' keys on the ledger.
type keyCache struct {
	members func(msp string) [][]byte
	lookup  func(ctx context.Context, kind string, id record.ID) (signer, error)
	now     func() time.Time
	asked   chan struct{}

	mu    sync.Mutex
	known map[string]rememberedSigner
}

// signer is what the ledger says of who signs requests.
type signer struct {
	keys  [][]byte // one of which signed
	owner string   // the party that answers for it: of a device its patient
}

type rememberedSigner struct {
	signer
	until time.Time
}

func newKeyCache(members func(string) [][]byte, now func() time.Time, lookup func(context.Context, string, record.ID) (signer, error)) *keyCache {
	return &keyCache{
		members: members, lookup: lookup, now: now,
		asked: make(chan struct{}, maxAsked), known: map[string]rememberedSigner{},
	}
}

// of returns the keys with which a party may sign, and who answers for it; fault.NotFound when the
// ledger does not know it.
func (c *keyCache) of(ctx context.Context, p api.Party) (signer, error) {
	if p.Kind == api.PartyMember {
		keys := c.members(p.Name)
		if keys == nil {
			return signer{}, fault.New(fault.NotFound, "no member %s", p.Name)
		}
		return signer{keys, p.String()}, nil
	}
	party := p.String()
	if s, known := c.remembered(party); known {
		return s, nil
	}
	select {
	case c.asked <- struct{}{}:
		defer func() { <-c.asked }()
	case <-ctx.Done():
		return signer{}, ctx.Err()
	}
	id, err := record.ParseID(p.Name)
	if err != nil {
		return signer{}, fault.New(fault.NotFound, "no %s", party)
	}
	s, err := c.lookup(ctx, p.Kind, id)
	if err != nil {
		return signer{}, err
	}
	c.remember(party, s)
	return s, nil
}

func (c *keyCache) remembered(party string) (signer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.known[party]
	return k.signer, ok && !c.now().After(k.until)
}

// forget makes the next request of a party ask the ledger.
func (c *keyCache) forget(party string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, party)
}

// remember drops what is stale when the cache is full, or else whatever the map
// yields first: any choice bounds it, and a wrong one costs a query.
func (c *keyCache) remember(party string, s signer) {
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
	c.known[party] = rememberedSigner{s, now.Add(keyLife)}
}

// requireParty is how a service insists on who signed.
func requireParty(c caller, kind string, name string) error {
	if c.party.Kind != kind || c.party.Name != name {
		return fault.New(fault.Forbidden, "only %s %s may ask this, signed was as %s", kind, name, c.party)
	}
	return nil
}
