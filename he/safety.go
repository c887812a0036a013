package he

import (
	"fmt"
	"math"
	"math/big"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
)

// ReleasedCoefficients is how many coefficients of answers a network releases in its
// life, for the distance that flooding leaves: a thousand queries a day for nine
// years.
const ReleasedCoefficients = 20_000_000

// ProbedCoefficients is how many zero coefficients of single devices an epoch's
// members open beside these, after queries whose sums did not open (Params.Probe).
const ProbedCoefficients = 100_000_000

// probedRows is the most rows of one device that a probe can be about: every hour
// that a query can ask, corrected as often as possible.
const probedRows = privacy.MaxHours * (1 + record.MaxCorrection)

// maxDistanceLog2: flooding must leave a statistical distance below 2^-40 over
// all released coefficients.
const maxDistanceLog2 = -40

// Report is what New computed about the safety of a profile with a schema and a
// sharing. Sizes are in bytes.
type Report struct {
	Profile string `json:"profile"`
	Schema  string `json:"schema"`
	Members int    `json:"members"`
	// Threshold members open; fewer do not.
	Threshold int `json:"threshold"`
	Pieces    int `json:"pieces"`

	Degree      int `json:"degree"`
	ModulusBits int `json:"modulus_bits"`
	// ModulusLimit is the lowest limit of the tables for 128 bits of security;
	// SecurityBits is the highest level of the tables that the modulus reaches.
	ModulusLimit   int    `json:"modulus_limit_bits"`
	SecurityBits   int    `json:"security_bits"`
	SecuritySource string `json:"security_source"`

	MaxRows int64 `json:"max_rows"`
	// ErrorBits is log2 of the standard deviation of MaxRows errors.
	ErrorBits float64 `json:"error_bits"`
	FloodBits int     `json:"flood_bits"`
	// FloodDistanceLog2 is log2 of the statistical distance between
	// ReleasedCoefficients and ProbedCoefficients real ones and ones that depend on
	// the sums alone.
	FloodDistanceLog2 float64 `json:"flood_distance_log2"`
	// OpeningMarginBits is log2 of the room Q/2T over floods and eight standard
	// deviations of errors; FailureLog2 bounds log2 of the probability that a
	// coefficient opens wrongly (-1000 stands for anything below).
	OpeningMarginBits float64 `json:"opening_margin_bits"`
	FailureLog2       float64 `json:"failure_log2"`
	// FieldMarginBits is log2 of the tightest field's room over MaxRows times its
	// largest value; what is left is for privacy noise.
	FieldMarginBits float64 `json:"field_margin_bits"`

	RowBytes      int `json:"row_bytes"`
	ShareBytes    int `json:"share_bytes"` // of one metric
	SeedBlobBytes int `json:"seed_blob_bytes"`
}

// assess computes the report and refuses what is not safe. Comparisons are exact;
// only the report's figures are floating-point.
func assess(p Profile, s *privacy.Schema, sh Sharing) (Report, error) {
	r := Report{
		Profile: p.Name, Schema: s.Name, Members: sh.Members, Threshold: sh.Threshold, Pieces: sh.Pieces(),
		Degree: 1 << p.LogN, ModulusBits: product(p.Primes).BitLen(),
		ModulusLimit: modulusLimit(requiredSecurity, p.LogN), SecuritySource: SecuritySource,
		MaxRows: p.MaxRows, FloodBits: p.FloodBits,
	}
	r.SecurityBits = securityLevel(r.ModulusBits, p.LogN)
	if r.SecurityBits < requiredSecurity {
		return r, fmt.Errorf("a modulus of %d bits is above the %d bits for degree %d (%s)", r.ModulusBits, r.ModulusLimit, r.Degree, SecuritySource)
	}
	if err := p.assessFlood(&r); err != nil {
		return r, err
	}
	if err := p.assessOpening(&r, sh.Pieces()); err != nil {
		return r, err
	}
	if err := s.Safe(p.MaxRows, nil, sh.Pieces()); err != nil {
		return r, err
	}
	r.FieldMarginBits = fieldMargin(s, p.MaxRows)
	params := &Params{profile: p, schema: s, sharing: sh}
	r.RowBytes, r.ShareBytes = params.RowBytes(), params.ShareBytes(privacy.MetricCoefficients)
	r.SeedBlobBytes = params.seedBlobBytes()
	return r, nil
}

