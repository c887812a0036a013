package bridge

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// gateways are the network's gateways, of which one is in use. What any of them says
// is its word alone.
type gateways struct {
	clients []*api.Client
	current atomic.Uint32 // modulo their number
}

func newGateways(urls []string, network string, s *api.Signer) *gateways {
	g := &gateways{}
	for _, url := range urls {
		g.clients = append(g.clients, api.NewClient(url, network, s))
	}
	return g
}

// client is of the gateway in use.
func (g *gateways) client() *api.Client { return g.clients[int(g.current.Load())%len(g.clients)] }

// elsewhere turns to the next gateway: the one in use has failed, or refused, and its
// word alone is not enough.
func (g *gateways) elsewhere() { g.current.Add(1) }

// close closes the connections to all gateways.
func (g *gateways) close() {
	for _, c := range g.clients {
		c.Close()
	}
}

// pages fetches receipts page by page, in strict order of index and correction,
// and hands them to take until it wants no more. A gateway that has only just
// heard of the device may not find it; then there are none.
func (g *gateways) pages(ctx context.Context, id record.ID, kind string, from, until int64, take func([]record.Receipt) (bool, error)) error {
	for from < until {
		list, err := retried(ctx, func() ([]record.Receipt, error) { return g.client().Receipts(ctx, id, kind, from, until) })
		if err != nil && fault.Of(err) != fault.NotFound {
			return err
		}
		last := place{index: from - 1, correction: math.MaxUint8}
		for _, receipt := range list {
			p := placeOf(receipt.Pointer.Pointer)
			if p.compare(last) <= 0 || p.index >= until {
				return fmt.Errorf("%w: index %d, correction %d is out of order", ErrReceipt, p.index, p.correction)
			}
			last = p
		}
		if len(list) == 0 {
			return nil
		}
		// A page ends with an index, so it may be short of the most by corrections.
		more, err := take(list)
		if err != nil || !more || len(list) < api.MaxReceipts-record.MaxCorrection {
			return err
		}
		from = last.index + 1
	}
	return nil
}

// retried calls f until it succeeds, fails for good or ctx ends. It backs off
// with jitter, so that hubs do not return all at once after an outage.
func retried[T any](ctx context.Context, f func() (T, error)) (T, error) {
	const most = 5
	pause := 50 * time.Millisecond
	for try := 1; ; try++ {
		v, err := f()
		if err == nil || try == most || ctx.Err() != nil || !transient(err) {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, err
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause *= 3
	}
}

// transient tells whether a failure may pass by itself soon.
func transient(err error) bool {
	code := fault.Of(err)
	return code == fault.Unavailable || code == fault.Contention
}

// enrol hands a device's enrolment in and waits until the ledger has it.
func (g *gateways) enrol(ctx context.Context, network string, rec deviceRecord) error {
	op, err := retried(ctx, func() (*api.Operation, error) { return g.client().EnrolDevice(ctx, rec.Document, rec.SeedBlob) })
	if err == nil {
		_, err = g.client().Wait(ctx, op)
	}
	if err != nil && !g.enrolled(ctx, network, rec.Document.Device, err) {
		return fmt.Errorf("enrol device %s: %w", record.DeviceID(network, rec.Document.Device.Key).Short(), err)
	}
	return nil
}

// enrolled tells whether an enrolment that was refused as a conflict is our own, made
// before a crash.
func (g *gateways) enrolled(ctx context.Context, network string, d record.Device, err error) bool {
	if fault.Of(err) != fault.Conflict {
		return false
	}
	s, err := g.client().Device(ctx, record.DeviceID(network, d.Key))
	if err != nil {
		return false
	}
	return record.Digest(record.DomainDevice, network, s.State.Device) == record.Digest(record.DomainDevice, network, d)
}
