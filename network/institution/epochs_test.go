package institution

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

func TestADeviceWithWrongSeedsIsComplainedAbout(t *testing.T) {
	w := newWorld(t)
	w.enrol(2)
	good := w.Params
	for name, spoil := range map[string]func(d *record.Device, seeds []he.Seed, blob *[]byte){
		"a wrong seed": func(_ *record.Device, seeds []he.Seed, _ *[]byte) { seeds[1] = he.NewSeed() },
		"no blob of seeds": func(_ *record.Device, _ []he.Seed, blob *[]byte) {
			if *blob != nil {
				*blob = []byte("none")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &person{Patient: w.patients[0].Patient}
			id := w.enrolSpoiled(p, good, spoil)
			w.everywhere(name+" quarantined", func(in *Institution) bool {
				s, _, ready, ok := in.Index().Device(id)
				return ok && !ready && s.Quarantined != nil && s.Quarantined.How == record.ByEvidence
			})
		})
	}
	if w.members[hospitalA].Index().Counts().Quarantined != 2 {
		t.Error("honest devices are in quarantine")
	}
}

// enrolSpoiled enrols a device that seals something else than it says.
func (w *world) enrolSpoiled(p *person, params *he.Params, spoil func(*record.Device, []he.Seed, *[]byte)) record.ID {
	w.Helper()
	d := p.NewDevice(firstHour, w.metrics...)
	d.Reseed(params, w.Epoch, func(seeds []he.Seed, blob *[]byte) {
		if blob == nil {
			blob = new([]byte)
		}
		spoil(&d.Enrolment.Device, seeds, blob)
	})
	d.Sign()
	w.put(d.Seeds)
	w.submit(hospitalA, contracts.RegistryEnrolDevice, d.Enrolment)
	return d.ID
}

func TestAComplaintIsNotMadeAboutSoundSeeds(t *testing.T) {
	w := newWorld(t)
	w.enrol(1)
	in := w.members[hospitalB].Institution
	s, _, _, _ := in.Index().Device(w.patients[0].device.ID)
	err := in.seeds.complain(t.Context(), s)
	if err == nil || worthRetry(err) {
		t.Fatalf("complaint: %v", err)
	}
	if !strings.Contains(err.Error(), opening.ErrSound.Error()) {
		t.Errorf("%v does not say that the seeds are right", err)
	}
}

// renew begins the next epoch: hospital B has new keys, and every member a second
// process, which the devices that enrol from now on are for.
func (w *world) renew() [3]*running {
	w.Helper()
	var out [3]*running
	for i, cfg := range w.nextEpoch() {
		out[i] = w.run(cfg)
		w.Cleanup(out[i].stop)
	}
	return out
}

// nextEpoch begins it and returns what the processes are made of.
func (w *world) nextEpoch() []Config {
	w.Helper()
	next := record.Epoch{Number: w.Epoch.Number + 1, Threshold: 2, Members: slices.Clone(w.Epoch.Members), Profile: w.Epoch.Profile}
	newer := consortium.New(w)
	next.Members[hospitalB] = newer.Genesis.Members[hospitalB]
	for _, i := range []int{hospitalA, association} {
		w.submit(i, contracts.RegistryVoteEpoch, record.VoteEpoch{Epoch: next, Signature: consortium.Sign(w.Keys[msps[i]], next.Digest(networkName))})
	}
	peers := map[string]string{}
	var cfgs []Config
	for i, msp := range msps {
		cfg := w.config(i)
		cfg.Listen = w.listen("127.0.0.1:0")
		peers[msp] = cfg.Listen.Addr().String()
		cfg.Epoch, cfg.Peers, cfg.Dir = next, peers, filepath.Join(w.dir, "next", msp)
		if i == hospitalB {
			cfg.Keys, cfg.SignKey = newer.Boxes[msp], newer.Keys[msp]
		}
		cfgs = append(cfgs, cfg)
	}
	w.Epoch = next
	return cfgs
}

