package he

import (
	"bytes"
	"crypto/sha3"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
)

// TestScalingIsExact: the residues of the word arithmetic are those of
// floor((Q*m + u) / 2^128) in arbitrary precision, for both profiles.
func TestScalingIsExact(t *testing.T) {
	for _, profile := range []Profile{DefaultProfile(), WideProfile()} {
		s, q := newScaler(profile.Primes), product(profile.Primes)
		rapid.Check(t, func(t *rapid.T) {
			word := rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, 1 << 63, math.MaxUint64}))
			m := privacy.Payload{word.Draw(t, "lo"), word.Draw(t, "hi")}
			u := [2]uint64{word.Draw(t, "u lo"), word.Draw(t, "u hi")}
			x := new(big.Int).Mul(q, m.Big())
			x.Add(x, words(u)).Rsh(x, 128)
			lo, hi, borrow := s.difference(m, u)
			for l, p := range profile.Primes {
				want := new(big.Int).Mod(x, new(big.Int).SetUint64(p)).Uint64()
				if got := s.primes[l].residue(lo, hi, borrow); got != want {
					t.Fatalf("prime %d: %d, want %d", p, got, want)
				}
			}
		})
	}
}

// words is the number in [0, 2^128) with these words.
func words(u [2]uint64) *big.Int {
	x := new(big.Int).Lsh(new(big.Int).SetUint64(u[1]), 64)
	return x.Add(x, new(big.Int).SetUint64(u[0]))
}

// TestUnscaleFindsThePayload: scaling and then lifting and unscaling gives the
// payload back, with any disturbance below Q/2T.
func TestUnscaleFindsThePayload(t *testing.T) {
	primes := DefaultProfile().Primes
	s, c := newScaler(primes), newCRT(primes)
	rapid.Check(t, func(t *rapid.T) {
		m := privacy.Payload{rapid.Uint64().Draw(t, "lo"), rapid.Uint64().Draw(t, "hi")}
		e := new(big.Int).Lsh(big.NewInt(rapid.Int64().Draw(t, "e")), 19)
		lo, hi, borrow := s.difference(m, halfway)
		residues := make([]uint64, len(primes))
		for l, q := range primes {
			mod := new(big.Int).SetUint64(q)
			residues[l] = (s.primes[l].residue(lo, hi, borrow) + new(big.Int).Mod(e, mod).Uint64()) % q
		}
		payload, distance := c.unscale(c.lift(residues))
		if payload.Cmp(m.Big()) != 0 {
			t.Fatalf("payload %s, want %s", payload, m.Big())
		}
		if distance.Sub(distance, e).CmpAbs(big.NewInt(1)) > 0 && distance.CmpAbs(new(big.Int).Sub(c.q, big.NewInt(2))) < 0 {
			t.Fatalf("distance is off by %s", distance)
		}
	})
}

