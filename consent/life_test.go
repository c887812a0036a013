package consent

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/internal/record"
)

func TestAVersionsLife(t *testing.T) {
	first := permit()
	for name, c := range map[string]struct {
		d      Document
		latest uint32
		at     int64
		want   string
	}{
		"not on the ledger":     {first, 0, 1500, StateDraft},
		"the next, not there":   {changed(first, func(d *Document) { d.Version = 2 }), 1, 1500, StateDraft},
		"before it begins":      {first, 1, 0, StatusActive},
		"its last second":       {first, 1, 1999, StatusActive},
		"expired":               {first, 1, 2000, StateExpired},
		"superseded":            {first, 2, 1500, StateSuperseded},
		"superseded, and over":  {first, 2, 9999, StateSuperseded},
		"revoked":               {changed(first, func(d *Document) { d.Version, d.Status = 2, StatusRevoked }), 2, 9999, StatusRevoked},
		"entered in error":      {changed(first, func(d *Document) { d.Version, d.Status = 2, StatusInError }), 2, 0, StatusInError},
		"entered in error, old": {first, 2, 0, StateSuperseded},
	} {
		if got := State(c.d, c.latest, c.at); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestTheSaltedHashBindsTheDocumentAndSaysNothing(t *testing.T) {
	d := Details{Signed: Signed{Document: permit()}, Salt: record.RandomID()}
	entry := d.Entry(network)
	for what, other := range map[string]Details{
		"another document": {Signed: Signed{Document: changed(permit(), func(d *Document) { d.CapMicro++ })}, Salt: d.Salt},
		"another salt":     {Signed: d.Signed, Salt: record.RandomID()},
	} {
		if other.Entry(network).Hash == entry.Hash {
			t.Errorf("%s has the same hash", what)
		}
	}
	if d.Entry("another-network").Hash == entry.Hash || entry.Hash == permit().Digest(network) {
		t.Error("the hash is that of another network, or needs no salt to be guessed")
	}
}

func TestSharingAnAttestationNeedsItsOwnPermission(t *testing.T) {
	share := aggregate()
	share.Operation = OpShare
	allowed := changed(permit(), func(d *Document) { d.Operations = append(slices.Clone(d.Operations), OpShare) })
	if Decide([]Document{permit()}, share).Permit {
		t.Error("a permission for aggregates and predicates allows to pass attestations on")
	}
	if d := Decide([]Document{allowed}, share); !d.Permit {
		t.Errorf("refused: %v", d.Reasons)
	}
	if Decide([]Document{allowed}, with(share, func(r *Request) { r.Until = 201 })).Permit {
		t.Error("an attestation about more than the permitted hours may be passed on")
	}
	no := changed(deny(), func(d *Document) { d.Operations = []string{OpShare} })
	if Decide([]Document{allowed, no}, share).Permit || !Decide([]Document{allowed, no}, aggregate()).Permit {
		t.Error("a denial of sharing has to stop that and nothing else")
	}
}

// A coarse permission with denials as its exceptions: what touches an exception
// is refused, and everything else is decided as if there were none.
func TestDenialsAreExceptionsFromACoarsePermission(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		coarse := changed(permit(), func(d *Document) {
			d.DataFrom, d.DataUntil, d.NotBefore, d.Expires = 0, 20, 0, 20
			d.Operations, d.Grantee = []string{OpAggregate, OpPredicate, OpShare}, "A"
		})
		docs := []Document{coarse}
		for i := range rapid.IntRange(1, 4).Draw(t, "exceptions") {
			d := anyDocument(t)
			d.ID, d.Version, d.Previous = record.SumID([]byte{byte(i)}), 1, record.ID{}
			d.Effect, d.Status, d.Predicates = EffectDeny, StatusActive, nil
			docs = append(docs, d)
		}
		r := anyRequest(t, docs...)
		touched := slices.ContainsFunc(docs[1:], func(d Document) bool {
			return d.Grantee == r.Grantee && deniedBy(r.Purpose, d.Purpose) && slices.Contains(d.Operations, r.Operation) &&
				slices.Contains(d.Metrics, r.Metric) && d.DataFrom < r.Until && r.From < d.DataUntil && r.At >= d.NotBefore && r.At < d.Expires
		})
		got, alone := Decide(docs, r), Decide(docs[:1], r)
		if touched && got.Permit || !touched && got.Permit != alone.Permit {
			t.Fatalf("touched %v: with exceptions %+v, without %+v", touched, got, alone)
		}
	})
}
