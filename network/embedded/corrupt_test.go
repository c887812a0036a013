package embedded

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
)

const secrets = conformance.Collection

// sample makes a closed ledger whose block n is what its comment says.
func sample(t *testing.T) *harness {
	t.Helper()
	h := newHarness(t)
	a, b := h.Client(t, conformance.OrgA), h.Client(t, conformance.OrgB)
	private := func(key, value string) network.Call {
		return network.Call{
			Function: "putPrivate", Args: []string{secrets, key},
			Transient: map[string][]byte{"value": []byte(value)},
		}
	}
	mustSubmit(t, a, network.Call{Function: "add", Args: []string{"n", "1"}})                 // 1
	mustSubmit(t, b, network.Call{Function: "add", Args: []string{"n", "1"}})                 // 2
	mustSubmit(t, a, private("name", "Ada"))                                                  // 3
	mustSubmit(t, a, private("gone", "Bob"))                                                  // 4
	mustSubmit(t, a, network.Call{Function: "purgePrivate", Args: []string{secrets, "gone"}}) // 5
	mustSubmit(t, b, putCall("k"))                                                            // 6
	mustSubmit(t, b, network.Call{Function: "del", Args: []string{"k"}})                      // 7
	verifies(t, h.ledger)
	h.close(t)
	return h
}

// forger rewrites the chain as its operator could.
type forger struct {
	t        *testing.T
	db       *pebble.DB
	operator network.Identity
}

func (f forger) header(number uint64) header {
	f.t.Helper()
	var s sealedHeader
	if found, err := decodeStored(f.db, blockKey(number), &s); err != nil || !found {
		f.t.Fatalf("block %d: %v", number, err)
	}
	return s.Header
}

func (f forger) tx(number uint64) transaction {
	f.t.Helper()
	var tx transaction
	if found, err := decodeStored(f.db, txKey(version{Block: number}), &tx); err != nil || !found {
		f.t.Fatalf("transaction of block %d: %v", number, err)
	}
	return tx
}

// replace puts another transaction into a block and signs everything again.
func (f forger) replace(number uint64, tx transaction) {
	f.t.Helper()
	set(f.t, f.db, txKey(version{Block: number}), tx)
	data, err := get(f.db, txKey(version{Block: number}))
	if err != nil {
		f.t.Fatal(err)
	}
	h := f.header(number)
	h.Data = record.Root([]record.ID{sha256.Sum256(data)})
	f.resign(h)
}

// resign signs a changed header and every one behind it.
func (f forger) resign(h header) {
	f.t.Helper()
	var end tip
	if _, err := decodeStored(f.db, keyTip, &end); err != nil {
		f.t.Fatal(err)
	}
	for {
		batch := f.db.NewBatch()
		if _, err := appendHeader(batch, "test", h, f.operator); err != nil {
			f.t.Fatal(err)
		}
		if err := batch.Commit(pebble.Sync); err != nil {
			f.t.Fatal(err)
		}
		if h.Number == end.Number {
			return
		}
		next := f.header(h.Number + 1)
		next.Previous = h.hash("test")
		h = next
	}
}

// corruption is a change of a sample's store, and what Verify must say of it.
type corruption struct {
	name   string
	block  uint64
	tx     int
	words  string
	change func(f forger)
}

func keyHash(key string) record.ID { return sha256.Sum256([]byte(key)) }

