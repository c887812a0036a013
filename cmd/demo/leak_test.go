package demo

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/cmd/verify"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/recording"
)

// planted is a reading of everybody in the made-up data that is in no file by
// accident.
const planted = "123.456789"

// needle is something that must not be found, with its name.
type needle struct {
	name  string
	bytes []byte
}

// checkNoLeak looks for keys, seeds and readings in everything that gateway,
// ledger and blob store wrote: the files as they are, and the keys and values of
// the databases, which compress.
func checkNoLeak(t *testing.T, w *world) {
	t.Helper()
	needles := secretsOf(t, w)
	if len(needles) < 100 {
		t.Fatalf("only %d things to look for", len(needles))
	}
	scanned := 0
	scan := func(where string, data []byte) {
		scanned += len(data)
		for _, n := range needles {
			if bytes.Contains(data, n.bytes) {
				t.Errorf("%s contains %s", where, n.name)
			}
		}
	}
	for _, part := range []string{"gateway", "ledger"} {
		scanFiles(t, filepath.Join(w.dir, part), scan)
	}
	if scanned < 100_000 {
		t.Errorf("only %d bytes were scanned", scanned)
	}
	// The same search finds what is there: a hospital's directory has the key that
	// encrypts it, in the clear beside it.
	found := false
	scanFiles(t, filepath.Join(w.dir, "institutions"), func(_ string, data []byte) {
		for _, n := range needles {
			found = found || bytes.Contains(data, n.bytes)
		}
	})
	if !found {
		t.Error("the search finds nothing even where keys are")
	}
}

func secretsOf(t *testing.T, w *world) []needle {
	t.Helper()
	var out []needle
	secret := func(name string, b []byte) {
		if len(b) < 16 {
			t.Fatalf("%s has only %d bytes", name, len(b))
		}
		out = append(out, needle{name, b}, needle{name + " in hexadecimal", []byte(hex.EncodeToString(b))},
			needle{name + " in base64", []byte(base64.RawStdEncoding.EncodeToString(b))})
	}
	for _, o := range w.orgs {
		for _, key := range []*he.HPKEPrivate{o.Boxes.Seed, o.Boxes.Piece, o.Boxes.Share, o.Boxes.Detail} {
			k, err := key.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			secret("an HPKE key of "+o.msp, k)
		}
		secret("the signing key of "+o.msp, scalar(t, o.Sign))
		secret("the network key of "+o.msp, scalar(t, o.Identity.Key))
	}
	secret("the registrar's secret", w.registrarSecret)
	for _, p := range w.people {
		secret("the consent key of "+p.ID, scalar(t, p.key))
	}
	for name, seed := range seedsOf(t, w) {
		secret(name, seed)
	}
	scanFiles(t, w.dir, func(where string, data []byte) {
		if strings.HasSuffix(where, ".key") && len(data) >= 16 && len(data) <= 64 {
			secret("the key file "+filepath.Base(where), data)
		}
	})
	return append(out, readingsOf(t, w)...)
}