// TestRoundingOfRowsHasMeanZero: a payload whose scaled value has a fraction is
// rounded up with the probability of that fraction, so that equal rows do not add
// up their roundings.
func TestRoundingOfRowsHasMeanZero(t *testing.T) {
	p := defaultParams(t)
	m := privacy.Payload{1 << 40, 12345}
	exact := new(big.Int).Mul(p.crt.q, m.Big())
	floor := new(big.Int).Rsh(exact, 128)
	fraction, _ := new(big.Rat).SetFrac(new(big.Int).Sub(exact, new(big.Int).Lsh(floor, 128)), new(big.Int).Lsh(big.NewInt(1), 128)).Float64()
	stream := sha3.NewSHAKE128()
	const times = 20000
	up := 0
	for range times {
		var b [16]byte
		stream.Read(b[:])
		u := [2]uint64{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
		lo, hi, borrow := p.scaler.difference(m, u)
		x := p.scaler.primes[0].residue(lo, hi, borrow)
		low := new(big.Int).Mod(floor, new(big.Int).SetUint64(p.profile.Primes[0])).Uint64()
		if x != low && x != low+1 {
			t.Fatal("rounded further than to a neighbour")
		}
		up += int(x - low)
	}
	if got := float64(up) / times; math.Abs(got-fraction) > 5*math.Sqrt(0.25/times) {
		t.Errorf("rounded up with frequency %.4f, the fraction is %.4f", got, fraction)
	}
}

// TestErrorTableIsTheDiscreteGaussian recomputes the table of row errors.
func TestErrorTableIsTheDiscreteGaussian(t *testing.T) {
	const prec = 400
	float := func(x int64) *big.Float { return new(big.Float).SetPrec(prec).SetInt64(x) }
	weight := func(k int64) *big.Float { // exp(-k^2 / (2 * 10.24))
		x := new(big.Float).Quo(float(k*k*100), float(2*errorVariance100))
		sum, term := float(1), float(1)
		for i := int64(1); i < 900; i++ {
			term.Quo(term.Mul(term, x), float(i))
			sum.Add(sum, term)
		}
		return sum.Quo(float(1), sum)
	}
	const reach = 80
	weights, total := make([]*big.Float, reach), float(0)
	for k := range weights {
		weights[k] = weight(int64(k))
		if k > 0 {
			weights[k].Mul(weights[k], float(2))
		}
		total.Add(total, weights[k])
	}
	below := float(0)
	for k, c := range cumulative {
		below.Add(below, weights[k])
		x := new(big.Float).Quo(below, total)
		x.SetMantExp(x, 64).Add(x, big.NewFloat(0.5))
		if want, _ := x.Uint64(); want != c {
			t.Errorf("cumulative[%d] is %#x, want %#x", k, c, want)
		}
	}
}

// TestRowErrorsFollowTheTable: a chi-square test over a fixed stream.
func TestRowErrorsFollowTheTable(t *testing.T) {
	stream := sha3.NewSHAKE128()
	const times, reach = 200_000, 10
	counts := map[int64]int{}
	var b [errorBytes]byte
	for range times {
		stream.Read(b[:])
		counts[min(max(sampleError(b[:]), -reach), reach)]++
	}
	chi := 0.0
	for k := int64(-reach); k <= reach; k++ {
		abs := k
		if k < 0 {
			abs = -k
		}
		pr := float64(cumulative[abs])
		if abs > 0 {
			pr = (pr - float64(cumulative[abs-1])) / 2
		}
		if abs == reach {
			pr = (math.Exp2(64) - float64(cumulative[reach-1])) / 2
		}
		want := times * pr / math.Exp2(64)
		chi += math.Pow(float64(counts[k])-want, 2) / want
	}
	if chi > 45.3 { // 0.1 % point of 20 degrees of freedom
		t.Errorf("chi-square of row errors is %.1f", chi)
	}
}

// TestPRFIsKMAC checks sample 4 of NIST's KMACXOF256 examples.
func TestPRFIsKMAC(t *testing.T) {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(0x40 + i)
	}
	out := make([]byte, 64)
	kmacXOF256(key, []byte{0, 1, 2, 3}, "My Tagged Application").Read(out)
	want := "1755133f1534752aad0748f2c706fb5c784512cab835cd15676b16c0c6647fa96faa7af634a0bf8ff6df39374fa00fad9a39e322a7c92065a64eb1fb0801eb2b"
	if got := hex.EncodeToString(out); got != want {
		t.Errorf("KMACXOF256 gives %s", got)
	}
}

// TestTernaryDigitsAreDigits: all 243 values in every lane, beside values of other lanes.
func TestTernaryDigitsAreDigits(t *testing.T) {
	for v := range uint64(243) {
		others := [together]uint64{v, 242, 0, 242 - v}
		for at := range together {
			var word uint64
			var want [5]int32
			for i := range others {
				rest := others[(i+at)%together]
				word |= rest << (lane * i)
				for d := range want {
					want[d] += int32(rest % 3)
					rest /= 3
				}
			}
			var got [5]int32
			if got[0], got[1], got[2], got[3], got[4] = ternaryDigits(word); got != want {
				t.Fatalf("digits of %d in lane %d: %d, want %d", v, at, got, want)
			}
		}
	}
}