var corruptions = []corruption{
	{"a value changes", 2, 0, "another value", func(f forger) {
		f.set(stateKey("n"), append(version{Block: 2}.append(nil), '7'))
	}},
	{"a value disappears", 2, 0, "is missing", func(f forger) { f.del(stateKey("n")) }},
	{"a value appears", 2, 0, "not from the chain", func(f forger) {
		f.set(stateKey("m"), append(version{Block: 2}.append(nil), '7'))
	}},
	{"a deleted value returns", 6, 0, "not from the chain", func(f forger) {
		f.set(stateKey("k"), append(version{Block: 6}.append(nil), 'v'))
	}},
	{"history disappears", 1, 0, "is missing", func(f forger) { f.del(historyKey("n", version{Block: 1})) }},
	{"history appears", 3, 0, "not from the chain", func(f forger) { f.set(historyKey("n", version{Block: 3}), nil) }},
	{"a private value changes", 3, 0, "hashed", func(f forger) {
		set(f.t, f.db, valueKey(secrets, keyHash("name"), version{Block: 3}), privateValue{Key: "name", Value: []byte("Eve")})
	}},
	{"private state changes", 3, 0, "another value", func(f forger) {
		f.set(privateKey(secrets, "name"), append(version{Block: 3}.append(nil), "Eve"...))
	}},
	{"a private value is lost", 3, 0, "never purged", func(f forger) {
		f.del(valueKey(secrets, keyHash("name"), version{Block: 3}))
		f.del(privateKey(secrets, "name"))
	}},
	{"a purged value returns", 4, 0, "not from the chain", func(f forger) {
		set(f.t, f.db, valueKey(secrets, keyHash("gone"), version{Block: 4}), privateValue{Key: "gone", Value: []byte("Bob")})
	}},
	{"a transaction changes", 2, -1, "commits to", func(f forger) {
		tx := f.tx(2)
		tx.Response.Message = "fine"
		set(f.t, f.db, txKey(version{Block: 2}), tx)
	}},
	{"a transaction is lost", 2, 0, "missing", func(f forger) { f.del(txKey(version{Block: 2})) }},
	{"a header changes", 2, -1, "operator's signature", func(f forger) {
		h := f.header(2)
		h.Time++
		set(f.t, f.db, blockKey(2), sealedHeader{Header: h, Signature: make([]byte, 64)})
	}},
	{"a block is lost", 3, -1, "missing", func(f forger) { f.del(blockKey(3)) }},
	{"a block is replaced by another", 3, -1, "number 2", func(f forger) {
		data, _ := get(f.db, blockKey(2))
		f.set(blockKey(3), data)
	}},
	{"the end is cut off and left behind", 5, -1, "behind the last block", func(f forger) {
		set(f.t, f.db, keyTip, tip{Number: 5, Hash: f.header(5).hash("test")})
	}},
	{"the tip is wrong", 7, -1, "tip names", func(f forger) { set(f.t, f.db, keyTip, tip{Number: 7}) }},
	{"the genesis changes", 0, -1, "block 0 commits to", func(f forger) {
		var g genesis
		_, _ = decodeStored(f.db, keyGenesis, &g)
		g.Roots = g.Roots[:1]
		set(f.t, f.db, keyGenesis, g)
	}},
	{"the operator alters a transaction", 2, 0, "creator's signature", func(f forger) {
		tx := f.tx(2)
		tx.Proposal = bytes.Replace(tx.Proposal, []byte("add"), []byte("put"), 1)
		f.replace(2, tx)
	}},
	{"the operator turns a decision", 2, 0, "MVCC_READ_CONFLICT and is VALID", func(f forger) {
		h := f.header(2)
		h.Codes = []byte{byte(codeMVCC)}
		f.resign(h)
	}},
	{"the operator invents a read", 6, 0, "VALID and is MVCC_READ_CONFLICT", func(f forger) {
		tx := f.tx(6)
		tx.Set.Reads = []read{{Key: "n", Version: &version{Block: 1}}}
		f.replace(6, tx)
	}},
	{"the operator invents a write", 7, 0, "is missing", func(f forger) {
		tx := f.tx(7)
		tx.Set.Writes = append(tx.Set.Writes, write{Key: "z", Value: []byte("1")})
		f.replace(7, tx)
	}},
	{"the operator disorders a write set", 7, 0, "canonical", func(f forger) {
		tx := f.tx(7)
		tx.Set.Writes = append(tx.Set.Writes, write{Key: "a", Value: []byte("1")})
		f.replace(7, tx)
	}},
	{"the operator repeats a transaction", 7, 0, "on the chain before", func(f forger) { f.replace(7, f.tx(6)) }},
	{"the operator drops a block", 6, -1, "does not follow", func(f forger) {
		batch := f.db.NewBatch()
		if _, err := appendHeader(batch, "test", header{Number: 6, Data: f.header(6).Data, Codes: []byte{0}}, f.operator); err != nil {
			f.t.Fatal(err)
		}
		last := f.header(7)
		last.Previous = header{Number: 6, Data: f.header(6).Data, Codes: []byte{0}}.hash("test")
		if _, err := appendHeader(batch, "test", last, f.operator); err != nil {
			f.t.Fatal(err)
		}
		if err := batch.Commit(pebble.Sync); err != nil {
			f.t.Fatal(err)
		}
	}},
}

func TestCorruptionIsFoundAndNamed(t *testing.T) {
	for _, c := range corruptions {
		t.Run(c.name, func(t *testing.T) {
			h := sample(t)
			operator, err := operatorOf(h.cfg, false)
			if err != nil {
				t.Fatal(err)
			}
			inStore(t, h.cfg.Dir, func(db *pebble.DB) { c.change(forger{t, db, operator}) })
			_, err = Verify(t.Context(), Config{Dir: h.cfg.Dir})
			var found *CorruptError
			if !errors.As(err, &found) || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("got %v, want it to say %q", err, c.words)
			}
			if found.Block != c.block || found.Tx != c.tx {
				t.Fatalf("it blames block %d, transaction %d: %v", found.Block, found.Tx, err)
			}
		})
	}
}

