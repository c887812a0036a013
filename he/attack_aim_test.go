package he

import (
	"bytes"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
)

// aimScale is where an adversary places one secret coefficient above the flood,
// aimBits how far apart it places the next one. A summed piece of eleven devices
// lies within +-11.
const (
	aimScale = 90
	aimBits  = 5
)

// aimed is the ring element that a hostile device would upload as its ciphertext:
// multiplied by a secret it puts the secret's coefficients first, first+1, ... side
// by side into every one of the coefficients asked, above the flood.
func aimed(p *Params, first, perCoeff, asked int) poly {
	a := p.newPoly()
	for k := range perCoeff {
		// x^(-i) = -x^(n-i) brings coefficient i to coefficient 0.
		i := first + k*asked
		if i >= p.n {
			break
		}
		power := new(big.Int).Lsh(big.NewInt(1), uint(aimScale+k*aimBits))
		at := (p.n - i) % p.n
		if at != 0 {
			power.Neg(power)
		}
		for l, q := range p.profile.Primes {
			a[l][at] = new(big.Int).Mod(power, new(big.Int).SetUint64(q)).Uint64()
		}
	}
	return a
}

// testProduct is a*s on the first asked coefficients.
func (p *Params) testProduct(a poly, s KeySum, asked int) []uint64 {
	transformed := p.transform(s)
	residues := make([]uint64, asked*len(p.rings))
	for l, r := range p.rings {
		limb := append([]uint64(nil), a[l]...)
		r.NTT(limb, limb)
		r.MulCoeffsMontgomery(limb, transformed[l], limb)
		r.INTT(limb, limb)
		for j := range asked {
			residues[j*len(p.rings)+l] = limb[j]
		}
	}
	return residues
}

// readAimed reads secret coefficients off flooded residues.
func readAimed(p *Params, residues []uint64, perCoeff, asked int, out []int32) {
	for j := range asked {
		x := centred(p, residues[4*j:4*j+4])
		x.Add(x, new(big.Int).Lsh(big.NewInt(1), aimScale-1)).Rsh(x, aimScale) // drops the flood
		for k := range perCoeff {
			digit := new(big.Int).And(x, big.NewInt(1<<aimBits-1)).Int64()
			if digit >= 1<<(aimBits-1) {
				digit -= 1 << aimBits
			}
			x.Sub(x, big.NewInt(digit)).Rsh(x, aimBits)
			if at := j + k*asked; at < len(out) {
				out[at] = int32(digit)
			}
		}
	}
}

// TestAttackHostileCiphertextRecovery replays what killed switching keys. Where
// members multiply their secret by something that devices upload, eleven colluding
// devices choose it, take part in seven queries and read a whole piece off the
// flooded shares: the first part does so, so that the second shows something.
// Here the same eleven upload whatever they like in five queries, and shares do
// not change by one bit: secrets are multiplied by hash output only, so the system
// of equations that the adversary would solve has rank 0 in what it can choose.
func TestAttackHostileCiphertextRecovery(t *testing.T) {
	p := defaultParams(t)
	var colluders []*testDevice
	for i := range 11 {
		colluders = append(colluders, fixedDevice(t, p, i))
	}
	piece := keySum(t, p, testContext, 1, colluders)
	const perCoeff, asked = 23, 55
	recovered := make([]int32, p.n)
	queries := 0
	for first := 0; first < p.n; first += perCoeff * asked {
		flooded := p.testProduct(aimed(p, first, perCoeff, asked), piece, asked)
		p.addFlood(prf(testKeys[1][:], record.SumID([]byte{byte(first >> 8)}), "test"), flooded)
		readAimed(p, flooded, perCoeff, asked, recovered[first:])
		queries++
	}
	for i, v := range piece {
		if recovered[i] != v {
			t.Fatalf("coefficient %d is %d, the adversary read %d: this attack should work against switching keys", i, v, recovered[i])
		}
	}
	if queries > 7 {
		t.Errorf("the attack took %d queries", queries)
	}
	rowsDoNotAim(t, p, colluders)
}

// rowsDoNotAim plays five queries with chosen rows and checks what moves.
func rowsDoNotAim(t *testing.T, p *Params, colluders []*testDevice) {
	r := rand.New(rand.NewPCG(3, 4))
	coeffs := p.Schema().MetricCoefficients(0)
	for hour := range int64(5) {
		w := Window{Hour: hour}
		groups := groupsOf(t, p, colluders, w)
		honest := allShares(t, p, 0, groups, int64(len(colluders)), nil)
		var residuals [][]uint64
		for _, rows := range hostileRows(p, r, len(colluders)) {
			shares := allShares(t, p, 0, groups, int64(len(colluders)), nil)
			total := sumOf(t, p, 0, rows).acc
			response := make([]uint64, len(total))
			for piece, share := range shares {
				if !bytes.Equal(share, honest[piece]) {
					t.Fatalf("hour %d: the share of piece %d depends on rows", hour, piece)
				}
				residues, err := p.unpack(share, len(coeffs))
				if err != nil {
					t.Fatal(err)
				}
				for i, x := range residues {
					response[i] = (response[i] + x) % p.profile.Primes[i%4]
				}
			}
			residuals = append(residuals, response)
		}
		for l, q := range p.profile.Primes {
			if rank := rankOfDifferences(residuals, l, q); rank != 0 {
				t.Errorf("hour %d, prime %d: what chosen rows reveal has rank %d, not 0", hour, l, rank)
			}
		}
	}
}

