package he

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/vitalveil/vitalveil/he/privacy"
)

// Refusal is a sharing that a profile is not safe for, and why.
type Refusal struct {
	Members   int    `json:"members"`
	Threshold int    `json:"threshold"`
	Pieces    int    `json:"pieces"`
	Reason    string `json:"reason"`
}

// ProfileSafety is what New computes about a profile for every sharing.
type ProfileSafety struct {
	Profile     string    `json:"profile"`
	Primes      []uint64  `json:"primes"`
	PayloadBits int       `json:"payload_bits"`
	Safe        []Report  `json:"safe"`
	Refused     []Refusal `json:"refused"`
}

// Safety computes the margins of every profile of this package with a schema, for
// every sharing that NewSharing can make.
func Safety(s *privacy.Schema) []ProfileSafety {
	var all []ProfileSafety
	for _, p := range Profiles() {
		entry := ProfileSafety{Profile: p.Name, Primes: p.Primes, PayloadBits: p.PayloadBits, Safe: []Report{}, Refused: []Refusal{}}
		for n := 2; n <= maxMembers; n++ {
			for t := 2; t <= n; t++ {
				sharing, err := NewSharing(n, t)
				if err != nil {
					continue // more pieces than any profile is for
				}
				report, err := assess(p, s, sharing)
				if err != nil {
					entry.Refused = append(entry.Refused, Refusal{n, t, sharing.Pieces(), err.Error()})
					continue
				}
				entry.Safe = append(entry.Safe, report)
			}
		}
		all = append(all, entry)
	}
	return all
}

// rowSchemas are the schemas of all kinds of rows: of hours, and of days where there are
// any.
func rowSchemas() []*privacy.Schema {
	var all []*privacy.Schema
	for _, s := range privacy.Schemas() {
		all = append(all, s)
		if day := s.Day(); day != nil {
			all = append(all, day)
		}
	}
	return all
}

// WriteProfiles prints Safety of every row schema, as JSON (a list of
// ProfileSafety, schema by schema) or as text for people. It returns the writer's
// error.
func WriteProfiles(w io.Writer, asJSON bool) error {
	schemas := rowSchemas()
	var all []ProfileSafety
	for _, s := range schemas {
		all = append(all, Safety(s)...)
	}
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(all)
	}
	var b strings.Builder
	profiles := len(all) / len(schemas)
	for i, p := range all[:profiles] {
		if i > 0 {
			b.WriteByte('\n')
		}
		p.text(&b)
		for j := i; j < len(all); j += profiles {
			all[j].rowText(&b)
		}
	}
	fmt.Fprintf(&b, "\nLimits of the modulus (classical attacks, ternary secret):\n")
	for _, t := range securityTables {
		fmt.Fprintf(&b, "  %s\n", t.source)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// text prints what all sharings have in common, then a line for each number of
// pieces.
func (p ProfileSafety) text(b *strings.Builder) {
	fmt.Fprintf(b, "%s: %d primes, payload of %d bits\n", p.Profile, len(p.Primes), p.PayloadBits)
	if len(p.Safe) == 0 {
		fmt.Fprintf(b, "  not safe for any sharing: %s\n", p.Refused[0].Reason)
		return
	}
	r := p.Safe[0]
	fmt.Fprintf(b, "  security      %d bits: modulus of %d bits at degree %d; 128 bits of security allow %d\n", r.SecurityBits, r.ModulusBits, r.Degree, r.ModulusLimit)
	fmt.Fprintf(b, "  noise         2^%.1f in a sum of %d rows, the most (standard deviation)\n", r.ErrorBits, r.MaxRows)
	fmt.Fprintf(b, "  flooding      uniform in +-2^%d per piece; distance 2^%.1f over %d released coefficients and %d probed ones, limit 2^%d\n", r.FloodBits, r.FloodDistanceLog2, ReleasedCoefficients, ProbedCoefficients, maxDistanceLog2)
	fmt.Fprintf(b, "  share         %d bytes for a metric\n", r.ShareBytes)
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "  PIECES\tROOM LEFT\tWRONG OPENING\tSHARINGS (ENROLMENT BYTES)\n")
	for pieces := 1; pieces <= maxPieces; pieces++ {
		var sharings []string
		var last Report
		for _, r := range p.Safe {
			if r.Pieces == pieces {
				sharings = append(sharings, fmt.Sprintf("%d of %d (%d)", r.Threshold, r.Members, r.SeedBlobBytes))
				last = r
			}
		}
		if sharings != nil {
			fmt.Fprintf(tw, "  %d\t%.2f bits\t%s\t%s\n", pieces, last.OpeningMarginBits, failureText(last.FailureLog2), strings.Join(sharings, ", "))
		}
	}
	tw.Flush() // a strings.Builder takes everything
	if len(p.Refused) > 0 {
		fmt.Fprintf(b, "  refused for %d other sharings, from %d pieces on\n", len(p.Refused), fewestPieces(p.Refused))
	}
}

// rowText prints what the schema decides: the length of a row, and the room in its
// fields.
func (p ProfileSafety) rowText(b *strings.Builder) {
	if len(p.Safe) == 0 {
		return
	}
	r, values := p.Safe[0], 0
	for _, s := range rowSchemas() {
		if s.Name != r.Schema {
			continue
		}
		for _, q := range s.Questions() {
			values += len(s.Fields(q.Slot))
		}
	}
	fmt.Fprintf(b, "  rows of %s: %d bytes (%.1f a value); %.2f bits of room above the largest sum, for privacy noise; no overflow\n",
		r.Schema, r.RowBytes, float64(r.RowBytes)/float64(values), r.FieldMarginBits)
}

func failureText(log2 float64) string {
	if log2 <= -1000 {
		return "below 2^-1000"
	}
	return fmt.Sprintf("below 2^%.0f", log2)
}

func fewestPieces(refused []Refusal) int {
	fewest := maxPieces
	for _, r := range refused {
		fewest = min(fewest, r.Pieces)
	}
	return fewest
}
