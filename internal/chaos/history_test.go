package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// rivals are clients that use the same few registers at once.
type rivals struct {
	*world
	h       *history
	people  []*person
	hours   int           // windows of each person
	patient time.Duration // with one call
	// ordered makes reads transactions: a peer's answer alone may be some
	// milliseconds behind another one's.
	ordered bool

	mu   sync.Mutex
	docs map[record.ID][]consent.Document // of each person's consent, as far as anyone made them
}

func newRivals(w *world, people, hours int, ordered bool) *rivals {
	r := &rivals{world: w, h: newHistory(), people: w.enrol(people), hours: hours, patient: 20 * time.Second, ordered: ordered, docs: map[record.ID][]consent.Document{}}
	w.Tick((firstHour + 1000) * hour)
	for _, p := range r.people {
		d := w.consent(p, hospitalA)
		d.DataUntil, d.Expires = firstHour+9000, (firstHour+9000)*hour
		r.docs[p.ID] = []consent.Document{d}
	}
	return r
}

// run has several clients, of all organisations, make n calls each.
func (r *rivals) run(clients, n int) {
	var wg sync.WaitGroup
	for i := range clients {
		c := r.Clients[consortium.MSPs[i%len(consortium.MSPs)]]
		wg.Go(func() {
			for range n {
				p := r.people[rand.N(len(r.people))]
				switch rand.N(5) {
				case 0, 1:
					r.changeConsent(i, c, p)
				case 2:
					r.readConsent(i, c, p)
				case 3:
					r.anchorSome(i, c)
				case 4:
					r.readWindow(i, c, r.window(p))
				}
			}
		})
	}
	wg.Wait()
}

// changeConsent puts the version after the newest that this client finds: mostly
// a narrower one, at times the revocation.
func (r *rivals) changeConsent(client int, c network.Client, p *person) {
	current := r.readConsent(client, c, p)
	r.mu.Lock()
	next, from := r.docs[p.ID][0], ""
	for _, d := range r.docs[p.ID] {
		if name(d) != current {
			continue
		}
		next, from = d, current
		next.Version, next.Previous = d.Version+1, d.Digest(channel)
		next.CapMicro -= 1 + rand.Uint64N(1000)
		if rand.N(8) == 0 {
			next.CapMicro, next.Status = d.CapMicro, consent.StatusRevoked
		}
		r.docs[p.ID] = append(r.docs[p.ID], next)
		break
	}
	r.mu.Unlock()
	if strings.HasSuffix(from, consent.StatusRevoked) {
		return // nothing follows a revocation
	}
	in := request{key: "consent/" + p.ID.String(), from: from, to: name(next)}
	signed, begin := p.Sign(next), r.h.now()
	_, err := r.try(c, contracts.ConsentPut, signed)
	r.h.add(client, in, begin, r.outcomeOf(err))
}

// name is how histories call a version.
func name(d consent.Document) string { return d.Digest(channel).String() + d.Status }

func (r *rivals) outcomeOf(err error) reply {
	switch fault.Of(err) {
	case "":
		return reply{outcome: written}
	case fault.Conflict:
		return reply{outcome: refused}
	case fault.Unavailable, fault.Contention:
		return reply{outcome: unknown}
	}
	r.Errorf("a call ended with %v", err)
	return reply{outcome: unknown}
}

// readConsent reads a consent's newest version; empty where there is none.
func (r *rivals) readConsent(client int, c network.Client, p *person) string {
	var s state.ConsentState
	return r.read(client, c, "consent/"+p.ID.String(), contracts.ConsentGet, r.consentOf(p), &s, func() string { return name(s.Signed.Document) })
}

// consentOf identifies a person's one consent.
func (r *rivals) consentOf(p *person) record.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.docs[p.ID][0].ID
}

