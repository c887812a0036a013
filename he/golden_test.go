package he

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares v as JSON with a file in testdata.
func golden(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	goldenText(t, name, append(got, '\n'))
}

// goldenText compares text with a file in testdata.
func goldenText(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s has changed; if that is meant, the profile needs a new name (go test -update)\n%s", path, got)
	}
}

// vectors are what another implementation of a profile must reproduce. All
// secrets in it are of the test.
type vectors struct {
	Profile       string            `json:"profile"`
	Network       string            `json:"network"`
	Epoch         uint32            `json:"epoch"`
	Device        record.ID         `json:"device"`
	Seeds         []string          `json:"seeds"`
	Hour          int64             `json:"hour"`
	WindowDigest  record.ID         `json:"window_digest"`
	LateWindow    record.ID         `json:"correction_1_window_digest"`
	SeedHashes    []record.ID       `json:"seed_hashes"`
	TernaryDigest []record.ID       `json:"ternary_digests"`
	SecretDigest  record.ID         `json:"secret_digest"`
	NoiseStream   string            `json:"noise_stream"`
	HeartRate     privacy.HourStats `json:"heart_rate"`
	Row           string            `json:"row"`
	PieceKey      string            `json:"piece_key"`
	KeyCheck      record.ID         `json:"piece_key_check"`
	Query         string            `json:"query"`
	CohortRoot    record.ID         `json:"cohort_root"`
	RhoMicro      uint64            `json:"rho_micro"`
	Share         string            `json:"share_of_piece_0"`
}

// TestVectors pins every byte that this package derives.
func TestVectors(t *testing.T) {
	p := defaultParams(t)
	c := Context{Network: "vectors", Epoch: 7}
	v := vectors{Profile: p.profile.Name, Network: c.Network, Epoch: c.Epoch, Device: record.SumID([]byte("device")), Hour: 482136}
	w := Window{Hour: v.Hour}
	v.WindowDigest = windowDigest(t, p, c, w)
	v.LateWindow = windowDigest(t, p, c, Window{v.Hour, 1})
	secret := p.NewKeySum()
	var seeds []Seed
	for piece := range p.Sharing().Pieces() {
		s := Seed(sha256.Sum256([]byte{byte(piece)}))
		seeds = append(seeds, s)
		v.Seeds = append(v.Seeds, hex.EncodeToString(s[:]))
		v.SeedHashes = append(v.SeedHashes, p.SeedHash(c, v.Device, piece, s))
		one := p.NewKeySum()
		ternary := p.Expand(c, v.Device, piece, s)
		if err := one.Add(ternary); err != nil {
			t.Fatal(err)
		}
		if err := secret.Add(ternary); err != nil {
			t.Fatal(err)
		}
		v.TernaryDigest = append(v.TernaryDigest, one.Digest())
	}
	v.SecretDigest = secret.Digest()
	v.NoiseStream = "SHAKE128 of the empty string"
	v.HeartRate = privacy.HourStats{N: 3, Sum: -100, SumSq: 3400, Buckets: [privacy.Buckets]int64{6: 2, 14: 1}}
	sealVector(t, p, c, w, seeds, &v)
	shareVector(t, p, c, w, seeds, &v)
	golden(t, "vectors.json", v)
}