// TestTernaryPiecesAreBalanced: each of -1, 0 and 1 is a third of an expansion.
func TestTernaryPiecesAreBalanced(t *testing.T) {
	p := defaultParams(t)
	var counts [3]int
	const times = 20
	for i := range times {
		for _, v := range p.Expand(testContext, record.ID{byte(i)}, 0, Seed{1}) {
			counts[v+1]++
		}
	}
	third := float64(times*p.n) / 3
	for v, c := range counts {
		if math.Abs(float64(c)-third) > 5*math.Sqrt(third) {
			t.Errorf("%d occurs %d times, a third is %.0f", v-1, c, third)
		}
	}
	for b := uint32(0); b < 243; b++ {
		if b*171>>9 != b/3 {
			t.Fatalf("%d/3 is computed as %d", b, b*171>>9)
		}
	}
}

// TestRowsHaveOneEncoding: packing and unpacking are inverse, in both profiles and
// where padding is needed.
func TestRowsHaveOneEncoding(t *testing.T) {
	for _, profile := range []Profile{DefaultProfile(), WideProfile()} {
		p := &Params{profile: profile, schema: privacy.V1()}
		rapid.Check(t, func(t *rapid.T) {
			coeffs := rapid.IntRange(1, 55).Draw(t, "coeffs")
			residues := make([]uint64, coeffs*len(profile.Primes))
			for i := range residues {
				residues[i] = rapid.Uint64Range(0, profile.Primes[i%4]-1).Draw(t, "residue")
			}
			b := p.pack(residues)
			back, err := p.unpack(b, coeffs)
			if err != nil || !slices.Equal(back, residues) {
				t.Fatalf("unpacked differently: %v", err)
			}
		})
	}
	p := defaultParams(t)
	if p.RowBytes() != 1458 {
		t.Errorf("a row has %d bytes", p.RowBytes())
	}
}

// TestPolynomialsAreComputedOnceAndForgotten: many goroutines share one polynomial,
// and the cache stays within its bound.
func TestPolynomialsAreComputedOnceAndForgotten(t *testing.T) {
	p := defaultParams(t)
	p.days, p.hours, p.sums = newLRU[*lazyPoly](3), newLRU[*lazyPoly](3), newLRU[poly](3)
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			w := Window{Hour: int64(i%8)*23 - 40, Correction: uint8(i % 3)}
			a, b := p.windowSums("n", [][]Window{{w}})[0], p.expandWindow("n", w)
			for l, r := range p.rings {
				r.NTT(b[l], b[l])
				if !slices.Equal(a[l], b[l]) {
					t.Errorf("window %d is not its expansion", w.Hour)
				}
			}
		})
	}
	all.Wait()
	for _, kept := range []int{p.days.order.Len(), len(p.days.entries), p.hours.order.Len(), p.sums.order.Len()} {
		if kept != 3 {
			t.Errorf("a cache keeps %d polynomials", kept)
		}
	}
}

