package institution

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution/share"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

func TestMemberOfAnotherNetworkStops(t *testing.T) {
	w := newWorld(t)
	cfg := w.config(hospitalA)
	cfg.Dir = filepath.Join(w.dir, "other")
	cfg.Genesis.CapMicro++
	in, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	wantFault(t, fault.Conflict, in.Run(ctx))
	if _, err := in.Ask(ctx, record.Ask{Study: "none"}); err == nil {
		t.Error("it asks all the same")
	}
}

func TestConfigIsCheckedAgainstTheGenesis(t *testing.T) {
	w := newWorld(t)
	wrong := map[string]func(*Config){
		"member":     func(c *Config) { c.Member = 3 },
		"identity":   func(c *Config) { c.Identity = w.ids[hospitalB] },
		"keys":       func(c *Config) { c.Keys = w.Boxes[msps[hospitalB]] },
		"no keys":    func(c *Config) { c.Keys = nil },
		"signing":    func(c *Config) { c.SignKey = w.Keys[msps[hospitalB]] },
		"height":     func(c *Config) { c.Height = nil },
		"profile":    func(c *Config) { c.Genesis.Profile = "other" },
		"schema":     func(c *Config) { c.Genesis.Schema = record.ID{} },
		"no signing": func(c *Config) { c.SignKey = nil },
		"roots":      func(c *Config) { c.Roots = nil },
	}
	for name, change := range wrong {
		cfg := w.config(hospitalA)
		cfg.Dir = filepath.Join(w.dir, "config")
		change(&cfg)
		if in, err := New(cfg); err == nil {
			in.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestBlobsThatComeLateStillCount(t *testing.T) {
	w := newWorld(t)
	w.enrol(2)
	w.Tick((firstHour + dayHours) * 3600)
	early, late := w.upload(0, w.patients[0]), w.upload(2, w.patients[1])
	held := late[0].Pointer.Blob
	w.blobs.Mu.Lock()
	data := w.blobs.Data[held]
	delete(w.blobs.Data, held)
	w.blobs.Mu.Unlock()
	w.submit(hospitalA, contracts.PointerAnchor, record.Anchor{Pointers: append(early, late...)})
	w.everywhere("rows that are there", func(in *Institution) bool { return in.Index().Counts().Available == len(early) })
	w.put(data)
	w.everywhere("all rows", func(in *Institution) bool { return in.Index().Counts().Available == len(early)+len(late) })
}

func TestBacklogNeitherStarvesNorFloods(t *testing.T) {
	var b backlog[int]
	if got := b.take([]int{1}); len(got) != 1 {
		t.Fatalf("took %v", got)
	}
	b.keep([]int{1})
	due := b.due
	if got := b.take([]int{2}); len(got) != 1 || got[0] != 2 {
		t.Fatalf("what waits was handed out early: %v", got)
	}
	b.keep([]int{2})
	if b.due != due {
		t.Error("what is new puts off what waits")
	}
	b.due = time.Now()
	if got := b.take(nil); len(got) != 2 {
		t.Fatalf("took %v when due", got)
	}
	if b.keep(nil); b.pause != 0 || b.err("x") != nil {
		t.Error("an empty backlog still waits")
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	w := settledWorld(t, 11)
	if _, err := w.members[hospitalA].Ask(t.Context(), ask("exact", 0)); err != nil {
		t.Fatal(err)
	}
	text := w.log.String()
	in := w.members[hospitalA]
	for _, name := range []string{store.Seed(w.patients[0].device.ID, 1), store.Seed(w.patients[0].device.ID, 2), store.PieceKey(1, 0), store.PieceKey(2, 0)} {
		secret, found, err := in.vault.Get(name)
		if err != nil || !found {
			t.Fatalf("%s: %v", name, err)
		}
		for _, form := range []string{hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret), string(secret)} {
			if strings.Contains(text, form) {
				t.Errorf("%s is in the log", name)
			}
		}
	}
}

func TestWallClockTicksByItself(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.Clock = record.ClockWall })
	w.everywhere("ticks", func(in *Institution) bool {
		now := time.Now().Unix()
		return in.Index().Time() > now-60 && in.Index().Time() <= now
	})
}

// FuzzOpen feeds whatever bytes as another member's answer.
func FuzzOpen(f *testing.F) {
	w := settledWorld(f, 11)
	id := w.agreedQuery("exact")
	in := w.members[hospitalA].Institution
	honest := must(w.getShare(hospitalA, hospitalB, id, 0))
	q, err := in.index.Query(id)
	if err != nil {
		f.Fatal(err)
	}
	want := must(in.asker.open(q, hospitalB, honest))
	f.Add(must(proto.Marshal(honest)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &share.GetShareResponse{}
		if proto.Unmarshal(data, r) != nil {
			return
		}
		got, err := in.asker.open(q, hospitalB, r)
		if err != nil {
			return
		}
		for piece, share := range got {
			if string(want[piece]) != string(share) {
				t.Errorf("piece %d has other bytes than the member sent", piece)
			}
		}
	})
}
