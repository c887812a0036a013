package institution

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution/share"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// measureWithJunk is measure, but one patient's device sends random bytes in the form of
// rows, and signs for them.
func (w *world) measureWithJunk(broken *person) {
	w.Helper()
	w.Tick((firstHour + 2*dayHours) * 3600)
	var pointers []record.SignedPointer
	for i, p := range w.patients {
		if p != broken {
			if w.daily {
				pointers = append(pointers, w.uploadDays(i, p, 1)...)
			} else {
				pointers = append(pointers, w.upload(i, p)...)
			}
			continue
		}
		var rows []record.BlobRow
		for h := range w.hours {
			rows = append(rows, record.BlobRow{Hour: firstHour + h, Row: consortium.Junk(w.Params, uint64(h))})
		}
		if w.daily {
			rows = []record.BlobRow{{Hour: firstHour, Correction: record.PersonDayMark, Row: consortium.Junk(w.Params.Day(), 1)}}
		}
		pointers = append(pointers, p.device.Upload(rows...)...)
	}
	for part := range slices.Chunk(pointers, record.MaxBatch) {
		w.submit(hospitalA, contracts.PointerAnchor, record.Anchor{Pointers: part})
	}
	w.everywhere("rows available", func(in *Institution) bool { return in.Index().Counts().Available == len(pointers) })
}

// quarantined returns the devices that an institution sees in quarantine.
func quarantined(in *Institution) []record.ID {
	var out []record.ID
	for _, d := range in.Index().Devices(0) {
		if d.Quarantined != nil {
			out = append(out, d.ID)
		}
	}
	return out
}

// TestAttackOneDeviceStopsAllQueries: a device that seals junk costs the first query
// that it is in its debit, and no other. The members find it among all, each for itself,
// and put it out.
func TestAttackOneDeviceStopsAllQueries(t *testing.T) {
	t.Run("hours", func(t *testing.T) { attackOneDevice(t, newWorld(t)) })
	t.Run("days", func(t *testing.T) {
		w := newWorld(t, withDays)
		w.daily = true
		attackOneDevice(t, w)
	})
}

func attackOneDevice(t *testing.T, w *world) {
	w.enrol(12)
	broken := w.patients[3]
	w.measureWithJunk(broken)
	w.study("noisy", false)
	in := w.members[hospitalA]
	_, err := in.Ask(t.Context(), w.ask("noisy", 900_000))
	wantFault(t, fault.Conflict, err)
	if !strings.Contains(err.Error(), "a device has sealed what is no row") {
		t.Errorf("the asker learns: %v", err)
	}
	w.everywhere("the broken device is out", func(in *Institution) bool { return slices.Contains(quarantined(in), broken.device.ID) })
	w.everywhere("all was looked at", func(in *Institution) bool {
		for _, id := range in.Index().Failed(0) {
			if _, found, err := in.vault.Get(store.Searched(id)); err != nil || !found {
				return false
			}
		}
		return len(in.Index().Failed(0)) == 1
	})
	for _, m := range w.members {
		if got := quarantined(m.Institution); !slices.Equal(got, []record.ID{broken.device.ID}) {
			t.Errorf("%s sees %d devices in quarantine, want the broken one alone", m.MSP(), len(got))
		}
	}
	a, err := in.Ask(t.Context(), w.ask("noisy", 900_000))
	if err != nil || a.Cohort != 11 {
		t.Fatalf("the next query: %+v (%v)", a, err)
	}
	failed := in.Index().Failed(0)[0]
	_, err = in.Fetch(t.Context(), failed)
	wantFault(t, fault.Conflict, err)
	for _, from := range []int{hospitalA, hospitalB, association} { // the asked coefficients never again
		_, err := w.members[from].answer(t.Context(), msps[hospitalA], failed, 0)
		wantFault(t, fault.Conflict, err)
	}
}