// TestHoursOfADayAreDisjoint: an hour's polynomial is its day's, rotated by whole
// strides, so that hours read different coefficients of one product; days before 1970
// split alike. No row is longer than a stride.
func TestHoursOfADayAreDisjoint(t *testing.T) {
	p := defaultParams(t)
	if p.schema.Coefficients() > p.stride() || p.stride()*hoursPerDay > p.n {
		t.Fatalf("24 rows of %d coefficients do not fit strides of %d in %d", p.schema.Coefficients(), p.stride(), p.n)
	}
	for hour, want := range map[int64]struct {
		day  int64
		hour int
	}{0: {0, 0}, 23: {0, 23}, 24: {1, 0}, -1: {-1, 23}, -24: {-1, 0}, -25: {-2, 23}} {
		if d, h := (Window{Hour: hour}).split(); d.number != want.day || h != want.hour {
			t.Errorf("hour %d is hour %d of day %d", hour, h, d.number)
		}
	}
	of := p.expandDay("n", day{number: -1})
	for hour := range int64(24) {
		a := p.expandWindow("n", Window{Hour: hour - 24})
		from := int(hour) * p.stride()
		for l, q := range p.profile.Primes {
			if !slices.Equal(a[l][:p.n-from], of[l][from:]) {
				t.Fatalf("hour %d does not start at coefficient %d of its day", hour, from)
			}
			if from > 0 && a[l][p.n-1] != (q-of[l][from-1])%q {
				t.Fatalf("hour %d does not go around with the sign changed", hour)
			}
		}
	}
}