// read asks for a register's value.
func (r *rivals) read(client int, c network.Client, key string, m contracts.Method, arg, into any, value func() string) string {
	begin := r.h.now()
	raw, err := r.ask(c, m, arg)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	out := reply{outcome: unknown}
	switch code := fault.Of(err); {
	case code == "":
		out = reply{answered, value()}
	case code == fault.NotFound && !r.ordered: // a refusal is not ordered, so it may be old
		out = reply{outcome: answered}
	case code != fault.NotFound && code != fault.Unavailable && code != fault.Contention:
		r.Errorf("%s: %v", m.Name(), err)
	}
	r.h.add(client, request{key: key, read: true}, begin, out)
	return out.value
}

func (r *rivals) ask(c network.Client, m contracts.Method, arg any) ([]byte, error) {
	if r.ordered {
		res, err := r.try(c, m, arg)
		return res.Payload, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.patient)
	defer cancel()
	return c.Evaluate(ctx, r.Call(m, arg))
}

func (r *rivals) try(c network.Client, m contracts.Method, doc any) (network.Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.patient)
	defer cancel()
	return network.SubmitRetry(ctx, c, r.Call(m, doc))
}

// window is one of a person's.
func (r *rivals) window(p *person) record.Pointer {
	return record.Pointer{Device: p.device.ID, Kind: record.KindRow, Index: firstHour + rand.Int64N(int64(r.hours))}
}

func windowKey(p record.Pointer) string { return fmt.Sprintf("window/%s/%d", p.Device, p.Index) }

func (r *rivals) readWindow(client int, c network.Client, p record.Pointer) {
	var s record.Receipt
	place := state.PointerRef{Device: p.Device, Kind: p.Kind, Index: p.Index}
	r.read(client, c, windowKey(p), contracts.PointerGet, place, &s, func() string { return s.Pointer.Pointer.Commitment.String() })
}

// anchorSome anchors a batch of pointers for windows that others want as well.
// Each is a call of its own in the history, all over the same time.
func (r *rivals) anchorSome(client int, c network.Client) {
	var a record.Anchor
	taken := map[string]bool{}
	for range 1 + rand.N(4) {
		p := r.people[rand.N(len(r.people))]
		s := p.device.Row(r.window(p).Index, 0)
		if key := windowKey(s.Pointer); !taken[key] {
			taken[key] = true
			a.Pointers = append(a.Pointers, s)
		}
	}
	begin := r.h.now()
	res, err := r.try(c, contracts.PointerAnchor, a)
	var result record.AnchorResult
	if err == nil {
		err = json.Unmarshal(res.Payload, &result)
	}
	for i, s := range a.Pointers {
		in := request{key: windowKey(s.Pointer), to: s.Pointer.Commitment.String()}
		r.h.add(client, in, begin, r.anchorReply(result, i, err))
	}
}

func (r *rivals) anchorReply(result record.AnchorResult, i int, err error) reply {
	if err != nil {
		return r.outcomeOf(err)
	}
	switch item := result.Items[i]; {
	case item.Outcome == record.Anchored:
		return reply{outcome: written}
	case item.Outcome == record.Repeated:
		return reply{outcome: repeated}
	case item.Code == string(fault.Conflict):
		return reply{outcome: refused}
	default:
		r.Errorf("a pointer's outcome is %+v", item)
		return reply{outcome: unknown}
	}
}

// judge checks the history, and that the check would have found a fault in it: a
// late read of an early version, and a window that was written twice.
func (r *rivals) judge() {
	r.Helper()
	ops := r.h.ops
	r.Logf("%d calls: %d written, %d repeated, %d refused, %d read, %d without an answer", len(ops),
		r.h.count[written], r.h.count[repeated], r.h.count[refused], r.h.count[answered], r.h.count[unknown])
	if !linearizable(ops) {
		r.Error("no order of the calls explains what they returned")
	}
	if r.h.count[refused] == 0 {
		r.Error("nobody was ever refused: the clients did not compete")
	}
	stale, twice := false, false
	for _, op := range ops {
		in, out := op.Input.(request), op.Output.(reply)
		if out.outcome != written {
			continue
		}
		late := porcupine.Operation{Call: math.MaxInt64 - 2, Return: math.MaxInt64 - 1}
		switch {
		case !stale && strings.HasPrefix(in.key, "consent/") && in.from != "":
			stale = true
			late.Input, late.Output = request{key: in.key, read: true}, reply{answered, r.first(in.key)}
		case !twice && strings.HasPrefix(in.key, "window/"):
			twice = true
			late.Input, late.Output = request{key: in.key, to: "another"}, reply{outcome: written}
		default:
			continue
		}
		if linearizable(append(ops[:len(ops):len(ops)], late)) {
			r.Errorf("the check accepts %+v: %+v at the end", late.Input, late.Output)
		}
	}
	if !stale || !twice {
		r.Error("the history has nothing to doctor")
	}
}

