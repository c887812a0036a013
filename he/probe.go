package he

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Where a sum does not open although its shares agree, some device has sealed what is
// no row. A probe finds it: the zero coefficient (privacy.Schema.ZeroCoefficient) of
// one device's rows of the query is opened, and nothing else. Of honest rows it is
// zero, so nobody learns anything from it that was not known before.

// ProbeRequest says what a share of a probe is for.
type ProbeRequest struct {
	Network    string
	Epoch      uint32
	Query      string // transaction id of the query that failed
	Piece      int
	CohortRoot record.ID
	Device     record.ID
}

// ProbeProduct is the KeyProduct of one piece of one device on the zero coefficient:
// windows are those of the device's rows in the query.
func (p *Params) ProbeProduct(c Context, windows []Window, secret KeySum) (*KeyVector, error) {
	if len(windows) > probedRows {
		return nil, fmt.Errorf("a probe is about at most %d rows, not %d", probedRows, len(windows))
	}
	return p.KeyProduct(c, p.probed(), []KeyGroup{{windows, secret}})
}

// ProbeShare floods the product of a device and encodes it. The flood is a function of
// the piece key, of everything in the request and of the product, under a purpose of
// its own: equal holders send equal bytes, and no share of a query or of another
// device has the same flood.
//
// Noise: uniform in [-2^FloodBits, 2^FloodBits); none for privacy, since nothing about
// a patient is opened.
func (p *Params) ProbeShare(key PieceKey, req ProbeRequest, v *KeyVector) ([]byte, error) {
	c := Context{req.Network, req.Epoch}
	switch {
	case v == nil || v.context != c || v.kind != p.kind || !slices.Equal(v.coeffs, p.probed()):
		return nil, fmt.Errorf("probe of query %q: the key vector was made for something else", req.Query)
	case req.Query == "" || len(req.Query) > 256:
		return nil, fmt.Errorf("a query's transaction id has 1 to 256 bytes")
	case req.Piece < 0 || req.Piece >= p.sharing.Pieces():
		return nil, fmt.Errorf("there is no piece %d", req.Piece)
	case key == (PieceKey{}):
		return nil, fmt.Errorf("probe of query %q: the piece key is zero", req.Query)
	}
	digest := record.Digest(domainProbe, req.Network, []any{
		p.profile.Name, p.schema.Digest(), req.Epoch, req.Query, req.Piece, req.CohortRoot, req.Device,
		record.SumID(p.pack(v.residues)),
	})
	out := slices.Clone(v.residues)
	p.addFlood(prf(key[:], digest, "probe flood"), out)
	return p.pack(out), nil
}

// NewProbe starts an empty sum of one device's rows, on the zero coefficient.
func (p *Params) NewProbe() *Sum {
	s, err := p.NewSum(p.probed())
	if err != nil {
		panic(err) // every schema has the coefficient
	}
	return s
}

// Probe opens a device's sum of NewProbe with one share of every piece, by piece
// number, and reports whether it is zero, as in honest rows. What is no sum or no
// share of this form is an error.
func (p *Params) Probe(sum *Sum, shares map[int][]byte) (bool, error) {
	if sum == nil || !slices.Equal(sum.coeffs, p.probed()) {
		return false, errors.New("the sum is not on the zero coefficient")
	}
	opened, err := p.Open(sum, shares)
	if errors.Is(err, ErrOpen) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return opened[0].Sign() == 0, nil
}

// probed is the one coefficient that a probe covers.
func (p *Params) probed() []int { return []int{p.schema.ZeroCoefficient()} }