// errorVariance100 of a row plus the variance of its rounding, at most 1/4, times
// 100.
const rowVariance100 = errorVariance100 + 25

// assessFlood: a coefficient is released as sum + errors + flood. Two uniform
// distributions on 2^(FloodBits+1) points shifted by e differ by |e| over that
// number, and the mean of |e| is at most its standard deviation. One flood counts:
// that of the piece that those who collude lack. Distances add up: those of answers,
// each of the largest sum, and those of probes, each of one device's rows.
func (p Profile) assessFlood(r *Report) error {
	shift := new(big.Int).Mul(big.NewInt(ReleasedCoefficients), deviation(p.MaxRows))
	shift.Add(shift, new(big.Int).Mul(big.NewInt(ProbedCoefficients), deviation(probedRows)))
	r.ErrorBits = math.Log2(math.Sqrt(float64(p.MaxRows) * rowVariance100 / 100))
	r.FloodDistanceLog2 = log2(shift) - float64(p.FloodBits+1)
	if room := p.FloodBits + 1 + maxDistanceLog2; room < 0 || shift.Cmp(new(big.Int).Lsh(big.NewInt(1), uint(room))) >= 0 {
		return fmt.Errorf("flooding by 2^%d leaves a distance of 2^%.1f over %d coefficients of %d rows and %d of single devices, it must stay below 2^%d", p.FloodBits, r.FloodDistanceLog2, ReleasedCoefficients, p.MaxRows, ProbedCoefficients, maxDistanceLog2)
	}
	return nil
}

// deviation is the standard deviation of the errors of so many rows, rounded up.
func deviation(rows int64) *big.Int {
	v := new(big.Int).Mul(big.NewInt(rows), big.NewInt(rowVariance100))
	v.Div(v, big.NewInt(100)).Sqrt(v)
	return v.Add(v, big.NewInt(1))
}

// distanceBound is how far an opened coefficient may lie from its payload's
// place: the floods of all pieces, eight standard deviations of the errors of the
// rows, and the roundings of the shares' noise and of the payload.
func (p Profile) distanceBound(pieces int, rows int64) *big.Int {
	bound := new(big.Int).Lsh(big.NewInt(int64(pieces)), uint(p.FloodBits))
	v := new(big.Int).Mul(big.NewInt(rows), big.NewInt(64*rowVariance100))
	v.Div(v, big.NewInt(100)).Sqrt(v)
	return bound.Add(bound, v).Add(bound, big.NewInt(int64(pieces)+2))
}

// assessOpening: pieces x flood + 8 x errors must stay below Q/2T. The room that
// is left makes the probability of a wrong opening far smaller than eight
// standard deviations would.
func (p Profile) assessOpening(r *Report, pieces int) error {
	q := product(p.Primes)
	bound := p.distanceBound(pieces, p.MaxRows)
	scaled := new(big.Int).Lsh(bound, uint(p.PayloadBits+1))
	r.OpeningMarginBits = log2(q) - log2(scaled)
	if scaled.Cmp(q) >= 0 {
		return fmt.Errorf("%d pieces flooded by 2^%d and %d rows need 2^%.1f, the room is 2^%.1f: use fewer pieces or a wider profile", pieces, p.FloodBits, p.MaxRows, log2(bound), log2(q)-float64(p.PayloadBits+1))
	}
	room := math.Exp2(log2(q)-float64(p.PayloadBits+1)) - float64(pieces)*math.Exp2(float64(p.FloodBits))
	sigmas := room / math.Exp2(r.ErrorBits)
	r.FailureLog2 = max(-1000, 1-sigmas*sigmas/2*math.Log2E)
	return nil
}

func fieldMargin(s *privacy.Schema, rows int64) float64 {
	least := math.Inf(1)
	for _, q := range s.Questions() {
		for _, f := range s.Fields(q.Slot) {
			least = min(least, float64(f.Width-1)-math.Log2(float64(f.Max))-math.Log2(float64(rows)))
		}
	}
	return least
}

func log2(x *big.Int) float64 {
	f, _ := new(big.Float).SetInt(x).Float64()
	return math.Log2(f)
}
