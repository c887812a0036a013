package he

import (
	"bytes"
	"crypto/sha3"
	"errors"
	"math"
	"math/big"
	"slices"
	"testing"

	"github.com/tuneinsight/lattigo/v5/ring"
	"github.com/tuneinsight/lattigo/v5/utils/sampling"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
)

// vectorOf makes the key vector of one device and window.
func vectorOf(t testing.TB, p *Params, d *testDevice, piece, slot int, w Window) *KeyVector {
	t.Helper()
	v, err := p.KeyProduct(testContext, p.Schema().MetricCoefficients(slot), groupsOf(t, p, []*testDevice{d}, w)[piece])
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestAttackSecondRowUnderOneWindow: two rows of one device under one a_t differ
// by the difference of their messages, for everyone to read. So a key seals a
// window once.
func TestAttackSecondRowUnderOneWindow(t *testing.T) {
	p := defaultParams(t)
	d := newTestDevice(t, p, testContext)
	w := Window{Hour: 5}
	first := d.seal(t, p, testContext, w, smallRow(t, p, 60, 100))
	if _, err := p.Seal(testContext, d.key, w, smallRow(t, p, 60, -850)); !errors.Is(err, ErrSealedTwice) {
		t.Fatalf("a second row was sealed: %v", err)
	}
	careless, err := p.NewDeviceKey(testContext, d.id, d.seeds) // as after a restored backup
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.Seal(testContext, careless, w, smallRow(t, p, 60, -850))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := p.unpack(first, p.schema.Coefficients())
	b, _ := p.unpack(second, p.schema.Coefficients())
	opened := make([]*big.Int, privacy.MetricCoefficients)
	for j := range opened {
		diff := make([]uint64, 4)
		for l, q := range p.profile.Primes {
			diff[l] = (a[4*j+l] + q - b[4*j+l]) % q
		}
		opened[j], _ = p.crt.unscale(p.crt.lift(diff))
	}
	if got := decode(t, p, 0, opened); got.Sum != 950 {
		t.Errorf("the difference of two rows opens to %d, this attack should find 950", got.Sum)
	}
}

// TestAttackCoefficientsBeyondAsked: coefficients outside of the asked metric are
// key material. A share neither covers them nor can be made to.
func TestAttackCoefficientsBeyondAsked(t *testing.T) {
	p := defaultParams(t)
	d := newTestDevice(t, p, testContext)
	w := Window{Hour: 5}
	v := vectorOf(t, p, d, 0, 0, w)
	share, err := p.Share(testKeys[0], request(p, 0, 0, 1, nil), v)
	if err != nil {
		t.Fatal(err)
	}
	if len(share) != p.ShareBytes(privacy.MetricCoefficients) {
		t.Errorf("the share has %d bytes", len(share))
	}
	all := make([]int, p.Schema().Coefficients())
	for i := range all {
		all[i] = i
	}
	wide, err := p.KeyProduct(testContext, all, groupsOf(t, p, []*testDevice{d}, w)[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]func(*ShareRequest) *KeyVector{
		"all coefficients":      func(r *ShareRequest) *KeyVector { r.Coeffs = all; return wide },
		"a wider vector":        func(r *ShareRequest) *KeyVector { return wide },
		"another metric's":      func(r *ShareRequest) *KeyVector { r.Coeffs = p.Schema().MetricCoefficients(1); return v },
		"one of another metric": func(r *ShareRequest) *KeyVector { r.Coeffs[5] = 6; return v },
		"repeated":              func(r *ShareRequest) *KeyVector { r.Coeffs[1] = 0; return v },
		"none":                  func(r *ShareRequest) *KeyVector { r.Coeffs = nil; return v },
		"outside of the row":    func(r *ShareRequest) *KeyVector { r.Coeffs[5] = 8191; return v },
		"no such slot":          func(r *ShareRequest) *KeyVector { r.Slot = 9; return v },
	} {
		r := request(p, 0, 0, 1, nil)
		vector := try(&r)
		if _, err := p.Share(testKeys[0], r, vector); err == nil {
			t.Errorf("%s: a share was made", name)
		}
	}
}

// TestAttackForeignWindowPolynomial: whoever chooses a_T chooses what a share
// says. Holders therefore derive it from windows and take no polynomial; that of
// another network, profile, hour or correction is another one, and shares made
// with it open nothing here.
func TestAttackForeignWindowPolynomial(t *testing.T) {
	p := defaultParams(t)
	d := newTestDevice(t, p, testContext)
	w := Window{Hour: 5}
	row := d.seal(t, p, testContext, w, smallRow(t, p, 60, 100))
	seen := map[record.ID]string{}
	for name, c := range map[string]struct {
		network string
		window  Window
	}{"own": {"a", w}, "network": {"b", w}, "hour": {"a", Window{6, 0}}, "correction": {"a", Window{5, 1}}} {
		id := windowDigest(t, p, Context{Network: c.network}, c.window)
		if other, ok := seen[id]; ok {
			t.Errorf("the polynomials of %s and %s are the same", name, other)
		}
		seen[id] = name
	}
	groups := groupsOf(t, p, []*testDevice{d}, Window{5, 1})
	sum := sumOf(t, p, 0, [][]byte{row})
	opened, err := p.Open(sum, allShares(t, p, 0, groups, 1, nil))
	if err == nil {
		_, err = p.Schema().Decode(0, opened)
	}
	if err == nil {
		t.Error("shares under another polynomial open the row")
	}
	foreign, err := p.KeyProduct(Context{Network: "elsewhere"}, p.Schema().MetricCoefficients(0), groups[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Share(testKeys[0], request(p, 0, 0, 1, nil), foreign); err == nil {
		t.Error("a vector of another network was shared")
	}
	twice := []KeyGroup{{[]Window{w, w}, groups[0][0].Secret}}
	if _, err := p.KeyProduct(testContext, []int{0}, twice); err == nil {
		t.Error("a window was counted twice")
	}
}

// zigguratScale recomputes the public strip constants of the ziggurat method
// (Marsaglia and Tsang 2000) with 128 strips: a sample of the usual path is
// j * scale[j mod 128] for a 31-bit integer j.
func zigguratScale() [128]float64 {
	const r, area = 3.442619855899, 9.91256303526217e-3
	var scale [128]float64
	x := r
	scale[0] = float64(float32(area / math.Exp(-r*r/2) / (1 << 31)))
	scale[127] = float64(float32(r / (1 << 31)))
	for i := 126; i >= 1; i-- {
		x = math.Sqrt(-2 * math.Log(area/x+math.Exp(-x*x/2)))
		scale[i] = float64(float32(x / (1 << 31)))
	}
	return scale
}

// onGrid counts the values that lie within 2^30 of the grid that samples of
// standard deviation sigma make.
func onGrid(values []*big.Int, sigma float64) int {
	scale, hits := zigguratScale(), 0
	for _, v := range values {
		y, _ := new(big.Float).SetInt(new(big.Int).Abs(v)).Float64()
		for i, s := range scale {
			j := math.Round((y/(s*sigma)-float64(i))/128)*128 + float64(i)
			if j > 0 && j < 1<<31 && math.Abs(j*s*sigma-y) < 1<<30 {
				hits++
				break
			}
		}
	}
	return hits
}

// TestAttackLibraryGaussianFlooding: lattigo's Gaussian sampler at the width of a
// flood makes values on a public grid with steps of about 2^48, filled in by less
// than 2^29 only: knowing the grid, almost nothing of a flood remains and the
// errors under it show. Our flood has no such grid and covers its whole range.
func TestAttackLibraryGaussianFlooding(t *testing.T) {
	p := defaultParams(t)
	sigma := math.Exp2(78)
	r, err := ring.NewRing(p.n, p.profile.Primes)
	if err != nil {
		t.Fatal(err)
	}
	prng, err := sampling.NewKeyedPRNG([]byte("a fixed key"))
	if err != nil {
		t.Fatal(err)
	}
	theirs := ring.NewGaussianSampler(prng, r, ring.DiscreteGaussian{Sigma: sigma, Bound: 8 * sigma}, false).ReadNew()
	const samples = 2000
	library, own := make([]*big.Int, samples), make([]*big.Int, samples)
	flood := make([]uint64, samples*4)
	p.addFlood(sha3.NewSHAKE256(), flood)
	for i := range samples {
		library[i] = centred(p, []uint64{theirs.Coeffs[0][i], theirs.Coeffs[1][i], theirs.Coeffs[2][i], theirs.Coeffs[3][i]})
		own[i] = centred(p, flood[4*i:4*i+4])
	}
	if hits := onGrid(library, sigma); hits < samples*95/100 {
		t.Errorf("only %d of %d library samples are on the grid: this attack should find them", hits, samples)
	}
	if hits := onGrid(own, sigma); hits > 3 {
		t.Errorf("%d of %d own samples are on the grid", hits, samples)
	}
	uniform(t, own, p.profile.FloodBits)
}

func centred(p *Params, residues []uint64) *big.Int {
	x := p.crt.lift(residues)
	if x.Cmp(p.crt.half) > 0 {
		x.Sub(x, p.crt.q)
	}
	return x
}

// uniform checks by chi-square, at many bit positions, that values fill
// [-2^bits, 2^bits) evenly.
func uniform(t *testing.T, values []*big.Int, bits int) {
	t.Helper()
	offset := new(big.Int).Lsh(big.NewInt(1), uint(bits))
	for shift := bits - 3; shift >= 0; shift -= 13 {
		var counts [16]float64
		for _, v := range values {
			x := new(big.Int).Add(v, offset)
			if x.Sign() < 0 || x.BitLen() > bits+1 {
				t.Fatalf("flood %s is out of range", v)
			}
			counts[x.Rsh(x, uint(shift)).Uint64()&15]++
		}
		chi, want := 0.0, float64(len(values))/16
		for _, c := range counts {
			chi += (c - want) * (c - want) / want
		}
		if chi > 44.3 { // 0.01 % point of 15 degrees of freedom
			t.Errorf("bits %d.. of the flood: chi-square %.1f", shift, chi)
		}
	}
}

// TestAttackDifferingHoldersDoNotCancelNoise: a stale cache at one holder must
// not give an asker two shares with one flood, because their difference would be
// the difference of the vectors. And equal holders must send equal bytes, or
// asking twice averages the noise away.
func TestAttackDifferingHoldersDoNotCancelNoise(t *testing.T) {
	p := defaultParams(t)
	d := newTestDevice(t, p, testContext)
	plan, err := p.Schema().Plan(0, 1, 500_000)
	if err != nil {
		t.Fatal(err)
	}
	r := request(p, 0, 0, 1, plan)
	v := vectorOf(t, p, d, 0, 0, Window{Hour: 5})
	first, err := p.Share(testKeys[0], r, v)
	if err != nil {
		t.Fatal(err)
	}
	again, err := p.Share(testKeys[0], r, vectorOf(t, p, d, 0, 0, Window{Hour: 5}))
	if err != nil || !bytes.Equal(first, again) {
		t.Fatalf("two equal holders send different shares (%v)", err)
	}
	stale := &KeyVector{context: v.context, kind: v.kind, coeffs: v.coeffs, residues: slices.Clone(v.residues)}
	stale.residues[0] = (stale.residues[0] + 1) % p.profile.Primes[0]
	other, err := p.Share(testKeys[0], r, stale)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := p.unpack(first, 6)
	b, _ := p.unpack(other, 6)
	for i := range a {
		q := p.profile.Primes[i%4]
		if (a[i]+q-v.residues[i])%q == (b[i]+q-stale.residues[i])%q {
			t.Errorf("residue %d of two holders that differ has the same noise", i)
		}
	}
}

// TestAttackRetriesUnderOtherNames: whatever names the query is part of the PRF's
// input, so that no two answers share their noise; only the number of rows, which
// follows from the cohort, is not.
func TestAttackRetriesUnderOtherNames(t *testing.T) {
	p := defaultParams(t)
	plan := func(slot int, hours int64, rho uint64) *privacy.Plan {
		made, err := p.Schema().Plan(slot, hours, rho)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	base := request(p, 0, 0, 1, plan(0, 1, 500_000))
	changes := map[string]func(r *ShareRequest, c *Context){
		"nothing":  func(*ShareRequest, *Context) {},
		"network":  func(r *ShareRequest, c *Context) { r.Network, c.Network = "other", "other" },
		"epoch":    func(r *ShareRequest, c *Context) { r.Epoch, c.Epoch = 1, 1 },
		"query":    func(r *ShareRequest, _ *Context) { r.Query = "tx-2" },
		"piece":    func(r *ShareRequest, _ *Context) { r.Piece = 1 },
		"cohort":   func(r *ShareRequest, _ *Context) { r.CohortRoot[0] ^= 1 },
		"coeffs":   func(r *ShareRequest, _ *Context) { r.Coeffs = r.Coeffs[:3] },
		"no noise": func(r *ShareRequest, _ *Context) { r.Plan = nil },
		"rho":      func(r *ShareRequest, _ *Context) { r.Plan = plan(0, 1, 500_001) },
		"metric": func(r *ShareRequest, _ *Context) {
			r.Slot, r.Coeffs, r.Plan = 1, p.Schema().MetricCoefficients(1), plan(1, 1, 500_000)
		},
	}
	floods := map[uint64]string{}
	for name, change := range changes {
		r, c := base, testContext
		r.Coeffs = slices.Clone(base.Coeffs)
		change(&r, &c)
		zero := &KeyVector{context: c, kind: p.profile.Name, coeffs: r.Coeffs, residues: make([]uint64, 4*len(r.Coeffs))}
		share, err := p.Share(testKeys[0], r, zero)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		residues, err := p.unpack(share, len(r.Coeffs))
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := floods[residues[0]]; ok {
			t.Errorf("changing %s or %s gives the same noise", name, other)
		}
		floods[residues[0]] = name
	}
	r := base
	r.Rows = 2
	zero := &KeyVector{context: testContext, kind: p.profile.Name, coeffs: r.Coeffs, residues: make([]uint64, 24)}
	share, err := p.Share(testKeys[0], r, zero)
	if err != nil {
		t.Fatal(err)
	}
	if residues, _ := p.unpack(share, 6); floods[residues[0]] != "nothing" {
		t.Error("the number of rows changes the noise")
	}
}

// TestAttackSmallerNoise: a plan whose variances were made smaller is not shared
// under, nor one for another metric, nor noise or rows that overflow a field.
func TestAttackSmallerNoise(t *testing.T) {
	p := defaultParams(t)
	zero := &KeyVector{context: testContext, kind: p.profile.Name, coeffs: p.Schema().MetricCoefficients(0), residues: make([]uint64, 24)}
	for name, change := range map[string]func(*ShareRequest){
		"variance":      func(r *ShareRequest) { r.Plan.Parts[1].Variance = big.NewInt(1) },
		"charge":        func(r *ShareRequest) { r.Plan.ChargeMicro = 1 },
		"no variance":   func(r *ShareRequest) { r.Plan.Parts[0].Variance = nil },
		"other metric":  func(r *ShareRequest) { r.Plan.Slot = 1 },
		"too many rows": func(r *ShareRequest) { r.Rows = p.profile.MaxRows + 1 },
		"no rows":       func(r *ShareRequest) { r.Rows = 0 },
		"no such piece": func(r *ShareRequest) { r.Piece = 3 },
		"no query":      func(r *ShareRequest) { r.Query = "" },
	} {
		plan, err := p.Schema().Plan(0, 24, 660_000)
		if err != nil {
			t.Fatal(err)
		}
		r := request(p, 0, 0, 1, plan)
		change(&r)
		if _, err := p.Share(testKeys[0], r, zero); err == nil {
			t.Errorf("%s: a share was made", name)
		}
	}
	if _, err := p.Share(PieceKey{}, request(p, 0, 0, 1, nil), zero); err == nil {
		t.Error("a share was made with a zero key")
	}
}

// TestAttackChangedRows: a row that is cut, extended or not in its one encoding is
// refused; rows that are swapped between devices or windows do not open.
func TestAttackChangedRows(t *testing.T) {
	p := defaultParams(t)
	d, other := newTestDevice(t, p, testContext), newTestDevice(t, p, testContext)
	w := Window{Hour: 5}
	row := d.seal(t, p, testContext, w, smallRow(t, p, 60, 100))
	high := slices.Clone(row)
	residues, _ := p.unpack(row, p.schema.Coefficients())
	residues[0] = p.profile.Primes[0] // the same number, written differently
	copy(high, p.pack(residues))
	for name, bad := range map[string][]byte{
		"cut": row[:len(row)-1], "extended": append(slices.Clone(row), 0), "empty": nil, "not canonical": high,
		"all ones": bytes.Repeat([]byte{0xff}, len(row)),
	} {
		if err := p.CheckRow(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: CheckRow says %v", name, err)
		}
		sum := sumOf(t, p, 0, nil)
		if err := sum.Add(bad); !errors.Is(err, ErrMalformed) || sum.Rows() != 0 {
			t.Errorf("%s: Sum.Add says %v", name, err)
		}
	}
	share := allShares(t, p, 0, groupsOf(t, p, []*testDevice{d}, w), 1, nil)
	for name, swapped := range map[string][]byte{
		"another device's": other.seal(t, p, testContext, w, smallRow(t, p, 60, 100)),
		"another window's": d.seal(t, p, testContext, Window{Hour: 6}, smallRow(t, p, 60, 100)),
	} {
		opened, err := p.Open(sumOf(t, p, 0, [][]byte{swapped}), share)
		if err == nil {
			_, err = p.Schema().Decode(0, opened)
		}
		if err == nil {
			t.Errorf("%s row opens with these shares", name)
		}
	}
	missing := map[int][]byte{0: share[0], 1: share[1]}
	if _, err := p.Open(sumOf(t, p, 0, [][]byte{row}), missing); err == nil {
		t.Error("two of three pieces open a row")
	}
	missing[2] = share[2][1:]
	if _, err := p.Open(sumOf(t, p, 0, [][]byte{row}), missing); !errors.Is(err, ErrMalformed) {
		t.Errorf("a cut share: %v", err)
	}
}

// TestAttackTooFewPieces: all pieces but one tell nothing: with the last share
// replaced by that of another key the sum does not open.
func TestAttackTooFewPieces(t *testing.T) {
	p := defaultParams(t)
	d := newTestDevice(t, p, testContext)
	w := Window{Hour: 5}
	row := d.seal(t, p, testContext, w, smallRow(t, p, 60, 100))
	shares := allShares(t, p, 0, groupsOf(t, p, []*testDevice{d}, w), 1, nil)
	for piece := range shares {
		guess := KeyGroup{[]Window{w}, p.NewKeySum()}
		tried := map[int][]byte{0: shares[0], 1: shares[1], 2: shares[2]}
		tried[piece] = shareOf(t, p, piece, 0, []KeyGroup{guess}, 1, nil)
		opened, err := p.Open(sumOf(t, p, 0, [][]byte{row}), tried)
		if err == nil {
			_, err = p.Schema().Decode(0, opened)
		}
		if err == nil {
			t.Errorf("the row opens without piece %d", piece)
		}
	}
}

// TestAttackCopiedSeeds: who enrols a device with the sealed seeds of another one
// would make its rows open under the copy. Seeds expand differently and their
// boxes and hashes fit nothing else.
func TestAttackCopiedSeeds(t *testing.T) {
	p := defaultParams(t)
	list, keys := members(t)
	victim := newTestDevice(t, p, testContext)
	blob, err := p.SealSeeds(testContext, victim.id, victim.seeds, list)
	if err != nil {
		t.Fatal(err)
	}
	copyID := record.RandomID()
	if _, err := p.OpenSeeds(testContext, copyID, 0, list[0], keys[0], blob, seedHashes(p, victim)); !errors.Is(err, ErrBox) {
		t.Errorf("a copied blob opens for another device: %v", err)
	}
	s := victim.seeds[0]
	type use struct {
		c      Context
		device record.ID
		piece  int
	}
	uses := []use{
		{testContext, victim.id, 0},
		{testContext, copyID, 0},
		{testContext, victim.id, 1},
		{Context{testContext.Network, 1}, victim.id, 0},
		{Context{"other", 0}, victim.id, 0},
	}
	pieces, hashes := map[record.ID]int{}, map[record.ID]int{}
	for i, u := range uses {
		sum := p.NewKeySum()
		if err := sum.Add(p.Expand(u.c, u.device, u.piece, s)); err != nil {
			t.Fatal(err)
		}
		if j, ok := pieces[sum.Digest()]; ok {
			t.Errorf("uses %d and %d of one seed expand alike", i, j)
		}
		pieces[sum.Digest()] = i
		h := p.SeedHash(u.c, u.device, u.piece, s)
		if j, ok := hashes[h]; ok {
			t.Errorf("uses %d and %d of one seed have one hash", i, j)
		}
		hashes[h] = i
	}
}

// TestAttackMisdirectedSeeds: a holder that is sent another member's box, or an
// altered one, does not accept it.
func TestAttackMisdirectedSeeds(t *testing.T) {
	p := defaultParams(t)
	list, keys := members(t)
	d := newTestDevice(t, p, testContext)
	swappedKeys := slices.Clone(list)
	swappedKeys[0].SeedKey, swappedKeys[1].SeedKey = list[1].SeedKey, list[0].SeedKey
	blob, err := p.SealSeeds(testContext, d.id, d.seeds, swappedKeys)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.OpenSeeds(testContext, d.id, 0, list[0], keys[0], blob, seedHashes(p, d)); !errors.Is(err, ErrBox) {
		t.Errorf("a box for another member: %v", err)
	}
	good, err := p.SealSeeds(testContext, d.id, d.seeds, list)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(good); i += 3 {
		bad := slices.Clone(good)
		bad[i] ^= 0x80
		opened := 0
		for m, key := range keys {
			if _, err := p.OpenSeeds(testContext, d.id, m, list[m], key, bad, seedHashes(p, d)); err == nil {
				opened++
			}
		}
		if opened == len(keys) {
			t.Fatalf("byte %d of the blob was changed and nobody noticed", i)
		}
	}
}