// TestUnsafeProfilesAreRefused: every bound is computed and enforced.
func TestUnsafeProfilesAreRefused(t *testing.T) {
	change := func(f func(*Profile)) Profile {
		p := DefaultProfile()
		f(&p)
		return p
	}
	cases := []struct {
		name    string
		profile Profile
		n, t    int
		says    string
	}{
		{"modulus too large for the degree", change(func(p *Profile) { p.LogN = 12 }), 3, 2, "a modulus of 212 bits is above the 106"},
		{"flooding too narrow", change(func(p *Profile) { p.FloodBits = 79 }), 3, 2, "leaves a distance of"},
		{"flooding too wide for the pieces", change(func(p *Profile) { p.FloodBits = 82 }), 3, 2, "the room is 2^83"},
		{"too many pieces", DefaultProfile(), 4, 2, "the room is 2^83"},
		{"no room left for the sum", change(func(p *Profile) { p.Primes = p.Primes[:3] }), 3, 2, "the room is 2^30"},
		{"composite modulus", change(func(p *Profile) { p.Primes[0] = 1<<52 + 1<<14 + 1 }), 3, 2, "is not a prime"},
		{"repeated modulus", change(func(p *Profile) { p.Primes[1] = p.Primes[0] }), 3, 2, "is there twice"},
		{"modulus without a transform", change(func(p *Profile) { p.Primes[0] = 9007199254740881 }), 3, 2, "is not 1 modulo"},
		{"narrower payload", change(func(p *Profile) { p.PayloadBits = 64 }), 3, 2, "the schema's have 128"},
		{"rows beyond every field", change(func(p *Profile) { p.MaxRows = 1 << 31 }), 3, 2, "out of range"},
	}
	for _, c := range cases {
		sharing, err := NewSharing(c.n, c.t)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(c.profile, privacy.V1(), sharing); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := New(DefaultProfile(), privacy.V1(), Sharing{Members: 3, Threshold: 2}); err == nil {
		t.Error("a sharing that NewSharing did not make was accepted")
	}
}

// TestPrimesAreTheLargestThereAre: nobody chose them for anything else.
func TestPrimesAreTheLargestThereAre(t *testing.T) {
	for _, p := range Profiles() {
		if largest := largestPrimes(p.LogN, p.ResidueBits, len(p.Primes)); !slices.Equal(p.Primes, largest) {
			t.Errorf("%s: primes are %d, the largest are %d", p.Name, p.Primes, largest)
		}
		if named, ok := ProfileByName(p.Name); !ok || named.LogN != p.LogN {
			t.Errorf("%s is not found by its name", p.Name)
		}
	}
	if _, ok := ProfileByName("n4096"); ok {
		t.Error("an unknown profile was found")
	}
}

// largestPrimes returns the largest primes of so many bits that are 1 modulo 2N.
func largestPrimes(logN, bits, count int) []uint64 {
	var primes []uint64
	step := uint64(2) << logN
	for q := uint64(1)<<bits + 1 - step; len(primes) < count; q -= step {
		if new(big.Int).SetUint64(q).ProbablyPrime(32) {
			primes = append(primes, q)
		}
	}
	return primes
}

// TestSharingNeedsTheThreshold: any t members hold all pieces, any t-1 lack one.
func TestSharingNeedsTheThreshold(t *testing.T) {
	for _, c := range [][2]int{{2, 2}, {3, 2}, {3, 3}, {4, 2}, {5, 3}, {7, 3}} {
		s, err := NewSharing(c[0], c[1])
		if err != nil {
			t.Fatal(err)
		}
		held := func(members []int) int {
			pieces := map[int]bool{}
			for _, m := range members {
				for _, p := range s.Held(m) {
					pieces[p] = true
				}
			}
			return len(pieces)
		}
		for _, some := range subsets(s.Members, s.Threshold) {
			if held(some) != s.Pieces() {
				t.Errorf("%v: members %v lack a piece", c, some)
			}
		}
		for _, few := range subsets(s.Members, s.Threshold-1) {
			if held(few) == s.Pieces() {
				t.Errorf("%v: members %v hold every piece", c, few)
			}
		}
	}
	s, _ := NewSharing(3, 2)
	for p := range 3 {
		if s.Holds(p, p) || len(s.Holders(p)) != 2 {
			t.Errorf("2 of 3: piece %d is held by %v", p, s.Holders(p))
		}
	}
	for _, c := range [][2]int{{3, 1}, {3, 4}, {1, 1}, {12, 6}, {100, 2}, {0, 0}, {-1, -1}} {
		if _, err := NewSharing(c[0], c[1]); err == nil {
			t.Errorf("a sharing %d of %d was made", c[1], c[0])
		}
	}
}

// members makes three members with keys.
func members(t testing.TB) ([]record.Member, []*HPKEPrivate) {
	t.Helper()
	var list []record.Member
	var keys []*HPKEPrivate
	for _, msp := range []string{"HospitalA", "HospitalB", "PatientsAssociation"} {
		k, err := NewHPKEKey()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
		list = append(list, record.Member{MSP: msp, SeedKey: k.Public(), PieceKey: k.Public()})
	}
	return list, keys
}

// TestSeedsReachTheirHolders: every member opens the seeds of its pieces and no
// others, from a blob of the known length.
func TestSeedsReachTheirHolders(t *testing.T) {
	p := defaultParams(t)
	list, keys := members(t)
	d := newTestDevice(t, p, testContext)
	blob, err := p.SealSeeds(testContext, d.id, d.seeds, list)
	if err != nil {
		t.Fatal(err)
	}
	if len(blob) != p.Safety().SeedBlobBytes {
		t.Errorf("the blob has %d bytes", len(blob))
	}
	hashes := seedHashes(p, d)
	for m, key := range keys {
		stored, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseHPKEKey(stored)
		if err != nil {
			t.Fatal(err)
		}
		seeds, err := p.OpenSeeds(testContext, d.id, m, list[m], again, blob, hashes)
		if err != nil {
			t.Fatal(err)
		}
		if len(seeds) != 2 {
			t.Errorf("member %d opened %d seeds", m, len(seeds))
		}
		for _, piece := range p.Sharing().Held(m) {
			if seeds[piece] != d.seeds[piece] {
				t.Errorf("member %d has another seed of piece %d", m, piece)
			}
		}
		wrong := slices.Clone(hashes)
		wrong[p.Sharing().Held(m)[0]][0] ^= 1
		if _, err := p.OpenSeeds(testContext, d.id, m, list[m], again, blob, wrong); !errors.Is(err, ErrBox) {
			t.Errorf("a seed that does not match its hash: %v", err)
		}
	}
}

func seedHashes(p *Params, d *testDevice) []record.ID {
	var hashes []record.ID
	for piece, s := range d.seeds {
		hashes = append(hashes, p.SeedHash(testContext, d.id, piece, s))
	}
	return hashes
}

// TestPieceKeysReachTheirHolders: a box opens for its recipient, maker, piece and
// check value only, and the recipient can show it where it does not.
func TestPieceKeysReachTheirHolders(t *testing.T) {
	list, keys := members(t)
	k := NewPieceKey()
	post, err := SealPieceKey(testContext, 0, 1, k, "HospitalA", list[1:])
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenPieceKey(testContext, post, "HospitalA", list[1], keys[1]); err != nil || got != k {
		t.Fatalf("the key does not arrive: %v", err)
	}
	if _, err := ComplainPieceKey(testContext, post, "HospitalA", list[1], keys[1]); !errors.Is(err, opening.ErrSound) {
		t.Errorf("there is a complaint about a sound key: %v", err)
	}
	for name, change := range map[string]func(c *Context, p *record.PieceKey, from *string){
		"other piece":       func(_ *Context, p *record.PieceKey, _ *string) { p.Piece = 1 },
		"other round":       func(_ *Context, p *record.PieceKey, _ *string) { p.Round = 0 },
		"other epoch":       func(c *Context, _ *record.PieceKey, _ *string) { c.Epoch = 1 },
		"other check value": func(_ *Context, p *record.PieceKey, _ *string) { p.Check = record.ID{} },
		"other maker":       func(_ *Context, _ *record.PieceKey, from *string) { *from = "PatientsAssociation" },
		"other box": func(_ *Context, p *record.PieceKey, _ *string) {
			p.Boxes = []record.SealedBox{{To: "HospitalB", Ciphertext: p.Boxes[1].Ciphertext}}
		},
	} {
		c, p, from := testContext, post, "HospitalA"
		change(&c, &p, &from)
		if _, err := OpenPieceKey(c, p, from, list[1], keys[1]); !errors.Is(err, ErrBox) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := ComplainPieceKey(c, p, from, list[1], keys[1]); err != nil {
			t.Errorf("%s: no complaint: %v", name, err)
		}
	}
	if _, err := OpenPieceKey(testContext, post, "HospitalA", list[1], keys[2]); err == nil || errors.Is(err, ErrBox) {
		t.Errorf("a key of one's own that is wrong: %v", err)
	}
	if _, err := OpenPieceKey(testContext, post, "HospitalA", list[0], keys[0]); !errors.Is(err, ErrNoBox) {
		t.Errorf("a member that it is not sealed to: %v", err)
	}
}

// TestSecretsDoNotPrint: no verb, logger or encoder shows a secret.
func TestSecretsDoNotPrint(t *testing.T) {
	p := defaultParams(t)
	d := newTestDevice(t, p, testContext)
	key, err := NewHPKEKey()
	if err != nil {
		t.Fatal(err)
	}
	v, err := p.KeyProduct(testContext, []int{0}, groupsOf(t, p, []*testDevice{d}, Window{})[0])
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]any{
		"seed": Seed{77}, "piece key": PieceKey{77}, "ternary": p.Expand(testContext, d.id, 0, d.seeds[0]),
		"key sum": p.NewKeySum(), "device key": d.key, "hpke key": key, "key vector": v,
	}
	for name, s := range secrets {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			if got := fmt.Sprintf(verb, s); got != hidden {
				t.Errorf("%s prints as %.60s with %s", name, got, verb)
			}
		}
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s)
		text, err := json.Marshal(s)
		if !strings.Contains(log.String(), hidden) || err != nil || string(text) != `"`+hidden+`"` {
			t.Errorf("%s: log %s, JSON %s (%v)", name, log.String(), text, err)
		}
	}
}

