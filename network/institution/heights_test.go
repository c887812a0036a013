package institution

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/institution/share"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// given is a share that left: whose, of which query, checked at which block, with
// which devices in it.
type given struct {
	member, query string
	attempt       int
	checked       uint64
	devices       []record.ID
}

// shareAfterRevocation returns why a history of shares breaks a promise to
// patients: no share that includes one names a block at or after the one in which
// the patient's revocation is, and no member answers two cohorts of a query.
func shareAfterRevocation(shares []given, revoked map[record.ID]uint64) error {
	cohorts := map[string]int{}
	for _, s := range shares {
		for _, d := range s.devices {
			if block, ok := revoked[d]; ok && s.checked >= block {
				return fmt.Errorf("%s gave a share of query %s checked at block %d with device %s, revoked in block %d", s.member, s.query, s.checked, d.Short(), block)
			}
		}
		key := s.member + "/" + s.query
		if before, ok := cohorts[key]; ok && before != s.attempt {
			return fmt.Errorf("%s answered attempts %d and %d of query %s", s.member, before, s.attempt, s.query)
		}
		cohorts[key] = s.attempt
	}
	return nil
}

// Patients revoke while queries are answered, by three real institutions: every
// share that ever left was checked before the revocation of everybody in it.
func TestNoShareIsCheckedAtOrAfterARevocation(t *testing.T) {
	revocations, rounds := 8, 12
	if os.Getenv("VITALVEIL_SOAK") != "" {
		revocations, rounds = 60, 90
	}
	w := newWorld(t)
	w.enrol(12 + revocations)
	w.measure()
	w.study("noisy", false)

	revoked := map[record.ID]uint64{}
	var mu sync.Mutex
	turn := make(chan struct{}, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, i := range rand.Perm(revocations) {
			if _, ok := <-turn; !ok {
				return
			}
			time.Sleep(rand.N(150 * time.Millisecond)) // into any step of the query
			p := w.patients[12+i]
			block := w.revoke(p).Block
			mu.Lock()
			revoked[p.device.ID] = block
			mu.Unlock()
		}
	})
	answers, again := 0, 0
	for range rounds {
		select {
		case turn <- struct{}{}: // a revocation somewhere in this query
		default:
		}
		a, err := w.members[hospitalA].Ask(t.Context(), ask("noisy", 20_000))
		if err != nil && fault.Of(err) != fault.Conflict && fault.Of(err) != fault.TooEarly && fault.Of(err) != fault.Unavailable {
			t.Fatal(err)
		}
		if err != nil {
			t.Log(err) // asked too late for a cohort that stands; shares may have left
		} else {
			answers++
			if a.Attempt > 0 {
				again++
			}
		}
	}
	close(turn)
	wg.Wait()
	shares := w.given(w.asked())
	t.Logf("%d queries asked, %d answered, %d of them for a later cohort; %d answers of members, %d patients revoked", rounds, answers, again, len(shares), len(revoked))
	if answers == 0 || len(revoked) == 0 {
		t.Fatal("nothing happened at the same time")
	}
	if err := shareAfterRevocation(shares, revoked); err != nil {
		t.Error(err)
	}
	doctored(t, shares, revoked)
}

// doctored makes sure that the check finds what it is for.
func doctored(t *testing.T, shares []given, revoked map[record.ID]uint64) {
	t.Helper()
	for device, block := range revoked {
		late := slices.Clone(shares)
		late[0].devices, late[0].checked = append(slices.Clone(late[0].devices), device), block
		if shareAfterRevocation(late, revoked) == nil {
			t.Error("the check accepts a share that was checked in the block of a revocation")
		}
		break
	}
	twice := append(slices.Clone(shares), shares[0])
	twice[len(shares)].attempt++
	if shareAfterRevocation(twice, map[record.ID]uint64{}) == nil {
		t.Error("the check accepts answers to two cohorts of a query")
	}
}

// asked lists every query on the ledger, answered or not.
func (w *world) asked() []string {
	var ids []string
	last := w.Ledger.Height() - 1
	for b, err := range w.Ledger.Client(w.ids[hospitalB]).Blocks(w.Context(), 0) {
		if err != nil {
			w.Fatal(err)
		}
		for _, tx := range b.Txs {
			if tx.Valid && tx.Function == contracts.QueryAsk.Name() {
				ids = append(ids, tx.ID)
			}
		}
		if b.Number == last {
			break
		}
	}
	return ids
}

// given reads, from every member's own store, what it gave for the queries.
func (w *world) given(queries []string) []given {
	w.Helper()
	var out []given
	for i, in := range w.members {
		for _, q := range queries {
			for attempt := range index.MaxAttempts {
				raw, found, err := in.vault.Get(store.Answer(q, attempt))
				if err != nil {
					w.Fatal(err)
				}
				if !found {
					continue
				}
				r := &share.GetShareResponse{}
				c, cerr := in.index.Cohort(q, attempt)
				if err := errors.Join(cerr, proto.Unmarshal(raw, r)); err != nil {
					w.Fatal(err)
				}
				s := given{member: msps[i], query: q, attempt: attempt, checked: r.GetCheckedBlock()}
				for _, m := range c.Members {
					s.devices = append(s.devices, m.Device)
				}
				out = append(out, s)
			}
		}
	}
	return out
}
