package he

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
)

// payloadFor is the least payload at which every metric of the schema fits into
// so many coefficients; 0 if there is none up to 1024 bits.
func payloadFor(s *privacy.Schema, coeffs int) int {
	for bits := 1; bits <= 1024; bits++ {
		all := true
		for slot := range s.Slots() {
			all = all && coefficientsAt(s.Fields(slot), bits) <= coeffs
		}
		if all {
			return bits
		}
	}
	return 0
}

// coefficientsAt is the least number of coefficients of so many bits that take the
// fields of a metric. All fields but two are equally wide, so only what is beside
// these two is a choice: they share a coefficient or do not.
func coefficientsAt(fields []privacy.Field, bits int) int {
	var wide []int
	narrow, count := fields[0].Width, 0
	for _, f := range fields {
		if f.Width == narrow {
			count++
		} else {
			wide = append(wide, f.Width)
		}
	}
	if len(wide) != 2 || bits < max(wide[0], wide[1]) {
		return math.MaxInt
	}
	each := bits / narrow
	with := func(used, taken int) int {
		left := max(0, count-taken)
		return used + (left+each-1)/each
	}
	least := with(2, (bits-wide[0])/narrow+(bits-wide[1])/narrow)
	if together := wide[0] + wide[1]; together <= bits {
		least = min(least, with(1, (bits-together)/narrow))
	}
	return least
}

// leastModulus finds the shortest modulus for a ring, a payload and a number of
// pieces, of the fewest primes that it takes, with the least flood.
func leastModulus(logN, payload, pieces int, rows int64) (Profile, Report, bool) {
	p := Profile{Name: "search", LogN: logN, PayloadBits: payload, MaxRows: rows}
	var r Report
	for p.FloodBits = 1; p.assessFlood(&r) != nil; p.FloodBits++ {
	}
	for bits := payload + p.FloodBits; bits <= modulusLimit(requiredSecurity, logN); bits++ {
		count := (bits + maxResidueBits - 1) / maxResidueBits
		if bits%count != 0 {
			continue // primes have one width
		}
		p.ResidueBits = bits / count
		p.Primes = largestPrimes(logN, p.ResidueBits, count)
		r.ModulusBits = product(p.Primes).BitLen()
		if p.assessOpening(&r, pieces) == nil {
			return p, r, true
		}
	}
	return p, r, false
}

