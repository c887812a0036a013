package gateway

import (
	"container/list"
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
)

// What one caller may ask of the gateway. A caller is the member or patient that signed,
// also by a device, or the address that a request without a signature comes from.
const (
	placesEach  = 64              // requests of a caller at once
	uploadsEach = 2               // large bodies of a party at once
	streamsEach = 512             // streams of an address at once
	connsEach   = 1024            // connections of an address
	callsEach   = rate.Limit(200) // requests per second of a caller, after a burst
	callsBurst  = 400
	asksEach    = rate.Limit(50) // unknown parties per second from an address, after a burst
	asksBurst   = 500
	maxWaitTurn = 5 * time.Second // a caller waits for its turn
	maxCallers  = 4096            // callers whose pace is remembered
)

// What the gateway takes from all together.
const (
	maxStreams = 2048
	maxConns   = 4096
	workFactor = 6 // times its length that a body takes while it is worked on
	workBase   = 256 << 10
	// smallBody is the most bytes of a body that counts as small, as those are by which
	// somebody stops something. They have budgets of their own, so that no large ones
	// are in their way.
	smallBody    = 16 << 10
	smallReading = 8 << 20  // bytes of small bodies on their way in
	smallWorking = 16 << 20 // bytes that they are worked on with
	largeReading = 40 << 20
	largeWorking = 52 << 20
)

// budgets are what the bodies of one size take from.
type budgets struct {
	reading *pool
	working *semaphore.Weighted
}

func newBudgets(reading, working int64) budgets {
	return budgets{newPool(reading), semaphore.NewWeighted(working)}
}

// forBody are the budgets of a body of that length, or of unknown length if it is
// negative.
func (b *bounds) forBody(length int64) budgets {
	if length >= 0 && length <= smallBody {
		return b.small
	}
	return b.large
}

// bounds is what the front holds against too much work.
type bounds struct {
	calls, uploads, streams *places
	pace, asks              *limiters
	allStreams              *semaphore.Weighted
	small, large            budgets
	conns                   *conns
	grace                   time.Duration // bodyGrace
}

func newBounds() *bounds {
	return &bounds{
		calls: newPlaces(placesEach), uploads: newPlaces(uploadsEach), streams: newPlaces(streamsEach),
		pace: newLimiters(callsEach, callsBurst), asks: newLimiters(asksEach, asksBurst),
		allStreams: semaphore.NewWeighted(maxStreams),
		small:      newBudgets(smallReading, smallWorking), large: newBudgets(largeReading, largeWorking),
		conns: newConns(maxConns, connsEach), grace: bodyGrace,
	}
}

// crowded is answered with 429: the caller itself is too many, or all are.
func crowded(what string) error {
	return statusError{fault.New(fault.Unavailable, "%s; try again a little later", what), http.StatusTooManyRequests}
}

// enter waits until the caller may be served on a route. The function that it
// returns ends that.
func (b *bounds) enter(ctx context.Context, c route, who string) (func(), error) {
	ctx, cancel := context.WithTimeout(ctx, maxWaitTurn)
	defer cancel()
	if err := b.pace.of(who).Wait(ctx); err != nil {
		return nil, crowded("too many requests in a short time")
	}
	if c.stream {
		return b.enterStream(ctx, who)
	}
	at := b.calls
	if c.maxBody > api.MaxBody {
		at = b.uploads
	}
	return at.enter(ctx, who)
}

func (b *bounds) enterStream(ctx context.Context, who string) (func(), error) {
	leave, err := b.streams.enter(ctx, who)
	if err != nil {
		return nil, err
	}
	if !b.allStreams.TryAcquire(1) {
		leave()
		return nil, crowded("too many streams at once: get the operation instead")
	}
	return func() { b.allStreams.Release(1); leave() }, nil
}

// places bounds how many requests of each caller are served at once. It remembers
// those only who are being served or wait.
type places struct {
	each int64

	mu sync.Mutex
	of map[string]*place
}

type place struct {
	*semaphore.Weighted
	users int
}

func newPlaces(each int64) *places { return &places{each: each, of: map[string]*place{}} }

func (p *places) enter(ctx context.Context, who string) (func(), error) {
	p.mu.Lock()
	at := p.of[who]
	if at == nil {
		at = &place{Weighted: semaphore.NewWeighted(p.each)}
		p.of[who] = at
	}
	at.users++
	p.mu.Unlock()
	if err := at.Acquire(ctx, 1); err != nil {
		p.leave(who, at)
		return nil, crowded("too many requests of one caller at once")
	}
	return func() { at.Release(1); p.leave(who, at) }, nil
}

func (p *places) leave(who string, at *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at.users--; at.users == 0 {
		delete(p.of, who)
	}
}

// limiters keeps the pace of the callers seen last. Whoever is forgotten has a
// whole burst again: with more addresses than maxCallers the bounds for all count.
type limiters struct {
	rate  rate.Limit
	burst int

	mu     sync.Mutex
	byWho  map[string]*list.Element
	recent *list.List // of limited, the latest in front
}

type limited struct {
	who string
	*rate.Limiter
}

func newLimiters(r rate.Limit, burst int) *limiters {
	return &limiters{rate: r, burst: burst, byWho: map[string]*list.Element{}, recent: list.New()}
}

func (l *limiters) of(who string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.byWho[who]; e != nil {
		l.recent.MoveToFront(e)
		return e.Value.(limited).Limiter
	}
	if l.recent.Len() >= maxCallers {
		oldest := l.recent.Back()
		l.recent.Remove(oldest)
		delete(l.byWho, oldest.Value.(limited).who)
	}
	fresh := limited{who, rate.NewLimiter(l.rate, l.burst)}
	l.byWho[who] = l.recent.PushFront(fresh)
	return fresh.Limiter
}

// addressOf is where a connection comes from. Of IPv6 the network counts, since a
// host has as many addresses of it as it likes.
func addressOf(remote string) string {
	from, err := netip.ParseAddrPort(remote)
	if err != nil {
		return "unknown" // all of these share their places
	}
	ip := from.Addr().Unmap()
	if ip.Is6() {
		net64, _ := ip.WithZone("").Prefix(64)
		return net64.String()
	}
	return ip.String()
}