// first names the first version of the consent behind a key.
func (r *rivals) first(key string) string {
	for id, docs := range r.docs {
		if key == "consent/"+id.String() {
			return name(docs[0])
		}
	}
	return ""
}

func TestHistoryIsLinearizableOnTheEmbeddedLedger(t *testing.T) {
	r := newRivals(onEmbedded(t), size(40, 400), 20, false)
	r.run(8, size(150, 4000))
	r.judge()
}

// The same on Fabric while processes are killed and come back.
func TestHistoryIsLinearizableOnFabricUnderFaults(t *testing.T) {
	orderers := "raft1"
	if soaking() {
		orderers = "raft3"
	}
	r := newRivals(onFabric(t, orderers), size(12, 60), 4, true)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { r.harass(stop) })
	r.run(8, size(25, 400))
	close(stop)
	wg.Wait()
	r.judge()
}

// harass kills one process of the network after the other until it is stopped.
func (w *world) harass(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Second/2 + rand.N(time.Second)):
		}
		s, err := w.fabric.Status(context.Background())
		if err != nil || !s.Running() {
			continue
		}
		victim := s.Processes[rand.N(len(s.Processes))]
		w.Logf("killing %s (%s)", victim.Name, victim.Detail)
		if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
			w.Log(err)
		}
	}
}

// What the check must refuse, and what it must not.
func TestCheckerTellsHistoriesApart(t *testing.T) {
	put := func(from, to string) request { return request{key: "k", from: from, to: to} }
	get := request{key: "k", read: true}
	op := func(in request, call int64, out reply, end int64) porcupine.Operation {
		return porcupine.Operation{Input: in, Call: call, Output: out, Return: end}
	}
	ok := reply{outcome: written}
	for _, c := range []struct {
		name string
		want bool
		ops  []porcupine.Operation
	}{
		{"one after the other", true, []porcupine.Operation{op(put("", "a"), 0, ok, 1), op(get, 2, reply{answered, "a"}, 3)}},
		{"a read of nothing after a write", false, []porcupine.Operation{op(put("", "a"), 0, ok, 1), op(get, 2, reply{answered, ""}, 3)}},
		{"a read of nothing beside a write", true, []porcupine.Operation{op(put("", "a"), 0, ok, 3), op(get, 1, reply{answered, ""}, 2)}},
		{"two first writes", false, []porcupine.Operation{op(put("", "a"), 0, ok, 3), op(put("", "b"), 1, ok, 2)}},
		{"a refusal without a reason", false, []porcupine.Operation{op(put("", "a"), 0, reply{outcome: refused}, 1)}},
		{"a version that went back", false, []porcupine.Operation{
			op(put("", "a"), 0, ok, 1), op(put("a", "b"), 2, ok, 3), op(get, 4, reply{answered, "b"}, 5), op(get, 6, reply{answered, "a"}, 7),
		}},
		{"an unanswered write that took effect", true, []porcupine.Operation{
			op(put("", "a"), 0, reply{outcome: unknown}, math.MaxInt64), op(get, 4, reply{answered, "a"}, 5),
		}},
		{"an unanswered write that came and went", false, []porcupine.Operation{
			op(put("", "a"), 0, reply{outcome: unknown}, math.MaxInt64), op(get, 4, reply{answered, "a"}, 5), op(get, 6, reply{answered, ""}, 7),
		}},
	} {
		if got := linearizable(c.ops); got != c.want {
			t.Errorf("%s: accepted %v", c.name, got)
		}
	}
}