func windowDigest(t *testing.T, p *Params, c Context, w Window) record.ID {
	t.Helper()
	d, err := p.WindowDigest(c.Network, w)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func sealVector(t *testing.T, p *Params, c Context, w Window, seeds []Seed, v *vectors) {
	t.Helper()
	k, err := p.NewDeviceKey(c, v.Device, seeds)
	if err != nil {
		t.Fatal(err)
	}
	payloads, err := p.Schema().Row(map[int]privacy.HourStats{0: v.HeartRate})
	if err != nil {
		t.Fatal(err)
	}
	row, err := p.seal(k, w, payloads, sha3.NewSHAKE128())
	if err != nil {
		t.Fatal(err)
	}
	v.Row = hex.EncodeToString(row)
}

func shareVector(t *testing.T, p *Params, c Context, w Window, seeds []Seed, v *vectors) {
	t.Helper()
	sum := p.NewKeySum()
	if err := sum.Add(p.Expand(c, v.Device, 0, seeds[0])); err != nil {
		t.Fatal(err)
	}
	coeffs := p.Schema().MetricCoefficients(0)
	product, err := p.KeyProduct(c, coeffs, []KeyGroup{{[]Window{w}, sum}})
	if err != nil {
		t.Fatal(err)
	}
	v.Query, v.CohortRoot, v.RhoMicro = "query", record.SumID([]byte("cohort")), 660_000
	plan, err := p.Schema().Plan(0, 1, v.RhoMicro)
	if err != nil {
		t.Fatal(err)
	}
	key := PieceKey(sha256.Sum256([]byte("piece key")))
	v.PieceKey, v.KeyCheck = hex.EncodeToString(key[:]), key.Check(c, 0)
	share, err := p.Share(key, ShareRequest{Network: c.Network, Epoch: c.Epoch, Query: v.Query, CohortRoot: v.CohortRoot, Coeffs: coeffs, Plan: plan, Rows: 1}, product)
	if err != nil {
		t.Fatal(err)
	}
	v.Share = hex.EncodeToString(share)
}

// TestSizesAndMargins pins what a profile costs and how far it is from each of
// its bounds.
func TestSizesAndMargins(t *testing.T) {
	var reports []Report
	for _, c := range []struct {
		profile Profile
		n, t    int
	}{{DefaultProfile(), 3, 2}, {TightProfile(), 7, 2}, {WideProfile(), 3, 2}, {WideProfile(), 7, 4}} {
		sharing, err := NewSharing(c.n, c.t)
		if err != nil {
			t.Fatal(err)
		}
		p, err := New(c.profile, privacy.V1(), sharing)
		if err != nil {
			t.Fatal(err)
		}
		r := p.Safety()
		for _, f := range []*float64{&r.ErrorBits, &r.FloodDistanceLog2, &r.OpeningMarginBits, &r.FailureLog2, &r.FieldMarginBits} {
			*f = math.Round(*f*100) / 100
		}
		reports = append(reports, r)
	}
	golden(t, "safety.json", reports)
}

// TestMeasuredErrorIsWhatTheReportAssumes: the distance of opened coefficients
// from their payloads, without flooding, has the predicted standard deviation.
func TestMeasuredErrorIsWhatTheReportAssumes(t *testing.T) {
	p := defaultParams(t)
	const devices = 400
	w := Window{Hour: 3}
	total := make([]uint64, p.schema.Coefficients()*len(p.rings))
	sum := p.NewKeySum()
	for range devices {
		d := newTestDevice(t, p, testContext)
		residues, err := p.unpack(d.seal(t, p, testContext, w, smallRow(t, p, 60, 100)), p.schema.Coefficients())
		if err != nil {
			t.Fatal(err)
		}
		for i := range total {
			total[i] = (total[i] + residues[i]) % p.profile.Primes[i%len(p.rings)]
		}
		for piece, s := range d.seeds {
			if err := sum.Add(p.Expand(testContext, d.id, piece, s)); err != nil {
				t.Fatal(err)
			}
		}
	}
	all := make([]int, p.schema.Coefficients())
	for i := range all {
		all[i] = i
	}
	v, err := p.KeyProduct(testContext, all, []KeyGroup{{[]Window{w}, sum}})
	if err != nil {
		t.Fatal(err)
	}
	squares := 0.0
	for j := range all {
		for l, q := range p.profile.Primes {
			i := j*len(p.rings) + l
			total[i] = (total[i] + v.residues[i]) % q
		}
		_, distance := p.crt.unscale(p.crt.lift(total[j*len(p.rings) : (j+1)*len(p.rings)]))
		f, _ := distance.Float64()
		squares += f * f
	}
	measured := math.Log2(math.Sqrt(squares / float64(len(all))))
	predicted := math.Log2(math.Sqrt(devices * rowVariance100 / 100))
	if math.Abs(measured-predicted) > 0.6 {
		t.Errorf("errors of %d rows: 2^%.2f measured, 2^%.2f predicted", devices, measured, predicted)
	}
}