func (f forger) set(key, value []byte) {
	f.t.Helper()
	if err := f.db.Set(key, value, pebble.Sync); err != nil {
		f.t.Fatal(err)
	}
}

func (f forger) del(key []byte) {
	f.t.Helper()
	if err := f.db.Delete(key, pebble.Sync); err != nil {
		f.t.Fatal(err)
	}
}

// TestFollowersSeeCorruption: Blocks does not hand out what it did not check.
func TestFollowersSeeCorruption(t *testing.T) {
	h := sample(t)
	inStore(t, h.cfg.Dir, func(db *pebble.DB) {
		f := forger{t: t, db: db}
		tx := f.tx(2)
		tx.Set.Writes[0].Value = []byte("7")
		set(t, db, txKey(version{Block: 2}), tx)
	})
	h.open(t)
	for b, err := range h.ledger.Blocks(t.Context(), 0) {
		var found *CorruptError
		if errors.As(err, &found) && found.Block == 2 {
			return
		}
		if err != nil || b.Number >= 2 {
			t.Fatalf("got block %v, error %v", b, err)
		}
	}
}

// TestDamagedFiles: bits that flip on the disk are found, wherever they are.
func TestDamagedFiles(t *testing.T) {
	h := sample(t)
	inStore(t, h.cfg.Dir, func(db *pebble.DB) {
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	})
	tables, err := filepath.Glob(filepath.Join(h.cfg.Dir, "db", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	for _, name := range tables {
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{10, len(whole) / 3, len(whole) / 2} {
			broken := bytes.Clone(whole)
			broken[at] ^= 4
			if err := os.WriteFile(name, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(t.Context(), h.cfg); err == nil {
				t.Fatalf("byte %d of %s may change", at, filepath.Base(name))
			}
		}
		if err := os.WriteFile(name, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Verify(t.Context(), h.cfg); err != nil {
		t.Fatal(err)
	}
}

func TestReport(t *testing.T) {
	h := sample(t)
	r, err := Verify(t.Context(), Config{Dir: h.cfg.Dir})
	if err != nil {
		t.Fatal(err)
	}
	if r.Channel != "test" || r.Blocks != 8 || r.Transactions != 7 || r.Invalid != 0 || r.Purged != 1 {
		t.Fatalf("got %+v", r)
	}
	h.open(t)
	if number, hash := h.ledger.Tip(); number != 7 || hash != r.Tip || r.Genesis.IsZero() {
		t.Fatalf("the tip is %d %s, the report %+v", number, hash, r)
	}
}

// TestPurgedBytesLeaveTheDisk: after a purge and a restart no file holds the
// private value or its key any more.
func TestPurgedBytesLeaveTheDisk(t *testing.T) {
	h := newHarness(t)
	h.cfg.lazy = true
	h.Restart(t)
	// Random text of many letters: compression would leave no trace of anything more
	// regular.
	text := func() string {
		b := make([]byte, 48)
		rand.Read(b)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	key, value, other := text(), text(), text()
	c := h.Client(t, conformance.OrgA)
	mustSubmit(t, c, network.Call{
		Function: "putPrivate", Args: []string{secrets, "other"},
		Transient: map[string][]byte{"value": []byte(other)},
	})
	private := network.Call{
		Function: "transientPrivate", Args: []string{secrets},
		Transient: map[string][]byte{"key": []byte(key), "value": []byte(value)},
	}
	mustSubmit(t, c, private)
	// One value in the lowest table, one in the log.
	if err := h.ledger.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
	mustSubmit(t, c, private)
	if !onDisk(t, h.cfg.Dir, value) || !onDisk(t, h.cfg.Dir, key) {
		t.Fatal("the test does not see the value in the files")
	}
	purge := private
	purge.Function = "transientPurge"
	mustSubmit(t, c, purge)
	h.Restart(t) // before or after scrubbing: it is made up for
	waitFor(t, func() bool {
		pending, err := scrubPending(h.ledger.db)
		if err != nil {
			t.Fatal(err)
		}
		return !pending
	})
	h.Restart(t)
	for _, secret := range []string{value, key} {
		if onDisk(t, h.cfg.Dir, secret) {
			t.Fatalf("%q is still in a file", secret)
		}
	}
	if !onDisk(t, h.cfg.Dir, other) {
		t.Fatal("the other value is gone, or cannot be seen")
	}
	verifies(t, h.ledger)
}

func onDisk(t *testing.T, dir, text string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "db", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(text)) {
			return true
		}
	}
	return false
}