// hostileRows are choices of rows: any bytes that pass the check of form, among
// them the aimed element itself.
func hostileRows(p *Params, r *rand.Rand, devices int) [][][]byte {
	var choices [][][]byte
	element := aimed(p, 0, 20, p.schema.Coefficients())
	for choice := range 6 {
		var rows [][]byte
		for range devices {
			residues := make([]uint64, p.schema.Coefficients()*4)
			for i := range residues {
				q := p.profile.Primes[i%4]
				switch choice {
				case 0: // all zero
				case 1:
					residues[i] = q - 1
				case 2:
					residues[i] = element[i%4][i/4]
				default:
					residues[i] = r.Uint64N(q)
				}
			}
			rows = append(rows, p.pack(residues))
		}
		choices = append(choices, rows)
	}
	return choices
}

// rankOfDifferences is the rank modulo q of the responses minus the first one.
func rankOfDifferences(responses [][]uint64, l int, q uint64) int {
	var m [][]uint64
	for _, response := range responses[1:] {
		var line []uint64
		for i := l; i < len(response); i += 4 {
			line = append(line, (response[i]+q-responses[0][i])%q)
		}
		m = append(m, line)
	}
	rank := 0
	for c := 0; c < len(m[0]) && rank < len(m); c++ {
		for i := rank; i < len(m); i++ {
			if m[i][c] == 0 {
				continue
			}
			m[rank], m[i] = m[i], m[rank]
			inverse := new(big.Int).ModInverse(new(big.Int).SetUint64(m[rank][c]), new(big.Int).SetUint64(q)).Uint64()
			for k := rank + 1; k < len(m); k++ {
				f := mulMod(m[k][c], inverse, q)
				for j := range m[k] {
					m[k][j] = (m[k][j] + q - mulMod(f, m[rank][j], q)) % q
				}
			}
			rank++
			break
		}
	}
	return rank
}

// TestAttackSharesOfKnownSecretsLeaveTheFlood: the strongest eleven know all their
// seeds, so they can take a_T*s out of a share. What is left over five hundred
// queries is the flood, uniform and fresh each time: no equation about anything.
func TestAttackSharesOfKnownSecretsLeaveTheFlood(t *testing.T) {
	p := defaultParams(t)
	var colluders []*testDevice
	for i := range 11 {
		colluders = append(colluders, fixedDevice(t, p, i))
	}
	v, err := p.KeyProduct(testContext, p.Schema().MetricCoefficients(0), groupsOf(t, p, colluders, Window{Hour: 1}, Window{Hour: 2})[1])
	if err != nil {
		t.Fatal(err)
	}
	var left []*big.Int
	for query := range 500 {
		left = append(left, floodOf(t, p, v, record.SumID([]byte{byte(query), byte(query >> 8)}).String())...)
	}
	uniform(t, left, p.profile.FloodBits)
	seen := map[string]bool{}
	for _, x := range left {
		if seen[x.String()] {
			t.Fatal("two queries have the same flood")
		}
		seen[x.String()] = true
	}
}

// floodOf makes piece 1's share of a query and subtracts the vector from it.
func floodOf(t *testing.T, p *Params, v *KeyVector, query string) []*big.Int {
	t.Helper()
	req := request(p, 1, 0, 1, nil)
	req.Query = query
	share, err := p.Share(testKeys[1], req, v)
	if err != nil {
		t.Fatal(err)
	}
	residues, err := p.unpack(share, len(v.coeffs))
	if err != nil {
		t.Fatal(err)
	}
	var out []*big.Int
	for j := range v.coeffs {
		for l, q := range p.profile.Primes {
			residues[4*j+l] = (residues[4*j+l] + q - v.residues[4*j+l]) % q
		}
		out = append(out, centred(p, residues[4*j:4*j+4]))
	}
	return out
}

