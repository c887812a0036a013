package he

import (
	"bytes"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
)

func probeRequest(piece int, d record.ID) ProbeRequest {
	return ProbeRequest{Network: testContext.Network, Query: "query", Piece: piece, CohortRoot: record.SumID([]byte("cohort")), Device: d}
}

// probeShare is a holder's share of a probe of a device.
func probeShare(t testing.TB, p *Params, d *testDevice, piece int, windows []Window, change func(*ProbeRequest)) []byte {
	t.Helper()
	v, err := p.ProbeProduct(testContext, windows, keySum(t, p, testContext, piece, []*testDevice{d}))
	if err != nil {
		t.Fatal(err)
	}
	r := probeRequest(piece, d.id)
	if change != nil {
		change(&r)
	}
	share, err := p.ProbeShare(testKeys[piece], r, v)
	if err != nil {
		t.Fatal(err)
	}
	return share
}

// probe opens the zero coefficient of a device's rows.
func probe(t testing.TB, p *Params, d *testDevice, windows []Window, rows [][]byte) bool {
	t.Helper()
	sum := p.NewProbe()
	for _, row := range rows {
		if err := sum.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	shares := map[int][]byte{}
	for piece := range p.Sharing().Pieces() {
		shares[piece] = probeShare(t, p, d, piece, windows, nil)
	}
	zero, err := p.Probe(sum, shares)
	if err != nil {
		t.Fatal(err)
	}
	return zero
}

// TestAProbeTellsBrokenRowsFromWhole: whole rows, corrections among them, are zero
// where no question looks, in both schemas; junk, rows of another key, and a row under
// another hour are not.
func TestAProbeTellsBrokenRowsFromWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, p := range []*Params{defaultParams(t), pairParams(t)} {
		d, other := newTestDevice(t, p, testContext), newTestDevice(t, p, testContext)
		windows := []Window{{Hour: 30}, {Hour: 31}, {Hour: 31, Correction: 1}}
		payloads, err := p.Schema().HourRow(extremeHour(true))
		if err != nil {
			t.Fatal(err)
		}
		var rows [][]byte
		for _, w := range windows {
			rows = append(rows, d.seal(t, p, testContext, w, payloads))
		}
		if !probe(t, p, d, windows, rows) {
			t.Errorf("%s: a whole device is said to be broken", p.Schema().Name)
		}
		for name, row := range map[string][]byte{
			"junk": junkRow(p, r), "another key's": other.seal(t, p, testContext, windows[0], payloads),
			"another hour's": d.seal(t, p, testContext, Window{Hour: 32}, payloads),
		} {
			if probe(t, p, d, windows, [][]byte{row, rows[1], rows[2]}) {
				t.Errorf("%s: a device with a row that is %s is said to be whole", p.Schema().Name, name)
			}
		}
	}
}

// junkRow has residues that mean nothing, in the one form that rows have.
func junkRow(p *Params, r *rand.Rand) []byte {
	residues := make([]uint64, p.schema.Coefficients()*len(p.profile.Primes))
	for i := range residues {
		residues[i] = r.Uint64N(p.profile.Primes[i%len(p.profile.Primes)])
	}
	return p.pack(residues)
}

// TestHoldersSendTheSameProbe: equal inputs give equal bytes, and everything that a
// share is for gives it another flood.
func TestHoldersSendTheSameProbe(t *testing.T) {
	p := defaultParams(t)
	d := newTestDevice(t, p, testContext)
	w := []Window{{Hour: 5}}
	base := probeShare(t, p, d, 0, w, nil)
	if again := probeShare(t, p, d, 0, w, nil); !bytes.Equal(base, again) {
		t.Error("two holders send different bytes")
	}
	v, err := p.ProbeProduct(testContext, w, keySum(t, p, testContext, 0, []*testDevice{d}))
	if err != nil {
		t.Fatal(err)
	}
	flood := func(share []byte) *big.Int {
		residues, err := p.unpack(share, 1)
		if err != nil {
			t.Fatal(err)
		}
		for l, q := range p.profile.Primes {
			residues[l] = (residues[l] + q - v.residues[l]) % q
		}
		return centred(p, residues)
	}
	floods := []*big.Int{flood(base)}
	for _, change := range []func(*ProbeRequest){
		func(r *ProbeRequest) { r.Query = "another" },
		func(r *ProbeRequest) { r.CohortRoot = record.SumID([]byte("another")) },
		func(r *ProbeRequest) { r.Device = record.SumID([]byte("another")) },
	} {
		floods = append(floods, flood(probeShare(t, p, d, 0, w, change)))
	}
	limit := new(big.Int).Lsh(big.NewInt(1), uint(p.profile.FloodBits))
	for i, f := range floods {
		if f.CmpAbs(limit) > 0 || f.BitLen() < p.profile.FloodBits-40 {
			t.Errorf("flood %d is %s", i, f)
		}
		for _, g := range floods[:i] {
			if f.Cmp(g) == 0 {
				t.Error("two shares have one flood")
			}
		}
	}
}

