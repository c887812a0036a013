package opening

import (
	"bytes"
	"crypto/ecdh"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
)

var update = flag.Bool("update", false, "write the golden file anew")

// vector is what another implementation must reproduce: the box from the ephemeral
// key and the fresh bytes, and that the opening verifies. Bytes are hexadecimal; all
// secrets are of the test.
type vector struct {
	Kind      string    `json:"kind"`
	Holder    string    `json:"holder"`
	Private   string    `json:"holder_private"`
	Public    string    `json:"holder_public"`
	Place     record.ID `json:"place"`
	Ephemeral string    `json:"ephemeral_private"`
	Fresh     string    `json:"fresh"`
	Secret    string    `json:"secret"`
	Hash      record.ID `json:"hash"`
	Box       string    `json:"box"`
	WrongHash record.ID `json:"wrong_hash"`
	Opening   string    `json:"opening_of_wrong_hash"`
}

func fixed(label string, n int) []byte {
	var out []byte
	for i := byte(0); len(out) < n; i++ {
		d := record.SumID(append([]byte(label), i))
		out = append(out, d[:]...)
	}
	return out[:n]
}

func newVector(t *testing.T, kind string, old *vector) vector {
	t.Helper()
	private, err := ecdh.X25519().NewPrivateKey(fixed(kind+" holder", 32))
	if err != nil {
		t.Fatal(err)
	}
	ephemeral, err := ecdh.X25519().NewPrivateKey(fixed(kind+" ephemeral", 32))
	if err != nil {
		t.Fatal(err)
	}
	m := record.Member{MSP: "HospitalB", SeedKey: private.PublicKey().Bytes(), PieceKey: private.PublicKey().Bytes()}
	a := SeedPlace{Network: "vectors", Profile: "n8192-q212-t128", Epoch: 7, Device: record.SumID([]byte("device")), Piece: 2}.To(m)
	if kind == "piece key" {
		a = KeyPlace{Network: "vectors", Epoch: 7, Piece: 2, Round: 1, From: "HospitalA"}.To(m)
	}
	secret, fresh := fixed(kind+" secret", SecretBytes), fixed(kind+" fresh", 64)
	box, err := a.seal(ephemeral, fresh, secret)
	if err != nil {
		t.Fatal(err)
	}
	v := vector{
		Kind: kind, Holder: m.MSP, Private: hex.EncodeToString(private.Bytes()), Public: hex.EncodeToString(m.SeedKey), Place: a.place,
		Ephemeral: hex.EncodeToString(ephemeral.Bytes()), Fresh: hex.EncodeToString(fresh), Secret: hex.EncodeToString(secret),
		Hash: a.hash(secret), Box: hex.EncodeToString(box), WrongHash: otherHash,
	}
	v.Opening = openingOf(t, a, private.Bytes(), box, old)
	return v
}

// openingOf is the recorded opening if it verifies, since every proof is another.
func openingOf(t *testing.T, a Address, private, box []byte, old *vector) string {
	t.Helper()
	if old != nil {
		proof, err := hex.DecodeString(old.Opening)
		if err != nil {
			t.Fatal(err)
		}
		if fault, err := a.Examine(box, otherHash, proof); err == nil && fault == WrongSecret {
			return old.Opening
		}
	}
	proof, err := a.Complain(private, box, otherHash)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(proof)
}

func TestVectors(t *testing.T) {
	path := filepath.Join("testdata", "boxes.json")
	want, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	old := make([]*vector, 2)
	if err == nil {
		if err := json.Unmarshal(want, &old); err != nil {
			t.Fatal(err)
		}
	}
	got, err := json.MarshalIndent([]vector{newVector(t, "seed", old[0]), newVector(t, "piece key", old[1])}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got, want) {
		t.Errorf("boxes are others than before; if that is meant, their domains need new names (go test -update)\n%s", got)
	}
}
