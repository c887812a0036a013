package he

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"slices"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
)

// KeyGroup is a part of a cohort: windows, and the sum of one piece over the
// devices that have rows in all of them. A device may be in several groups, but a
// (device, window) in one only.
type KeyGroup struct {
	Windows []Window
	Secret  KeySum
}

const (
	// maxGroups bounds the work of one KeyProduct.
	maxGroups = 1 << 16
	// groupBatch bounds its memory: so many sums of windows at a time.
	groupBatch = cachedSums
)

// KeyVector is one piece's part of a decryption before flooding: the sum over
// groups of a_T times the secret, on the asked coefficients. It is key material
// and prints as "[secret]"; Params.Share makes of it what may leave.
type KeyVector struct {
	redacted
	context  Context
	kind     string
	coeffs   []int
	hours    int64 // how many hours, or days, its windows are about
	residues []uint64
}

// KeyProduct multiplies the secrets of a cohort by the public polynomials of its
// windows, which it derives itself.
func (p *Params) KeyProduct(c Context, coeffs []int, groups []KeyGroup) (*KeyVector, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := p.checkCoeffs(coeffs); err != nil {
		return nil, err
	}
	if len(groups) == 0 || len(groups) > maxGroups {
		return nil, fmt.Errorf("a cohort has 1 to %d groups, not %d", maxGroups, len(groups))
	}
	sets := make([][]Window, len(groups))
	hours := map[int64]struct{}{}
	for i, g := range groups {
		windows, err := p.sortedWindows(g.Windows)
		if err != nil {
			return nil, fmt.Errorf("group %d: %w", i, err)
		}
		if len(windows) == 0 || len(g.Secret) != p.n {
			return nil, fmt.Errorf("group %d has %d windows and a secret of %d coefficients, not %d", i, len(windows), len(g.Secret), p.n)
		}
		sets[i] = windows
		for _, w := range windows {
			hours[w.Hour] = struct{}{}
		}
	}
	total := p.newPoly()
	for from := 0; from < len(groups); from += groupBatch {
		until := min(from+groupBatch, len(groups))
		for i, a := range p.windowSums(c.Network, sets[from:until]) {
			s := p.transform(groups[from+i].Secret)
			for l, r := range p.rings {
				r.MulCoeffsMontgomeryThenAdd(a[l], s[l], total[l])
				clear(s[l])
			}
		}
	}
	v := p.keyVector(c, coeffs, total)
	v.hours = int64(len(hours))
	return v, nil
}

// keyVector keeps the asked coefficients of a transformed product and wipes it.
func (p *Params) keyVector(c Context, coeffs []int, total poly) *KeyVector {
	v := &KeyVector{context: c, kind: p.kind, coeffs: slices.Clone(coeffs)}
	v.residues = make([]uint64, len(coeffs)*len(p.rings))
	for l, r := range p.rings {
		r.INTT(total[l], total[l])
		for j, c := range coeffs {
			v.residues[j*len(p.rings)+l] = total[l][c]
		}
		clear(total[l])
	}
	return v
}

// PieceKey is the PRF key of a piece, the same at all its holders. It prints as
// "[secret]".
type PieceKey [32]byte

// NewPieceKey returns a fresh key.
func NewPieceKey() PieceKey {
	var k PieceKey
	rand.Read(k[:])
	return k
}

// ShareRequest says what a share is for, as the institution itself derived it
// from the ledger.
type ShareRequest struct {
	Network    string
	Epoch      uint32
	Query      string // transaction id
	Piece      int
	CohortRoot record.ID
	Slot       int           // of the question
	Coeffs     []int         // of Slot, ascending
	Plan       *privacy.Plan // nil in an exact study
	Rows       int64         // rows in the sum
}

// Share floods a key vector, adds the piece's privacy noise and encodes the
// result. Flood and noise are a function of the piece key, of everything in the
// request but Rows, and of the vector itself: equal holders send equal bytes, and
// holders whose vectors differ have independent floods and noise.
//
// Noise: uniform in [-2^FloodBits, 2^FloodBits) on every coefficient; the privacy
// noise of the plan, at full scale, on every field.
func (p *Params) Share(key PieceKey, req ShareRequest, v *KeyVector) ([]byte, error) {
	if err := p.checkRequest(req, v); err != nil {
		return nil, fmt.Errorf("share of query %q: %w", req.Query, err)
	}
	if key == (PieceKey{}) {
		return nil, fmt.Errorf("share of query %q: the piece key is zero", req.Query)
	}
	digest := p.shareDigest(req, v)
	out := slices.Clone(v.residues)
	p.addFlood(prf(key[:], digest, "share flood"), out)
	if req.Plan != nil {
		noise, err := p.schema.Noise(req.Plan, req.Coeffs, func(f privacy.Field) io.Reader {
			return prf(key[:], digest, "share noise "+f.Name)
		})
		if err != nil {
			return nil, fmt.Errorf("share of query %q: %w", req.Query, err)
		}
		p.addPayloads(noise, out)
	}
	return p.pack(out), nil
}