// TestAttackProbeOfAskedCoefficients: a probe covers the zero coefficient and no
// other, and a share of a question does not cover that one; neither passes for the
// other.
func TestAttackProbeOfAskedCoefficients(t *testing.T) {
	p := defaultParams(t)
	d := newTestDevice(t, p, testContext)
	w := Window{Hour: 5}
	asked := p.Schema().MetricCoefficients(0)
	v, err := p.KeyProduct(testContext, asked, groupsOf(t, p, []*testDevice{d}, w)[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.ProbeShare(testKeys[0], probeRequest(0, d.id), v); err == nil {
		t.Error("a probe covers what is asked")
	}
	zero := []int{p.Schema().ZeroCoefficient()}
	for slot := range p.Schema().Slots() {
		r := request(p, 0, slot, 1, nil)
		r.Coeffs = zero
		if v, err = p.KeyProduct(testContext, zero, groupsOf(t, p, []*testDevice{d}, w)[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Share(testKeys[0], r, v); err == nil {
			t.Errorf("a share of metric %d covers the zero coefficient", slot)
		}
	}
	foreign := *v
	foreign.context.Epoch++
	if _, err := p.ProbeShare(testKeys[0], probeRequest(0, d.id), &foreign); err == nil {
		t.Error("a vector of another epoch was used")
	}
	if _, err := p.Probe(sumOf(t, p, 0, nil), nil); err == nil {
		t.Error("a sum of asked coefficients was probed")
	}
}

// TestAttackWhatAProbeShowsOfAnHonestDevice: to whoever knows all pieces but one, a
// probe of a full device and one of an empty device look alike: zero, the errors that
// everybody could guess the size of, and a whole flood.
func TestAttackWhatAProbeShowsOfAnHonestDevice(t *testing.T) {
	p := defaultParams(t)
	w := []Window{{Hour: 5}}
	limit := new(big.Int).Lsh(big.NewInt(1), uint(p.profile.FloodBits))
	for n, sum := range map[int64]int64{0: 0, 60: 800} {
		d := newTestDevice(t, p, testContext)
		row := d.seal(t, p, testContext, w[0], smallRow(t, p, n, sum))
		residues, err := p.unpack(row, p.schema.Coefficients())
		if err != nil {
			t.Fatal(err)
		}
		at := p.schema.ZeroCoefficient() * len(p.rings)
		seen := slices.Clone(residues[at : at+len(p.rings)])
		for piece := range p.Sharing().Pieces() {
			part, err := p.unpack(probeShare(t, p, d, piece, w, nil), 1)
			if err != nil {
				t.Fatal(err)
			}
			if piece != 1 { // of these the adversary has seeds and keys: the product itself
				v, err := p.ProbeProduct(testContext, w, keySum(t, p, testContext, piece, []*testDevice{d}))
				if err != nil {
					t.Fatal(err)
				}
				part = v.residues
			}
			for l, q := range p.profile.Primes {
				seen[l] = (seen[l] + part[l]) % q
			}
		}
		// What is left is one error below 2^6 and the flood of piece 1.
		if x := centred(p, seen); x.CmpAbs(new(big.Int).Add(limit, big.NewInt(64))) > 0 {
			t.Errorf("with %d readings, what opens is %s, more than a flood", n, x)
		}
	}
}

// TestProbesAreInTheFloodsBudget: flooding that would do for answers alone is refused
// where the probes of an epoch take it over the limit.
func TestProbesAreInTheFloodsBudget(t *testing.T) {
	if probedRows != 366*24*4 {
		t.Errorf("a probe may be about %d rows", probedRows)
	}
	p := Profile{FloodBits: 72, MaxRows: 1} // answers: 2^(24.3 + 1.7 - 73)
	var r Report
	if err := p.assessFlood(&r); err == nil {
		t.Errorf("a distance of 2^%.1f was accepted", r.FloodDistanceLog2)
	}
	if answers := new(big.Int).Mul(big.NewInt(ReleasedCoefficients), deviation(1)); answers.BitLen() > 72+1-40 {
		t.Errorf("answers alone take 2^%d", answers.BitLen())
	}
}
