package institution

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// published returns the complaints that are on the chain, also those that lost a
// race: what a member has once sent is out.
func (w *world) published() []record.Complain {
	w.Helper()
	var out []record.Complain
	read := uint64(0)
	for b, err := range w.Ledger.Client(w.ids[hospitalB]).Blocks(w.Context(), 0) {
		if err != nil {
			w.Fatal(err)
		}
		for _, tx := range b.Txs {
			if tx.Function != contracts.RegistryComplain.Name() {
				continue
			}
			var c record.Complain
			if err := json.Unmarshal([]byte(tx.Args[len(tx.Args)-1]), &c); err != nil {
				w.Fatal(err)
			}
			out = append(out, c)
		}
		if read++; read == w.Ledger.Height() {
			break
		}
	}
	return out
}

// timesThree is the u-coordinate of three times a point over u.
func timesThree(u []byte) []byte {
	one := new(field.Element).One()
	e := must(new(field.Element).SetBytes(u))
	below := new(field.Element).Add(e, one)
	p := must(new(edwards25519.Point).SetBytes(new(field.Element).Multiply(new(field.Element).Subtract(e, one), below.Invert(below)).Bytes()))
	twice := new(edwards25519.Point).Add(p, p)
	return twice.Add(twice, p).BytesMontgomery()
}

// TestAttackCopiedSeedBox: a device seals its boxes under an honest device's
// encapsulated keys, as they are or times a number whose inverse it knows, or sends
// the honest boxes whole. What X25519 makes of those keys opens the honest device's
// boxes; the members put the attacker out and keep it to themselves.
func TestAttackCopiedSeedBox(t *testing.T) {
	w := newWorld(t)
	w.enrol(2)
	s, _, _, _ := w.members[association].Index().Device(w.patients[0].device.ID)
	victim := must(opening.Boxes(must(w.blobs.Get(t.Context(), s.Device.SeedBlob)), s.ID, 6))
	for name, copied := range map[string]func(mine, his []byte) []byte{
		"his key":             func(mine, his []byte) []byte { return slices.Concat(his[:32], mine[32:]) },
		"his key times three": func(mine, his []byte) []byte { return slices.Concat(timesThree(his[:32]), mine[32:]) },
		"his key and proof":   func(mine, his []byte) []byte { return slices.Concat(his[:32], mine[32:80], his[80:]) },
		"his box":             func(_, his []byte) []byte { return his },
	} {
		t.Run(name, func(t *testing.T) {
			p := &person{Patient: w.patients[1].Patient}
			id := w.enrolSpoiled(p, w.Params, func(d *record.Device, _ []he.Seed, blob *[]byte) {
				if *blob == nil {
					return
				}
				own := record.DeviceID(networkName, d.Key)
				mine := must(opening.Boxes(*blob, own, 6))
				for i := range mine {
					mine[i] = copied(mine[i], victim[i])
				}
				*blob = opening.Blob(own, mine)
			})
			w.isPutOut(id, opening.BadProof)
		})
	}
	for _, c := range w.published() {
		if len(c.Proof) != 0 {
			t.Errorf("a complaint about device %s opens a box of piece %d", c.Device.Short(), c.Piece)
		}
	}
}

// isPutOut waits until a device is in quarantine on evidence that opens nothing.
func (w *world) isPutOut(id record.ID, want opening.Fault) {
	w.Helper()
	w.everywhere("quarantined", func(in *Institution) bool {
		s, _, ready, ok := in.Index().Device(id)
		if !ok || s.Quarantined == nil {
			return false
		}
		if q := s.Quarantined; ready || q.How != record.ByEvidence || q.Reason != string(want) || len(q.Proof) != 0 {
			w.Fatalf("ready %v, %+v", ready, q)
		}
		return true
	})
}

// TestAttackNamedSeedBlob: an attacker sees an enrolment on its way and is the first
// to name its blob. Nothing of the blob is opened for that, and its owner enrols with
// the documents that it has signed.
func TestAttackNamedSeedBlob(t *testing.T) {
	w := newWorld(t)
	w.enrol(2)
	victim := &person{Patient: w.patients[0].Patient}
	e := w.enrolment(victim)
	names := func(d *record.Device, _ []he.Seed, blob *[]byte) {
		if *blob != nil {
			*blob = must(w.blobs.Get(t.Context(), e.Device.SeedBlob))
		}
	}
	thief := &person{Patient: w.patients[1].Patient}
	w.isPutOut(w.enrolSpoiled(thief, w.Params, names), opening.ForeignBlob)
	w.submit(hospitalA, contracts.RegistryEnrolDevice, e)
	w.everywhere("the owner's device is ready", func(in *Institution) bool {
		_, _, ready, ok := in.Index().Device(victim.device.ID)
		return ok && ready
	})
	late := &person{Patient: w.patients[1].Patient}
	again := w.enrolment(late)
	again.Device.SeedBlob = e.Device.SeedBlob
	digest := record.Digest(record.DomainDevice, networkName, again.Device)
	again.DeviceSignature, again.PatientSignature = consortium.Sign(late.device.Key, digest), consortium.Sign(late.Key, digest)
	_, err := w.Ledger.Client(w.ids[hospitalA]).Submit(t.Context(), network.Call{Function: contracts.RegistryEnrolDevice.Name(), Args: []string{string(must(json.Marshal(again)))}})
	wantFault(t, fault.Conflict, err)
	for _, c := range w.published() {
		if len(c.Proof) != 0 {
			t.Errorf("a complaint about device %s opens a box of piece %d", c.Device.Short(), c.Piece)
		}
	}
}