func (p *Params) checkRequest(req ShareRequest, v *KeyVector) error {
	c := Context{req.Network, req.Epoch}
	if err := c.check(); err != nil {
		return err
	}
	if v == nil || v.context != c || v.kind != p.kind {
		return fmt.Errorf("the key vector was made for another network, epoch or profile, or for other rows")
	}
	if req.Query == "" || len(req.Query) > 256 {
		return fmt.Errorf("a query's transaction id has 1 to 256 bytes")
	}
	if req.Piece < 0 || req.Piece >= p.sharing.Pieces() {
		return fmt.Errorf("there is no piece %d", req.Piece)
	}
	if err := p.checkCoeffs(req.Coeffs); err != nil {
		return err
	}
	own := p.schema.MetricCoefficients(req.Slot)
	for _, c := range req.Coeffs {
		if !slices.Contains(own, c) {
			return fmt.Errorf("coefficient %d does not belong to the question in slot %d", c, req.Slot)
		}
	}
	if !slices.Equal(req.Coeffs, v.coeffs) {
		return fmt.Errorf("the key vector covers coefficients %v, not the asked %v", v.coeffs, req.Coeffs)
	}
	if req.Rows > p.profile.MaxRows {
		return fmt.Errorf("%d rows are above the profile's %d", req.Rows, p.profile.MaxRows)
	}
	if req.Plan == nil && p.schema.NeedsNoise(req.Slot) {
		return privacy.ErrNeedsNoise
	}
	if req.Plan != nil && req.Plan.Slot != req.Slot {
		return fmt.Errorf("the plan is for slot %d, not %d", req.Plan.Slot, req.Slot)
	}
	if req.Plan != nil && v.hours > req.Plan.Hours+req.Plan.Days {
		return fmt.Errorf("the key vector is about %d hours or days, the plan pays for %d", v.hours, req.Plan.Hours+req.Plan.Days)
	}
	return p.schema.Safe(req.Rows, req.Plan, p.sharing.Pieces())
}

// shareDigest covers everything that flood and noise depend on.
func (p *Params) shareDigest(req ShareRequest, v *KeyVector) record.ID {
	variances := [][]byte{}
	if req.Plan != nil {
		for _, part := range req.Plan.Parts {
			variances = append(variances, part.Variance.Bytes())
		}
	}
	parts := []any{
		p.profile.Name, p.schema.Digest(), req.Epoch, req.Query, req.Piece, req.CohortRoot,
		req.Slot, req.Coeffs, variances, record.SumID(p.pack(v.residues)),
	}
	if p.schema.Daily() && req.Plan != nil {
		// The same stream at two scales would cancel out: the figures are bound too.
		parts = append(parts, req.Plan.Want.String(), req.Plan.Days)
	}
	return record.Digest(domainShare, req.Network, parts)
}

// addFlood adds to every coefficient a number that is uniform in
// [-2^FloodBits, 2^FloodBits): FloodBits+1 bits of the stream minus 2^FloodBits.
func (p *Params) addFlood(stream io.Reader, residues []uint64) {
	width := p.profile.FloodBits + 1
	offset := new(big.Int).Lsh(big.NewInt(1), uint(p.profile.FloodBits))
	primes := p.profile.Primes
	start := make([]uint64, len(primes))
	for l, q := range primes {
		start[l] = q - new(big.Int).Mod(offset, new(big.Int).SetUint64(q)).Uint64()
	}
	var b [16]byte
	size := (width + 7) / 8
	for j := 0; j < len(residues); j += len(primes) {
		stream.Read(b[:size]) // an XOF never fails and never reads short
		if width%8 != 0 {
			b[size-1] &= 1<<(width%8) - 1
		}
		lo, hi := binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
		for l, q := range primes {
			residues[j+l] = (residues[j+l] + start[l] + rem128(hi, lo, q)) % q
		}
	}
}

// addPayloads adds round(Q*m/T) to every coefficient.
func (p *Params) addPayloads(payloads []privacy.Payload, residues []uint64) {
	primes := p.scaler.primes
	for j, m := range payloads {
		lo, hi, borrow := p.scaler.difference(m, halfway)
		for l := range primes {
			r := &residues[j*len(primes)+l]
			*r = reduceOnce(*r+primes[l].residue(lo, hi, borrow), primes[l].q)
		}
	}
}