// TestParameterSearch pins the result of the search; docs/design/sealing.md shows
// the same tables and says what follows from them.
func TestParameterSearch(t *testing.T) {
	var b bytes.Buffer
	s := privacy.V1()
	for _, pieces := range []int{3, 7, 35} {
		fmt.Fprintf(&b, "%d pieces, 2^%.1f rows:\n\n", pieces, math.Log2(float64(DefaultProfile().MaxRows)))
		writeSearch(&b, s, pieces)
	}
	writeSharings(&b, s)
	writeQuestions(&b, privacy.V2())
	writeRows(&b)
	goldenText(t, "search.md", b.Bytes())
	page, err := os.ReadFile(filepath.Join("..", "docs", "design", "sealing.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range strings.Split(strings.TrimSpace(b.String()), "\n\n") {
		if strings.HasPrefix(table, "|") && !strings.Contains(string(page), table) {
			t.Errorf("docs/design/sealing.md does not show the table\n%s", table)
		}
	}
}

func writeSearch(b *bytes.Buffer, s *privacy.Schema, pieces int) {
	fmt.Fprintln(b, "| N | coefficients | payload | modulus | limit | metric | row | seal | expand | words | room left |")
	fmt.Fprintln(b, "|---|---|---|---|---|---|---|---|---|---|---|")
	shortest := math.MaxInt // bits a metric, of the rings so far
	for logN := 12; logN <= 15; logN++ {
		before := shortest
		for coeffs := privacy.Buckets + 3; coeffs >= 1; coeffs-- {
			payload := payloadFor(s, coeffs)
			p, r, ok := leastModulus(logN, payload, pieces, DefaultProfile().MaxRows)
			if !ok {
				break // fewer coefficients need a longer payload
			}
			count, width := len(p.Primes), p.ResidueBits
			if coeffs*count*width >= shortest || coeffs > 7 {
				continue // not shorter than what is cheaper
			}
			shortest = coeffs * count * width
			fmt.Fprintf(b, "| %d | %d | %d | %d x %d = %d | %d | %d | %d | %.1f | %.0f | %d | %.2f |\n",
				1<<logN, coeffs, payload, count, width, count*width, modulusLimit(requiredSecurity, logN),
				(shortest+7)/8, (s.Slots()*shortest+count*width+7)/8, // and the zero coefficient
				transformWork(p)/transformWork(DefaultProfile()), float64(int(1)<<logN)/8192, coeffs*count, r.OpeningMarginBits)
		}
		if shortest == before {
			fmt.Fprintf(b, "| %d | none | | | %d | | | | | | |\n", 1<<logN, modulusLimit(requiredSecurity, logN))
		}
	}
	fmt.Fprintln(b)
}

// transformWork is proportional to the time of one inverse transform, which is
// most of sealing.
func transformWork(p Profile) float64 {
	return float64(len(p.Primes)) * float64(int(1)<<p.LogN) * float64(p.LogN)
}

// writeSharings lists, for up to seven members, the first profile that is safe and
// what it leaves.
func writeSharings(b *bytes.Buffer, s *privacy.Schema) {
	fmt.Fprintln(b, "| sharing | pieces | profile | row | enrolment | distance | room left |")
	fmt.Fprintln(b, "|---|---|---|---|---|---|---|")
	safety := Safety(s)
	for n := 2; n <= 7; n++ {
		for t := 2; t <= n; t++ {
			at := slices.IndexFunc(safety, func(p ProfileSafety) bool { return reportFor(p, n, t) != nil })
			r := reportFor(safety[at], n, t)
			fmt.Fprintf(b, "| %d of %d | %d | `%s` | %d | %d | 2^%.1f | %.2f |\n", t, n, r.Pieces, r.Profile, r.RowBytes, r.SeedBlobBytes, r.FloodDistanceLog2, r.OpeningMarginBits)
		}
	}
}

// writeQuestions lists what the questions of a schema beside its metrics cost: no
// packing could take fewer coefficients than their bits fill.
func writeQuestions(b *bytes.Buffer, s *privacy.Schema) {
	p := &Params{profile: DefaultProfile(), schema: s}
	fmt.Fprintln(b, "\n| question | fields | bits | coefficients | least | bytes |")
	fmt.Fprintln(b, "|---|---|---|---|---|---|")
	for _, q := range s.Questions()[s.Slots():] {
		bits, coeffs := 0, len(s.MetricCoefficients(q.Slot))
		for _, f := range s.Fields(q.Slot) {
			bits += f.Width
		}
		fmt.Fprintf(b, "| `%s` | %d | %d | %d | %d | %d |\n", q.Key, len(s.Fields(q.Slot)), bits, coeffs,
			(bits+privacy.PayloadBits-1)/privacy.PayloadBits, p.packedBytes(coeffs))
	}
}

// writeRows lists the length of a row, in bytes, by profile and schema.
func writeRows(b *bytes.Buffer) {
	fmt.Fprint(b, "\n| profile |")
	for _, s := range rowSchemas() {
		fmt.Fprintf(b, " %s: %d coefficients |", s.Name, s.Coefficients())
	}
	fmt.Fprintln(b, "\n|---|"+strings.Repeat("---|", len(rowSchemas())))
	for _, profile := range Profiles() {
		fmt.Fprintf(b, "| `%s` |", profile.Name)
		for _, s := range rowSchemas() {
			fmt.Fprintf(b, " %d |", (&Params{profile: profile, schema: s}).RowBytes())
		}
		fmt.Fprintln(b)
	}
}

func reportFor(p ProfileSafety, n, t int) *Report {
	for i := range p.Safe {
		if p.Safe[i].Members == n && p.Safe[i].Threshold == t {
			return &p.Safe[i]
		}
	}
	return nil
}

// TestPayloadIsTheLeastForSixCoefficients: 128 bits is not a round number that
// happened to fit, the widest metric needs all of them.
func TestPayloadIsTheLeastForSixCoefficients(t *testing.T) {
	if got := payloadFor(privacy.V1(), privacy.MetricCoefficients); got != privacy.PayloadBits {
		t.Errorf("six coefficients need %d bits, the schema has %d", got, privacy.PayloadBits)
	}
	if got := payloadFor(privacy.V1(), 1); got != widest() {
		t.Errorf("one coefficient needs %d bits, the widest metric has %d", got, widest())
	}
}

func widest() int {
	most := 0
	for slot := range privacy.V1().Slots() {
		sum := 0
		for _, f := range privacy.V1().Fields(slot) {
			sum += f.Width
		}
		most = max(most, sum)
	}
	return most
}

// TestLeastModulusIsTight: with one bit less of flood or of modulus a profile of
// the search is refused.
func TestLeastModulusIsTight(t *testing.T) {
	p, _, ok := leastModulus(13, 128, 3, DefaultProfile().MaxRows)
	if !ok {
		t.Fatal("no modulus found")
	}
	var r Report
	low := p
	low.FloodBits--
	if low.assessFlood(&r) == nil {
		t.Error("a smaller flood is safe too")
	}
	need := new(big.Int).Lsh(p.distanceBound(3, p.MaxRows), uint(p.PayloadBits+1))
	if need.BitLen() < product(p.Primes).BitLen()-1 {
		t.Errorf("the modulus has %d bits, %d are needed", product(p.Primes).BitLen(), need.BitLen())
	}
}