// garbageKey posts for hospital B, in the epoch of these processes, a key of piece 0
// that does not open to what it says.
func (w *world) garbageKey(cfgs []Config) {
	w.Helper()
	c := he.Context{Network: networkName, Epoch: w.Epoch.Number}
	p := record.PostedKey{By: msps[hospitalB]}
	p.Key = must(he.SealPieceKey(c, 0, 0, he.NewPieceKey(), p.By, w.Epoch.Members[association:]))
	p.Key.Check = record.RandomID()
	p.Signature = consortium.Sign(cfgs[hospitalB].SignKey, p.Key.Digest(networkName))
	w.submit(hospitalB, contracts.RegistryPostPieceKey, p)
}

// TestAttackGarbagePieceKey: the holder that is sent a key that is none takes it back
// on evidence and makes another, and the epoch's queries are answered.
func TestAttackGarbagePieceKey(t *testing.T) {
	w := newWorld(t)
	cfgs := w.nextEpoch()
	w.garbageKey(cfgs)
	var next [3]*running
	for i, cfg := range cfgs {
		next[i] = w.run(cfg)
		t.Cleanup(next[i].stop)
	}
	w.wait("another key", func() bool {
		k, _ := next[hospitalB].Index().PieceKey(1, 0)
		return k.State.Posted != nil && k.State.Posted.By == msps[association] && k.State.Posted.Key.Round == 1
	})
	w.enrol(11)
	w.measure()
	w.study("exact", true)
	a, err := next[hospitalA].Ask(t.Context(), ask("exact", 0))
	if err != nil {
		t.Fatal(err)
	}
	w.want(a, w.truthOf(1))
	for _, i := range []int{hospitalB, association} {
		raw, found, err := next[i].vault.Get(store.PieceKey(0, 1))
		if err != nil || !found || len(bytes.Trim(raw, "\x00")) == 0 {
			t.Errorf("%s has no key of the second round: %v", msps[i], err)
		}
	}
}

// A holder that makes no keys at all does not hold up the others.
func TestAnotherHolderMakesTheKeyOfOneThatIsSilent(t *testing.T) {
	w := newWorld(t)
	for i, cfg := range w.nextEpoch() {
		cfg.Patience = 50 * time.Millisecond
		if i == hospitalA { // the first holder of pieces 1 and 2
			cfg.Listen.Close()
			continue
		}
		r := w.run(cfg)
		t.Cleanup(r.stop)
		piece := 3 - i // the one that it holds with hospital A alone
		w.wait("the key", func() bool {
			k, _ := r.Index().PieceKey(1, piece)
			return k.State.Posted != nil && k.State.Posted.By == msps[i]
		})
	}
}

// TestAttackPieceKeyOfTheLedger: a key that the ledger says is a holder's, and that the
// holder did not sign, is not used.
func TestAttackPieceKeyOfTheLedger(t *testing.T) {
	w := newWorld(t)
	in := w.members[association].Institution
	c := he.Context{Network: networkName}
	forged := record.PostedKey{By: msps[hospitalB]}
	forged.Key = must(he.SealPieceKey(c, 0, 0, he.NewPieceKey(), forged.By, w.Epoch.Members[association:]))
	for name, sign := range map[string]func(){
		"unsigned":          func() { forged.Signature = nil },
		"of another member": func() { forged.Signature = consortium.Sign(w.Keys[msps[hospitalA]], forged.Key.Digest(networkName)) },
		"of another piece": func() {
			forged.Key.Piece = 1
			forged.Signature = consortium.Sign(w.Keys[msps[hospitalB]], forged.Key.Digest(networkName))
		},
	} {
		t.Run(name, func(t *testing.T) {
			sign()
			wantFault(t, fault.BadSignature, in.pieceKeys.take(t.Context(), 0, forged))
		})
	}
}