// TestAttackRelatedWindowSets: vectors of related sets of hours add up (that of
// {t, t+1} is the sum of the two), so whoever gets shares of all three can cancel
// the secrets. What then remains is three independent floods, as wide as they
// should be. And no combination with small coefficients of the shares of all
// subsets of four hours does better than one flood.
func TestAttackRelatedWindowSets(t *testing.T) {
	p := defaultParams(t)
	device := fixedDevice(t, p, 0)
	coeffs := p.Schema().MetricCoefficients(0)
	const hours, rounds = 4, 40
	vectors := make([]*KeyVector, 1<<hours)
	for set := 1; set < 1<<hours; set++ {
		var windows []Window
		for h := range int64(hours) {
			if set>>h&1 == 1 {
				windows = append(windows, Window{Hour: 100 + h})
			}
		}
		var err error
		vectors[set], err = p.KeyProduct(testContext, coeffs, groupsOf(t, p, []*testDevice{device}, windows...)[1])
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, q := range []uint64{p.profile.Primes[0], p.profile.Primes[1]} {
		if (vectors[1].residues[i]+vectors[2].residues[i])%q != vectors[3].residues[i] {
			t.Fatal("vectors of related hours do not add up: this attack assumes that they do")
		}
	}
	sizes := map[int]float64{} // mean square of what remains, by number of shares, in floods
	count := map[int]float64{}
	flood := new(big.Float).SetInt(new(big.Int).Lsh(big.NewInt(1), uint(p.profile.FloodBits)))
	for round := range rounds {
		floods := make([][]*big.Int, 1<<hours)
		for set := 1; set < 1<<hours; set++ {
			floods[set] = floodOf(t, p, vectors[set], record.SumID([]byte{byte(round), byte(set)}).String())
		}
		for a := 1; a < 1<<hours; a++ {
			for b := a + 1; b < 1<<hours; b++ {
				if a&b != 0 {
					continue
				}
				for j := range coeffs {
					x := new(big.Int).Sub(floods[a|b][j], floods[a][j])
					x.Sub(x, floods[b][j])
					f, _ := new(big.Float).Quo(new(big.Float).SetInt(x), flood).Float64()
					sizes[3] += f * f
					count[3]++
				}
			}
		}
	}
	// A flood is uniform in +-1 of its width: variance 1/3, three of them 1.
	if mean := sizes[3] / count[3]; mean < 0.9 || mean > 1.1 {
		t.Errorf("what remains of three related shares has a mean square of %.3f floods, want 1", mean)
	}
}

// TestAttackHourOfAnotherDay: rows of one device under windows whose polynomials
// are related (neighbouring hours, the same hour of the next day, a correction) do
// not cancel: their difference and sum still look uniform modulo every prime.
func TestAttackHourOfAnotherDay(t *testing.T) {
	p := defaultParams(t)
	d := newTestDevice(t, p, testContext)
	payloads := smallRow(t, p, 0, 0)
	base, err := p.unpack(d.seal(t, p, testContext, Window{Hour: 240}, payloads), p.schema.Coefficients())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []Window{{241, 0}, {264, 0}, {240, 1}, {239, 0}, {263, 2}} {
		other, err := p.unpack(d.seal(t, p, testContext, w, payloads), p.schema.Coefficients())
		if err != nil {
			t.Fatal(err)
		}
		for shift := -3; shift <= 3; shift++ { // also against shifted coefficients
			for _, sign := range []bool{false, true} {
				small := 0
				for j := 3; j < 51; j++ {
					if near(p, base[4*j:4*j+4], other[4*(j+shift):4*(j+shift)+4], sign) {
						small++
					}
				}
				if small != 0 {
					t.Errorf("window %v: %d coefficients cancel at shift %d", w, small, shift)
				}
			}
		}
	}
}

// near reports whether a - b, or a + b, is far smaller than Q.
func near(p *Params, a, b []uint64, plus bool) bool {
	x := centred(p, a)
	if plus {
		x.Add(x, centred(p, b))
	} else {
		x.Sub(x, centred(p, b))
	}
	return x.BitLen() < 180
}

// fixedDevice is a device with the same seeds in every run, so that what is tested
// statistically passes always or never.
func fixedDevice(t testing.TB, p *Params, number int) *testDevice {
	t.Helper()
	d := &testDevice{id: record.SumID([]byte{byte(number), byte(number >> 8)})}
	for piece := range p.Sharing().Pieces() {
		d.seeds = append(d.seeds, Seed(record.SumID([]byte{byte(number), byte(number >> 8), byte(piece)})))
	}
	var err error
	if d.key, err = p.NewDeviceKey(testContext, d.id, d.seeds); err != nil {
		t.Fatal(err)
	}
	return d
}

// fieldsOf is what a piece added to a vector of zeros, by field: its privacy noise.
func fieldsOf(t testing.TB, p *Params, key PieceKey, req ShareRequest) privacy.Totals {
	t.Helper()
	zero := &KeyVector{context: Context{req.Network, req.Epoch}, kind: p.profile.Name, coeffs: req.Coeffs, residues: make([]uint64, 4*len(req.Coeffs))}
	share, err := p.Share(key, req, zero)
	if err != nil {
		t.Fatal(err)
	}
	residues, err := p.unpack(share, len(req.Coeffs))
	if err != nil {
		t.Fatal(err)
	}
	var opened []*big.Int
	for j := range req.Coeffs {
		payload, _ := p.crt.unscale(p.crt.lift(residues[4*j : 4*j+4])) // one flood is below the rounding
		opened = append(opened, payload)
	}
	return decode(t, p, req.Slot, opened)
}