func (w *world) truthOf(epoch uint32) privacy.HourStats {
	var sum privacy.HourStats
	for _, p := range w.patients {
		if p.device.Enrolment.Device.Epoch == epoch {
			sum = consortium.Add(sum, p.device.Stats, 1)
		}
	}
	return sum
}

func TestBothEpochsAnswerUntilTheOldOneIsRetired(t *testing.T) {
	w := newWorld(t)
	w.enrol(11)
	next := w.renew()
	w.enrol(12)
	w.measure()
	w.study("exact", true)
	old, err := w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	if err != nil {
		t.Fatal(err)
	}
	w.want(old, w.truthOf(0))
	fresh, err := next[hospitalA].Ask(t.Context(), ask("exact", 0))
	if err != nil {
		t.Fatal(err)
	}
	w.want(fresh, w.truthOf(1))
	if old.Cohort != 11 || fresh.Cohort != 12 {
		t.Errorf("cohorts of %d and %d, want 11 and 12", old.Cohort, fresh.Cohort)
	}

	for _, i := range []int{hospitalA, association} {
		w.submit(i, contracts.RegistryRetireEpoch, record.RetireEpoch{Epoch: 0})
	}
	for i := range msps {
		w.wait("seeds deleted", func() bool {
			left, err := w.members[i].vault.Names(store.Seeds)
			return err == nil && len(left) == 0
		})
		if kept, err := next[i].vault.Names(store.Seeds); err != nil || len(kept) != 12*2 {
			t.Errorf("member %d keeps %d seeds of the new epoch (%v)", i, len(kept), err)
		}
	}
	_, err = w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	wantFault(t, fault.Expired, err)
	_, err = w.members[hospitalB].answer(t.Context(), msps[hospitalA], old.QueryID, 0)
	wantFault(t, fault.Expired, err)
	if _, err := next[hospitalA].Fetch(t.Context(), fresh.QueryID); err != nil {
		t.Errorf("the new epoch's answer again: %v", err)
	}
}

func TestAttackShareOfAnotherEpochsQuery(t *testing.T) {
	w := newWorld(t)
	next := w.renew()
	w.enrol(11)
	w.measure()
	w.study("exact", true)
	a, err := next[hospitalA].Ask(t.Context(), ask("exact", 0))
	if err != nil {
		t.Fatal(err)
	}
	w.wait("the query is known", func() bool {
		_, err := w.members[hospitalB].Index().Query(a.QueryID)
		return err == nil
	})
	_, err = w.members[hospitalB].answer(t.Context(), msps[hospitalA], a.QueryID, 0)
	wantFault(t, fault.Conflict, err)
}

func TestAProcessOfAnotherEpochThanTheLedgersDoesNothing(t *testing.T) {
	w := newWorld(t)
	next := w.renew()
	forged := next[hospitalA].cfg.Epoch
	forged.Members = slices.Clone(forged.Members)
	forged.Members[association].SeedKey = must(he.NewHPKEKey()).Public()
	cfg := w.config(hospitalA)
	cfg.Epoch, cfg.Dir, cfg.Listen = forged, filepath.Join(w.dir, "forged"), nil
	r := w.run(cfg)
	t.Cleanup(r.stop)
	w.wait("it has read the ledger", func() bool { return r.Index().Height() == w.Ledger.Height() })
	wantFault(t, fault.Conflict, r.checkEpoch())
	if _, err := r.Ask(t.Context(), ask("exact", 0)); err == nil {
		t.Error("it asks")
	}

	cfg = w.config(hospitalB)
	cfg.Epoch, cfg.Dir, cfg.SignKey = next[hospitalA].cfg.Epoch, filepath.Join(w.dir, "other"), newKey()
	if _, err := New(cfg); err == nil {
		t.Error("a process with another key than the epoch has for its member starts")
	}
}
