package institution

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/index"
	role "github.com/vitalveil/vitalveil/network/institution"
	"github.com/vitalveil/vitalveil/network/institution/share"
	"github.com/vitalveil/vitalveil/network/site"
)

func signalContext() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// witness asks members for shares as hospital A does and remembers what left them.
type witness struct {
	w     *world
	conns []*grpc.ClientConn
	mu    sync.Mutex
	seen  map[string]string // query, attempt, piece: hash of the clear share
	count int
}

func newWitness(w *world) *witness {
	v := &witness{w: w, seen: map[string]string{}}
	for i, msp := range msps {
		tls := must(network.ClientTLS(w.keys[hospitalA].Identity, w.network.Roots, msp))
		v.conns = append(v.conns, must(grpc.NewClient("passthrough:///"+w.listen[i], grpc.WithTransportCredentials(credentials.NewTLS(tls)))))
	}
	return v
}

func (v *witness) close() {
	for _, c := range v.conns {
		c.Close()
	}
}

// watch asks all members for a query's shares, over and over until ctx ends.
func (v *witness) watch(ctx context.Context, query string) {
	var g sync.WaitGroup
	for _, c := range v.conns {
		g.Go(func() {
			for ctx.Err() == nil {
				short, cancel := context.WithTimeout(ctx, 2*time.Second)
				r, err := share.NewInstitutionsClient(c).GetShare(short, &share.GetShareRequest{Query: query})
				cancel()
				if err == nil {
					v.note(r)
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	g.Wait()
}

func (v *witness) note(r *share.GetShareResponse) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range r.Shares {
		name := fmt.Sprintf("%s %d %d", r.Query, r.Attempt, s.Piece)
		if before := v.seen[name]; before != "" && before != s.Hash {
			v.w.Errorf("%s gave another share of %s", r.Member, name)
		}
		v.seen[name] = s.Hash
		v.count++
	}
}

// TestKilledInstitutionsGiveNoSecondShareAndGoOn kills institutions at random
// instants of queries, with no chance to tidy up. VITALVEIL_SOAK=1 does it a hundred
// times.
func TestKilledInstitutionsGiveNoSecondShareAndGoOn(t *testing.T) {
	kills := 12
	if os.Getenv("VITALVEIL_SOAK") != "" {
		kills = 100
	}
	w := newWorld(t, privacy.ExactHours)
	w.startAll()
	w.enrol(11)
	w.measure()
	w.study(hospitalA, "noisy", false)
	w.study(hospitalA, "exact", true)
	v := newWitness(w)
	defer v.close()
	for i := range kills {
		res, err := w.submit(hospitalA, contracts.QueryAsk, w.ask("noisy", 20_000))
		w.check(err)
		ctx, cancel := context.WithCancel(t.Context())
		var g errgroup.Group
		g.Go(func() error { v.watch(ctx, res.TxID); return nil })
		g.Go(func() error { w.fetch(ctx, hospitalA, res.TxID); return nil })
		time.Sleep(rand.N(60 * time.Millisecond))
		victim := i % len(msps)
		w.members[victim].kill()
		w.up(victim)
		w.ready(victim)
		a, err := w.fetch(t.Context(), hospitalA, res.TxID)
		cancel()
		g.Wait()
		if err != nil || a.Cohort != 11 {
			t.Fatalf("query %d after %s was killed: %v", i, msps[victim], err)
		}
		again, err := w.fetch(t.Context(), hospitalA, res.TxID)
		if err != nil || again.Hash != a.Hash {
			t.Fatalf("query %d has another answer the second time (%v)", i, err)
		}
	}
	if v.count < 3*kills {
		t.Errorf("only %d shares were witnessed", v.count)
	}
	t.Logf("%d kills, %d shares witnessed, %d of them different pieces", kills, v.count, len(v.seen))
	var exact role.Answer
	w.check(w.call(t.Context(), hospitalA, "ask", w.ask("exact", 0), &exact))
	w.want(exact.Release) // no seed is lost
}

// fetch gets a query's answer, again where the member was just killed.
func (w *world) fetch(ctx context.Context, member int, query string) (*role.Answer, error) {
	var a role.Answer
	err := w.call(ctx, member, "fetch", fetchRequest{query}, &a)
	for range 3 {
		if fault.Of(err) != fault.Unavailable || ctx.Err() != nil {
			break
		}
		time.Sleep(200 * time.Millisecond)
		err = w.call(ctx, member, "fetch", fetchRequest{query}, &a)
	}
	return &a, err
}

// patience shortens how long members wait for others; it takes effect at a start.
func (w *world) patience(seconds int) {
	for i := range msps {
		path := w.member(i) + "/" + ConfigFile
		var c Config
		w.check(site.Load(path, &c))
		c.Patience = seconds
		w.check(site.Save(path, c))
	}
}

func TestInstitutionsThatAreDownSlowOrManyAsking(t *testing.T) {
	w := newWorld(t, 2)
	w.patience(5)
	w.startAll()
	w.enrol(11)
	w.measure()
	for _, h := range []int{hospitalA, hospitalB} {
		w.study(h, "noisy", false)
	}
	t.Run("one is down: queries go on", func(t *testing.T) {
		w.members[hospitalB].kill()
		a := w.answered(t, hospitalA)
		if !slices.Equal(a.Missing, []string{msps[hospitalB]}) {
			t.Errorf("missing %v", a.Missing)
		}
	})
	t.Run("two are down: they are named, and one that returns is enough", func(t *testing.T) {
		w.members[patients].kill()
		err := w.call(t.Context(), hospitalA, "ask", w.ask("noisy", 20_000), nil)
		if fault.Of(err) != fault.Unavailable || !strings.Contains(err.Error(), msps[hospitalB]+" and "+msps[patients]) {
			t.Fatalf("got %v", err)
		}
		w.up(patients)
		id := w.lastQuery(t)
		deadline := time.Now().Add(20 * time.Second)
		for {
			if _, err := w.fetch(t.Context(), hospitalA, id); err == nil {
				break
			} else if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
		w.up(hospitalB)
		w.ready(hospitalB)
		w.ready(patients)
	})
	t.Run("one is slow: the others' queries do not wait for it", func(t *testing.T) {
		w.members[patients].stop()
		defer w.members[patients].cont()
		start := time.Now()
		a := w.answered(t, hospitalA)
		if took := time.Since(start); took > 2500*time.Millisecond || !slices.Equal(a.Missing, []string{msps[patients]}) {
			t.Errorf("it took %v, missing %v", took, a.Missing)
		}
	})
	t.Run("several ask at once", func(t *testing.T) {
		var g errgroup.Group
		for i := range 8 {
			g.Go(func() error {
				var a role.Answer
				err := w.call(t.Context(), i%2, "ask", w.ask("noisy", 20_000), &a)
				if err == nil && a.Cohort != 11 {
					err = errors.New("another cohort")
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func (w *world) answered(t *testing.T, member int) *role.Answer {
	t.Helper()
	var a role.Answer
	if err := w.call(t.Context(), member, "ask", w.ask("noisy", 20_000), &a); err != nil {
		t.Fatal(err)
	}
	return &a
}

// lastQuery reads the ledger for the newest query.
func (w *world) lastQuery(t *testing.T) string {
	t.Helper()
	height := must(w.clients[hospitalA].Height(t.Context()))
	ix := index.New()
	for b, err := range w.clients[hospitalA].Blocks(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if err := ix.Apply(b); err != nil {
			t.Fatal(err)
		}
		if b.Number+1 == height {
			break
		}
	}
	open := ix.Open()
	if len(open) == 0 {
		t.Fatal("no query is open")
	}
	q := must(ix.Query(open[len(open)-1]))
	if q.Status == record.QueryReleased {
		t.Fatal("it is released")
	}
	return q.ID
}
