package bridge

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
)

// renewed is the epoch after the genesis, in which hospital B has new keys, with
// the votes of these members.
func (w *world) renewed(voters ...int) (record.EpochState, *he.MemberKeys) {
	w.t.Helper()
	private, err := he.NewMemberKeys()
	if err != nil {
		w.t.Fatal(err)
	}
	e := record.Epoch{Number: 1, Threshold: 2, Members: slices.Clone(w.genesis.Members), Profile: w.genesis.Profile}
	e.Members[1] = private.Enter(e.Members[1])
	s := record.EpochState{Epoch: e}
	for _, i := range voters {
		sig, err := record.Sign(w.members[i].sign, e.Digest(w.genesis.Network))
		if err != nil {
			w.t.Fatal(err)
		}
		s.Votes = append(s.Votes, record.EpochVote{Member: w.members[i].MSP, Signature: sig})
	}
	return s, private
}

func (w *world) inEpochs(dir string, epochs ...record.EpochState) (*Hub, error) {
	return Open(Config{Dir: dir, Genesis: w.genesis, Epochs: epochs, Params: w.params, GatewayURL: w.server.URL})
}

func TestADeviceOfALaterEpochSealsItsSeedsToThatEpochsMembers(t *testing.T) {
	w := newWorld(t)
	s, private := w.renewed(0, 2)
	dir := filepath.Join(t.TempDir(), "hub")
	h, err := w.inEpochs(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	d, e, err := h.NewDevice(record.RandomID(), []string{"heart_rate"}, epochStart/3600)
	if err != nil {
		t.Fatal(err)
	}
	c := he.Context{Network: w.genesis.Network, Epoch: 1}
	if e.Document.Device.Epoch != 1 {
		t.Errorf("the device enrols in epoch %d", e.Document.Device.Epoch)
	}
	if _, err := w.params.OpenSeeds(c, d.ID(), 1, s.Epoch.Members[1], private.Seed, e.SeedBlob, e.Document.Device.SeedHashes); err != nil {
		t.Errorf("with the new key: %v", err)
	}
	if _, err := w.params.OpenSeeds(c, d.ID(), 1, w.members[1].Member, w.members[1].boxes.Seed, e.SeedBlob, e.Document.Device.SeedHashes); err == nil {
		t.Error("the key that was replaced opens seeds of the new epoch")
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.inEpochs(dir); err == nil || !strings.Contains(err.Error(), "epoch") {
		t.Errorf("the store was opened in another epoch: %v", err)
	}
}

// TestAttackEpochMadeUpByTheGateway: whoever delivers epochs wants devices to seal
// to members of its own making.
func TestAttackEpochMadeUpByTheGateway(t *testing.T) {
	w := newWorld(t)
	honest, _ := w.renewed(0, 2)
	alone, _ := w.renewed(0)
	twice, _ := w.renewed(0, 0)
	altered := honest
	altered.Epoch.Threshold = 3
	joined := honest
	joined.Epoch.Members = append(slices.Clone(joined.Epoch.Members), record.Member{MSP: "Mallory"})
	skipped := honest
	skipped.Epoch.Number = 2
	for name, epochs := range map[string][]record.EpochState{
		"one vote": {alone}, "one vote twice": {twice}, "altered": {altered}, "a member more": {joined}, "one left out": {skipped},
		"repeated": {honest, honest},
	} {
		t.Run(name, func(t *testing.T) {
			if h, err := w.inEpochs(filepath.Join(t.TempDir(), "hub"), epochs...); err == nil {
				h.Close()
				t.Error("it is followed")
			}
		})
	}
}