// TestAddPiecesIsExpandAndAdd: with either way sums come out the same, however many pieces
// are expanded at once, and a sum of another length is refused.
func TestAddPiecesIsExpandAndAdd(t *testing.T) {
	p := defaultParams(t)
	a := p.NewKeySum()
	var pieces []Piece
	for i := range 2*together + 1 {
		d := fixedDevice(t, p, i)
		pieces = append(pieces, Piece{d.id, 2, d.seeds[2]})
		if err := a.Add(p.Expand(testContext, d.id, 2, d.seeds[2])); err != nil {
			t.Fatal(err)
		}
		b := p.NewKeySum()
		if err := p.AddPieces(b, testContext, pieces); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a, b) {
			t.Errorf("of %d pieces AddPieces adds something else", len(pieces))
		}
	}
	if err := p.AddPieces(a[:100], testContext, pieces[:1]); err == nil {
		t.Error("a piece was added to a sum of another length")
	}
}

// TestSumsOfSumsAreSums: parts of a cohort are added up apart, and taken out again.
func TestSumsOfSumsAreSums(t *testing.T) {
	p := defaultParams(t)
	all, parts := p.NewKeySum(), [2]KeySum{p.NewKeySum(), p.NewKeySum()}
	for i := range 5 {
		d := fixedDevice(t, p, i)
		for _, sum := range []KeySum{all, parts[i%2]} {
			if err := p.AddPieces(sum, testContext, []Piece{{d.id, 2, d.seeds[2]}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	sum := p.NewKeySum()
	for _, part := range parts {
		if err := sum.AddSum(part); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(sum, all) {
		t.Error("the sums of the parts are not the sum of all")
	}
	if err := sum.SubSum(parts[0]); err != nil || !slices.Equal(sum, parts[1]) {
		t.Errorf("what is left is not the other part (%v)", err)
	}
	if sum.AddSum(all[:100]) == nil || sum.SubSum(all[:100]) == nil {
		t.Error("a sum of another length was taken")
	}
}

// TestKeysSealConcurrently: rows of many days sealed at once are those that are
// sealed one after another.
func TestKeysSealConcurrently(t *testing.T) {
	p := defaultParams(t)
	one, many := fixedDevice(t, p, 1), fixedDevice(t, p, 1)
	payloads := smallRow(t, p, 60, 7)
	var all sync.WaitGroup
	for i := range 40 {
		w := Window{Hour: int64(i * 13), Correction: uint8(i % 2)}
		noise := func() *sha3.SHAKE { return prf(testKeys[0][:], record.SumID([]byte{byte(i)}), "test") }
		want, err := p.seal(one.key, w, payloads, noise())
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if got, err := p.seal(many.key, w, payloads, noise()); err != nil || !bytes.Equal(got, want) {
				t.Errorf("window %v is sealed differently (%v)", w, err)
			}
		})
	}
	all.Wait()
}

// TestKeysRefuseWhatTheyWereNotMadeFor covers the refusals of sealing.
func TestKeysRefuseWhatTheyWereNotMadeFor(t *testing.T) {
	p := defaultParams(t)
	d := newTestDevice(t, p, testContext)
	row := smallRow(t, p, 1, 1)
	if _, err := p.Seal(Context{Network: "other"}, d.key, Window{}, row); err == nil {
		t.Error("sealed for another network")
	}
	if _, err := p.Seal(testContext, d.key, Window{Correction: 4}, row); err == nil {
		t.Error("sealed a fifth time")
	}
	if _, err := p.Seal(testContext, d.key, Window{}, row[1:]); err == nil {
		t.Error("sealed a short row")
	}
	if _, err := p.Seal(testContext, nil, Window{}, row); err == nil {
		t.Error("sealed without a key")
	}
	d.key.Wipe()
	if _, err := p.Seal(testContext, d.key, Window{}, row); err == nil {
		t.Error("sealed with a wiped key")
	}
	for name, seeds := range map[string][]Seed{
		"too few": d.seeds[:2], "repeated": {d.seeds[0], d.seeds[1], d.seeds[0]}, "zero": {d.seeds[0], {}, d.seeds[1]},
	} {
		if _, err := p.NewDeviceKey(testContext, d.id, seeds); err == nil {
			t.Errorf("a device key from seeds that are %s", name)
		}
	}
	if _, err := p.NewDeviceKey(Context{}, d.id, d.seeds); err == nil {
		t.Error("a device key without a network")
	}
}
