package consent

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/claim"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Request is one operation on one patient's data that somebody wants.
type Request struct {
	Grantee   string // MSP ID of who asks
	Purpose   string
	Operation string
	Metric    string
	From      int64 // data hours [From, Until)
	Until     int64
	At        int64  // ledger time, Unix seconds
	Exact     bool   // without privacy noise; for OpAggregate
	Claim     *Claim // what is to be proven; for OpPredicate only, which needs it
}

// Claim is what is to be proven about the days of a request.
type Claim struct {
	Bounds record.Bounds
	// Used counts, by consent, the claims that were asked under it already.
	Used map[record.ID]uint32
}

// Decision answers a Request. Where it permits, Document and Version name the
// consent that does, [From, Until) are the hours that it covers (all that were
// asked, for an aggregate those of the request that lie in the
// consent's data period), CapMicro its cap and BeyondShare what it says of that.
type Decision struct {
	Permit      bool
	Reasons     []string // why, for people; when refused one for each document
	Document    record.ID
	Version     uint32
	From        int64
	Until       int64
	CapMicro    uint64
	BeyondShare bool
}

// Decide answers a request from one patient's documents, in any order, older
// versions among them or not. Only the latest version of each ID counts. A
// denial that touches any part of the request refuses all of it. Of several
// documents that permit, the one decides that covers the most hours, then one that
// lets the grantee beyond its share, then the one with the largest cap, then the one
// with the smallest ID.
func Decide(docs []Document, r Request) Decision {
	if err := checkRequest(docs, r); err != nil {
		return refuse(err.Error())
	}
	best := Decision{}
	var denials, reasons []string
	for i := range docs {
		d := &docs[i]
		if superseded(docs, i) {
			continue
		}
		why := objection(d, r)
		if d.Effect == EffectDeny {
			if why == "" {
				denials = append(denials, name(d)+" denies it")
			}
			continue
		}
		if why != "" {
			reasons = append(reasons, name(d)+" "+why)
			continue
		}
		if c := cover(d, r); !best.Permit || better(c, best) {
			best = c
		}
	}
	switch {
	case len(denials) > 0:
		return refuse(denials...)
	case best.Permit:
		return best
	case len(reasons) == 0:
		return refuse("there is no consent")
	}
	return refuse(reasons...)
}

func refuse(reasons ...string) Decision { return Decision{Reasons: reasons} }

func name(d *Document) string {
	return fmt.Sprintf("consent %s version %d", d.ID.Short(), d.Version)
}

func checkRequest(docs []Document, r Request) error {
	if r.From >= r.Until {
		return errors.New("no data hours are asked for")
	}
	if r.Operation == OpPredicate && r.Claim == nil {
		return errors.New("the claim to be proven is missing")
	}
	for i := range docs {
		if docs[i].Patient != docs[0].Patient {
			return errors.New("the documents are of several patients")
		}
	}
	return nil
}

// superseded reports whether document i is not the one that counts for its ID.
// Two different documents under one ID and version are no ledger's; they are not
// superseded, and objection refuses neither, so the narrower reading is taken
// here: the one that permits gives way.
func superseded(docs []Document, i int) bool {
	d := &docs[i]
	for j := range docs {
		o := &docs[j]
		if j == i || o.ID != d.ID {
			continue
		}
		if o.Version > d.Version || o.Version == d.Version && restrains(o) && !restrains(d) {
			return true
		}
	}
	return false
}

func restrains(d *Document) bool { return d.Status != StatusActive || d.Effect != EffectPermit }

// objection says why a document does not apply to a request; empty means that it
// does. For a denial, touching is enough.
func objection(d *Document, r Request) string {
	deny := d.Effect == EffectDeny
	switch {
	case d.Status == StatusInError:
		return "was entered in error"
	case d.Status != StatusActive:
		return "is revoked"
	case d.Effect != EffectPermit && !deny:
		return "has no known effect"
	case r.At < d.NotBefore:
		return "is not valid yet"
	case r.At >= d.Expires:
		return "has expired"
	case d.Grantee != r.Grantee:
		return "is for another institution"
	case d.Purpose != r.Purpose && !(deny && deniedBy(r.Purpose, d.Purpose)):
		return "is for another purpose (" + clip(d.Purpose) + ")"
	case !slices.Contains(d.Operations, r.Operation):
		return "does not name the operation " + clip(r.Operation)
	case !slices.Contains(d.Metrics, r.Metric):
		return "does not name the metric " + clip(r.Metric)
	case d.DataUntil <= r.From || d.DataFrom >= r.Until || !deny && d.DataFrom >= d.DataUntil:
		return "is for another data period"
	case deny:
		return ""
	case r.Operation == OpAggregate:
		return aggregateObjection(d, r)
	case d.DataFrom > r.From || d.DataUntil < r.Until:
		return "covers only a part of the data period"
	case r.Operation != OpPredicate:
		return ""
	}
	return claimObjection(d, r)
}

func aggregateObjection(d *Document, r Request) string {
	switch {
	case d.CapMicro == 0:
		return "has a cap of 0, which keeps the patient out of every statistic"
	case r.Exact && !d.Exact:
		return "allows answers with privacy noise only"
	}
	return ""
}

// hoursPerDay is how many of a request's hours make a day of a claim.
const hoursPerDay = 24

func claimObjection(d *Document, r Request) string {
	m, ok := wearable.ByKey(r.Metric)
	days := (r.Until - r.From) / hoursPerDay
	if !ok || r.From%hoursPerDay != 0 || r.Until%hoursPerDay != 0 || days > verifier.MaxDays {
		return "cannot allow a claim that is not about whole days, a few at most"
	}
	if err := claim.Check(m, int(days), r.Claim.Bounds); err != nil {
		return "cannot allow it: " + err.Error()
	}
	if r.Claim.Used[d.ID] >= d.Claims {
		return fmt.Sprintf("allows %d claims in all, which were asked", d.Claims)
	}
	var reasons []string
	for _, t := range d.Predicates {
		if t.Metric != r.Metric || int64(t.Days) != days {
			continue
		}
		why := t.objection(m, r.Claim.Bounds)
		if why == "" {
			return ""
		}
		reasons = append(reasons, why)
	}
	if len(reasons) == 0 {
		return fmt.Sprintf("lists no claims about %s over %d days", m.Key, days)
	}
	return "does not allow this claim: " + strings.Join(reasons, ", or ")
}

func cover(d *Document, r Request) Decision {
	return Decision{
		Permit: true, Reasons: []string{name(d) + " permits it"},
		Document: d.ID, Version: d.Version, CapMicro: d.CapMicro, BeyondShare: d.BeyondShare,
		From: max(d.DataFrom, r.From), Until: min(d.DataUntil, r.Until),
	}
}

func better(a, b Decision) bool {
	if x, y := a.Until-a.From, b.Until-b.From; x != y {
		return x > y
	}
	if a.BeyondShare != b.BeyondShare {
		return a.BeyondShare
	}
	if a.CapMicro != b.CapMicro {
		return a.CapMicro > b.CapMicro
	}
	return a.Document.Compare(b.Document) < 0
}