// TestAttackProbeWithoutAFailure: members open no device's zero coefficient in a query
// that has not failed, none of who has withdrawn, and none for strangers.
func TestAttackProbeWithoutAFailure(t *testing.T) {
	w := settledWorld(t, 12)
	id := w.agreedQuery("exact")
	in := w.members[hospitalB]
	_, err := in.prober.probe(t.Context(), msps[hospitalA], id, 0)
	wantFault(t, fault.Conflict, err)
	_, err = w.members[hospitalA].peers.probe(t.Context(), msps[hospitalB], id, 0)
	wantFault(t, fault.Conflict, err)

	w.submit(hospitalA, contracts.QueryFail, record.FailQuery{Query: id}) // it would open: the asker lies
	gone := w.patients[5]
	w.revoke(gone)
	_, err = in.prober.probe(t.Context(), "Outsider", id, 0)
	wantFault(t, fault.Forbidden, err)
	_, err = in.prober.probe(t.Context(), msps[hospitalA], id, 1)
	wantFault(t, fault.Invalid, err)
	r, err := w.members[hospitalA].peers.probe(t.Context(), msps[hospitalB], id, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := must(in.Index().Cohort(id, 0))
	if len(r.Devices) != 11 || slices.ContainsFunc(r.Devices, func(i uint32) bool { return c.Members[i].Device == gone.device.ID }) {
		t.Errorf("devices %v were probed", r.Devices)
	}
	again := must(in.prober.probe(t.Context(), msps[association], id, 0))
	for i, p := range r.Pieces { // the same bytes for all who ask, and from every holder
		if !bytes.Equal(p.Shares, again.Pieces[i].Shares) {
			t.Errorf("piece %d: a repeated probe has other bytes", p.Piece)
		}
		other := must(w.members[association].prober.probe(t.Context(), msps[hospitalA], id, 0))
		for _, o := range other.Pieces {
			if o.Piece == p.Piece && !bytes.Equal(o.Shares, p.Shares) {
				t.Errorf("holders of piece %d send different bytes", p.Piece)
			}
		}
	}
	w.everywhere("all was looked at", func(in *Institution) bool {
		_, found, err := in.vault.Get(store.Searched(id))
		return err == nil && found
	})
	for _, m := range w.members {
		if got := quarantined(m.Institution); len(got) > 0 {
			t.Errorf("%s sees %d honest devices in quarantine", m.MSP(), len(got))
		}
	}
	// What the probe opens to, for whoever adds everything up, is zero and no reading.
	honest := w.patients[2]
	place := slices.IndexFunc(c.Members, func(m record.CohortMember) bool { return m.Device == honest.device.ID })
	shares := map[int][]byte{}
	for _, from := range []int{hospitalB, association, hospitalA} {
		r := must(w.members[from].prober.probe(t.Context(), msps[hospitalA], id, 0))
		for piece, share := range must(in.searcher.openProbe(must(in.Index().Query(id)), 0, from, r))[place] {
			shares[piece] = share
		}
	}
	sum := must(in.searcher.probeSum(t.Context(), false, c.Members[place]))
	opened := must(w.Params.Open(sum, shares))
	if len(opened) != 1 || opened[0].Sign() != 0 {
		t.Errorf("the probe opens to %v", opened)
	}
}

// TestAttackProbesWithoutEnd: an asker whose queries fail again and again uses up its own
// part of what may be probed; what was given before is given again.
func TestAttackProbesWithoutEnd(t *testing.T) {
	w := settledWorld(t, 11)
	id := w.agreedQuery("exact")
	w.submit(hospitalA, contracts.QueryFail, record.FailQuery{Query: id})
	w.everywhere("all was looked at", func(in *Institution) bool {
		_, found, err := in.vault.Get(store.Searched(id))
		return err == nil && found
	})
	in := w.members[hospitalB]
	var count int64
	if err := in.vault.GetJSON(store.Probes(msps[hospitalA]), &count); err != nil || count != 11 {
		t.Fatalf("%d devices are counted (%v)", count, err)
	}
	if most := in.prober.probesAllowed(); most*3 > he.ProbedCoefficients || most < 11 {
		t.Fatalf("%d are allowed", most)
	}
	q := must(in.Index().Query(id))
	if err := in.vault.Put(store.Probes(msps[hospitalA]), []byte("33333330")); err != nil {
		t.Fatal(err)
	}
	wantFault(t, fault.Exhausted, in.prober.logProbes(q, 1, []int{256, 257, 258, 259}))
	if _, err := in.prober.probe(t.Context(), msps[hospitalA], id, 0); err != nil {
		t.Errorf("a repeated probe: %v", err)
	}
	q.Asker = msps[hospitalB]
	if err := in.prober.logProbes(q, 1, []int{256}); err != nil {
		t.Errorf("another asker's part: %v", err)
	}
}

// framing lets a member send shares of a probe under which every device looks broken.
func (w *world) framing(member int) func(*share.GetProbeResponse) {
	return func(r *share.GetProbeResponse) {
		for _, p := range r.Pieces {
			for i := 0; i < len(p.Shares); i += 27 {
				p.Shares[i+3] ^= 1 // still below its prime, and far from what it was
				p.Shares[i+6] ^= 1
			}
		}
		r.Signature = must(record.Sign(w.Keys[msps[member]], probeDigest(networkName, r)))
	}
}

// TestAttackOneMemberPutsHonestDevicesOut: shares of a probe count where holders agree, so
// a member that lies about them convinces nobody, with the other holder there or away.
func TestAttackOneMemberPutsHonestDevicesOut(t *testing.T) {
	w := settledWorld(t, 11)
	w.corruptProbes(hospitalB, w.framing(hospitalB))
	id := w.agreedQuery("exact")
	w.down(association)
	w.submit(hospitalA, contracts.QueryFail, record.FailQuery{Query: id})
	for _, back := range []bool{false, true} {
		if back {
			w.up(association)
		}
		time.Sleep(500 * time.Millisecond)
		for i, m := range w.members {
			if m == nil || i == hospitalB {
				continue
			}
			for _, d := range m.Index().Devices(0) {
				if r := must(m.Index().Reputation(d.ID)); r.Votes > 0 || d.Quarantined != nil {
					t.Fatalf("%d members vote against an honest device", r.Votes)
				}
			}
		}
	}
}