func scalar(t *testing.T, k *ecdsa.PrivateKey) []byte {
	t.Helper()
	b, err := k.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// seedsOf opens every device's seeds as their holders do.
func seedsOf(t *testing.T, w *world) map[string][]byte {
	t.Helper()
	store, err := blob.Open(filepath.Join(w.dir, "gateway", "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	out := map[string][]byte{}
	for _, d := range w.index.Devices(0) {
		if w.index.ErasedDevice(d.ID) {
			if stored, err := store.Has(context.Background(), d.Device.SeedBlob); err != nil || stored {
				t.Errorf("the seeds of an erased device are stored: %v", err)
			}
			continue
		}
		b, err := store.Get(context.Background(), d.Device.SeedBlob)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range w.orgs {
			seeds, err := w.params.OpenSeeds(he.Context{Network: w.genesis.Network, Epoch: d.Device.Epoch}, d.ID, i, w.genesis.Members[i], o.Boxes.Seed, b, d.Device.SeedHashes)
			if err != nil {
				t.Fatal(err)
			}
			for piece, s := range seeds {
				out["seed of piece "+string(rune('0'+piece))+" of device "+d.ID.Short()] = s[:]
			}
		}
	}
	return out
}

// readingsOf is the planted reading in the forms in which a program would write
// it, and everybody's hours as grid codes.
func readingsOf(t *testing.T, w *world) []needle {
	t.Helper()
	coefficient := []byte{0, 0, 0, 0, 0x07, 0x5b, 0xcd, 0x15} // 123456789
	little := bytes.Clone(coefficient)
	for i := range 4 {
		little[i], little[7-i] = little[7-i], little[i]
	}
	out := []needle{{"a reading", []byte(planted)}, {"a reading's digits", []byte("123456789")}, {"a reading as a big-endian number", coefficient}, {"a reading as a little-endian number", little}}
	for _, p := range w.people {
		for _, key := range []string{"heart_rate", "pulse_rate"} {
			m, _ := wearable.ByKey(key)
			out = append(out, columnNeedles(t, p, m)...)
		}
	}
	return out
}

// columnNeedles is the first eight minutes in a row that the person has of the
// metric, as codes: 16 bits in both orders, and JSON.
func columnNeedles(t *testing.T, p *person, m wearable.Metric) []needle {
	t.Helper()
	codes := map[int64]uint16{}
	for _, s := range p.Samples {
		if s.Slot == m.Slot && m.InRange(s.Value) && s.Value.Finite() {
			a, _ := wearable.NewAccumulator(m.Key)
			a.Add(s.Value)
			codes[wearable.MinuteOf(s.Unix)], _ = a.Code()
		}
	}
	var big, little, text []byte
	for minute := recording.Epoch/60 + 60; minute < recording.Epoch/60+140 && len(big) < 16; minute++ {
		c := codes[minute]
		if len(big) == 0 && c == 0 {
			continue
		}
		big, little = binary.BigEndian.AppendUint16(big, c), binary.LittleEndian.AppendUint16(little, c)
		text = append(append(text, []byte(uintText(c))...), ',')
	}
	if len(big) < 16 || bytes.Count(big, []byte{0}) > 14 {
		return nil
	}
	name := "minutes of " + m.Key + " of " + p.ID
	return []needle{{name + " (big-endian)", big}, {name + " (little-endian)", little}, {name + " (JSON)", text}}
}

func uintText(c uint16) string { return strconv.Itoa(int(c)) }

// scanFiles reads every file below dir, and every key and value of the databases
// there.
func scanFiles(t *testing.T, dir string, scan func(where string, data []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if _, err := os.Stat(filepath.Join(path, "LOCK")); err == nil {
				scanDatabase(t, path, scan)
			}
			return nil
		}
		b, err := os.ReadFile(path)
		scan(path, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func scanDatabase(t *testing.T, dir string, scan func(where string, data []byte)) {
	t.Helper()
	db, err := pebble.Open(dir, &pebble.Options{ReadOnly: true, Logger: state.Quiet{}})
	if err != nil {
		t.Fatalf("opening the database %s: %v", dir, err)
	}
	defer db.Close()
	it, err := db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		scan(dir+" (a key)", it.Key())
		scan(dir+" (a value)", it.Value())
	}
}

// checkVerifies runs the offline check, which must accept the state, and must
// notice each of three changes to it.
func checkVerifies(t *testing.T, state string) {
	t.Helper()
	ctx := context.Background()
	var out bytes.Buffer
	if err := verify.Check(ctx, state, verify.Tip{}, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "reports: 1 checked, 0 wrong") {
		t.Errorf("the check did not see the erasure:\n%s", out.String())
	}
	if !strings.Contains(out.String(), "members' newest blocks: 3 checked, 0 wrong") || strings.Contains(out.String(), "told of: 0 checked") {
		t.Errorf("the check did not hold what others have seen against the ledger:\n%s", out.String())
	}
	if !strings.Contains(out.String(), "claims asked, with their proofs: 2 checked") {
		t.Errorf("the check did not see the attestation:\n%s", out.String())
	}
	blobs := filepath.Join(state, "gateway", "blobs")
	var victim string
	err := filepath.WalkDir(blobs, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && len(filepath.Base(path)) == len(record.ID{})*2 {
			b, rerr := os.ReadFile(path)
			if _, _, derr := record.DecodeRows(b); rerr == nil && derr == nil {
				victim = path
			}
		}
		return err
	})
	if err != nil || victim == "" {
		t.Fatalf("no rows blob below %s: %v", blobs, err)
	}
	b, err := os.ReadFile(victim)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(victim, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := verify.Check(ctx, state, verify.Tip{}, io.Discard); err == nil {
		t.Error("a changed blob was not noticed")
	}
	if err := os.Remove(victim); err != nil {
		t.Fatal(err)
	}
	if err := verify.Check(ctx, state, verify.Tip{}, io.Discard); err == nil {
		t.Error("a missing blob was not noticed")
	}
	checkSeeds(t, state)
	if err := os.WriteFile(filepath.Join(state, "VERSION"), []byte("99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := verify.Check(ctx, state, verify.Tip{}, io.Discard); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a newer state directory was not refused: %v", err)
	}
}

// checkSeeds wants the check to notice that a device's sealed seeds are gone.
func checkSeeds(t *testing.T, state string) {
	t.Helper()
	var before, after bytes.Buffer
	_ = verify.Check(t.Context(), state, verify.Tip{}, &before) // other things are wrong by now
	victim := ""
	err := filepath.WalkDir(filepath.Join(state, "gateway", "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if _, ok := opening.BlobDevice(b); ok {
			victim = path
		}
		return err
	})
	if err != nil || victim == "" {
		t.Fatalf("no sealed seeds are stored: %v", err)
	}
	if err := os.Remove(victim); err != nil {
		t.Fatal(err)
	}
	if err := verify.Check(t.Context(), state, verify.Tip{}, &after); err == nil {
		t.Error("the check holds without a device's seeds")
	}
	line := regexp.MustCompile(`sealed seeds: (\d+) checked, (\d+) wrong`)
	was, is := line.FindStringSubmatch(before.String()), line.FindStringSubmatch(after.String())
	if was == nil || is == nil || was[1] == "0" || was[2] != "0" || is[2] != "1" {
		t.Errorf("sealed seeds before %v, after %v", was, is)
	}
}

// checkParties wants what each party saw in the printed text.
func checkParties(t *testing.T, out string) {
	t.Helper()
	for _, want := range []string{
		"== The gateway", "== The ledger", "== The institutions", "== The asking hospital",
		"== Claims about one patient", "attested: proven", "declined: no proof came",
		"== A patient (", "== A patient who refused", "== A patient who revoked", "== An erasure", "== Cost",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	for _, added := range []string{"== A patient who refused", "== A patient who revoked"} {
		_, rest, _ := strings.Cut(out, added)
		if _, rest, _ = strings.Cut(rest, "\n"); !strings.HasPrefix(rest, "In 0 answers.") {
			t.Errorf("%s: the next line is %.40q, want \"In 0 answers.\"", added, rest)
		}
	}
}
