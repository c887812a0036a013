package consent

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// The generators draw from few values, so that documents and requests meet.

func pick[T any](t *rapid.T, label string, values ...T) T {
	return values[rapid.IntRange(0, len(values)-1).Draw(t, label)]
}

func subset(t *rapid.T, label string, values ...string) []string {
	mask := rapid.IntRange(1, 1<<len(values)-1).Draw(t, label)
	var list []string
	for i, v := range values {
		if mask>>i&1 == 1 {
			list = append(list, v)
		}
	}
	return list
}

func span(t *rapid.T, label string) (int64, int64) {
	from := rapid.Int64Range(0, 6).Draw(t, label)
	return from, from + rapid.Int64Range(1, 12).Draw(t, label+" length")
}

func anyDocument(t *rapid.T) Document {
	d := Document{
		ID: record.SumID([]byte(pick(t, "id", "a", "b", "c", "d"))), Version: rapid.Uint32Range(1, 3).Draw(t, "version"),
		Patient: record.SumID([]byte("patient")), Grantee: pick(t, "grantee", "A", "A", "A", "B"),
		Purpose:    pick(t, "purpose", "HRESCH", "HRESCH", "HRESCH", "CLINTRCH", "TREAT"),
		Status:     pick(t, "status", StatusActive, StatusActive, StatusActive, StatusActive, StatusRevoked, StatusInError),
		Effect:     pick(t, "effect", EffectPermit, EffectPermit, EffectPermit, EffectPermit, EffectDeny),
		Operations: subset(t, "operations", OpAggregate, OpPredicate, OpShare), Metrics: subset(t, "metrics", "heart_rate", "spo2"),
		CapMicro: rapid.Uint64Range(0, 3).Draw(t, "cap"),
	}
	d.DataFrom, d.DataUntil = days(t, "data")
	d.NotBefore, d.Expires = span(t, "validity")
	if d.Version > 1 {
		d.Previous = record.SumID([]byte("previous"))
	} else {
		d.Status = StatusActive
	}
	if d.Effect == EffectPermit && slices.Contains(d.Operations, OpAggregate) {
		d.Exact, d.BeyondShare = rapid.Bool().Draw(t, "exact"), rapid.Bool().Draw(t, "beyond share")
	}
	if d.Effect == EffectPermit && slices.Contains(d.Operations, OpPredicate) {
		m, _ := wearable.ByKey(d.Metrics[0])
		terms := Terms{Metric: m.Key, Days: 1}
		if b := fewBounds(t, "terms"); rapid.Bool().Draw(t, "listed") {
			terms.Claim = &b
		} else {
			terms.Limits = around(t, m, 1, b)
		}
		d.Predicates, d.Claims = []Terms{terms}, rapid.Uint32Range(1, 2).Draw(t, "claims")
	}
	return d
}

// days is span in hours of whole days.
func days(t *rapid.T, label string) (int64, int64) {
	from, until := span(t, label)
	return 24 * from, 24 * until
}

// fewBounds draws one of a few claims.
func fewBounds(t *rapid.T, label string) record.Bounds {
	return bounds(func(b *record.Bounds) {
		b.Lo = rapid.Uint32Range(2, 4).Draw(t, label+" lo")
		b.Hi = b.Lo + rapid.Uint32Range(0, 2).Draw(t, label+" width")
		b.K = pick(t, label+" k", uint32(60), 61)
	})
}

func anyDocuments(t *rapid.T) []Document {
	docs := make([]Document, rapid.IntRange(0, 6).Draw(t, "documents"))
	for i := range docs {
		docs[i] = anyDocument(t)
	}
	return docs
}

// anyRequest is near one of the documents: what that permits, with a field or two
// drawn anew.
func anyRequest(t *rapid.T, docs ...Document) Request {
	near := anyDocument(t)
	if len(docs) > 0 {
		near = rapid.SampledFrom(docs).Draw(t, "near")
	}
	r := Request{
		Grantee: near.Grantee, Purpose: near.Purpose, Operation: near.Operations[0], Metric: near.Metrics[0],
		From: near.DataFrom, Until: near.DataUntil, At: near.NotBefore,
	}
	anew := func(label string) bool { return rapid.Uint32().Draw(t, label)%8 == 7 }
	if anew("new asker") {
		r.Grantee = pick(t, "asker", "B", "A")
	}
	if anew("new purpose") {
		r.Purpose = pick(t, "asked purpose", "CLINTRCH", "HRESCH", "TREAT")
	}
	if anew("new operation") {
		r.Operation = pick(t, "operation", OpPredicate, OpAggregate, OpShare)
	}
	if anew("new metric") {
		r.Metric = pick(t, "metric", "spo2", "heart_rate")
	}
	if anew("new data") {
		r.From, r.Until = days(t, "asked data")
	}
	if anew("new time") {
		r.At = rapid.Int64Range(0, 16).Draw(t, "at")
	}
	r.Exact = anew("exactly")
	if r.Operation == OpPredicate {
		r.Until = r.From + 24
		used := map[record.ID]uint32{record.SumID([]byte("a")): rapid.Uint32Range(0, 2).Draw(t, "used")}
		r.Claim = &Claim{Bounds: fewBounds(t, "asked"), Used: used}
		if len(near.Predicates) > 0 && near.Predicates[0].Claim != nil && !anew("new claim") {
			r.Claim.Bounds = *near.Predicates[0].Claim
		}
	}
	return r
}

func TestRequestsAndDocumentsMeet(t *testing.T) {
	permitted, total := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		total++
		docs := anyDocuments(t)
		if Decide(docs, anyRequest(t, docs...)).Permit {
			permitted++
		}
	})
	if permitted*10 < total {
		t.Errorf("%d of %d generated requests are permitted: the properties below test little", permitted, total)
	}
}

func TestGeneratedDocumentsAreValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if err := Validate(anyDocument(t)); err != nil {
			t.Fatal(err)
		}
	})
}

// A denial that applies is never lost, whatever else the patient signed.
func TestADenialIsNeverLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		docs := anyDocuments(t)
		r, d := anyRequest(t, docs...), anyDocument(t)
		d.ID, d.Effect, d.Status, d.Predicates, d.Claims = record.SumID([]byte("denial")), EffectDeny, StatusActive, nil, 0
		d.Exact, d.BeyondShare = false, false
		d.Grantee, d.Purpose, d.Operations, d.Metrics = r.Grantee, r.Purpose, []string{r.Operation}, []string{r.Metric}
		d.DataFrom, d.DataUntil = r.Until-1, r.Until // one hour is enough
		d.NotBefore, d.Expires = r.At, r.At+1
		at := rapid.IntRange(0, len(docs)).Draw(t, "place")
		all := append(append(append([]Document(nil), docs[:at]...), d), docs[at:]...)
		if got := Decide(all, r); got.Permit {
			t.Fatalf("permitted in spite of %+v: %+v", d, got)
		}
	})
}

// Replacing a permission by a narrower one permits nothing new, and covers no
// more hours.
func TestNarrowerNeverWidens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		docs, wide := anyDocuments(t), anyDocument(t)
		r := anyRequest(t, wide)
		wide.ID = record.SumID([]byte("narrowed"))
		narrow := narrowed(t, wide)
		if wide.Effect == EffectPermit && wide.Status == StatusActive && !Narrower(wide, narrow) {
			t.Fatalf("%+v is not called narrower than %+v", narrow, wide)
		}
		if wide.Effect != EffectPermit {
			return
		}
		before := Decide(append(docs[:len(docs):len(docs)], wide), r)
		after := Decide(append(docs[:len(docs):len(docs)], narrow), r)
		if after.Permit && (!before.Permit || after.Until-after.From > before.Until-before.From) {
			t.Fatalf("narrowing %+v to %+v turned %+v into %+v", wide, narrow, before, after)
		}
	})
}

// A version of a denial that is not called wider lets nothing through that was denied.
func TestADenialThatDoesNotWidenDeniesAsMuch(t *testing.T) {
	kept := 0
	rapid.Check(t, func(t *rapid.T) {
		before, after := anyDocument(t), anyDocument(t)
		for _, d := range []*Document{&before, &after} {
			d.ID, d.Patient, d.Grantee, d.Effect = before.ID, before.Patient, before.Grantee, EffectDeny
			d.Exact, d.BeyondShare, d.Predicates, d.Claims = false, false, nil, 0
		}
		if rapid.Bool().Draw(t, "mostly the same") {
			purpose := rapid.SampledFrom([]string{before.Purpose, before.Purpose, after.Purpose}).Draw(t, "new purpose")
			after = before
			after.Status, after.Purpose = StatusActive, purpose
			after.DataFrom -= rapid.Int64Range(-1, 8).Draw(t, "from")
			after.DataUntil += rapid.Int64Range(-1, 8).Draw(t, "until")
			after.NotBefore -= rapid.Int64Range(-1, 8).Draw(t, "begins")
			after.Expires += rapid.Int64Range(-1, 8).Draw(t, "ends")
		}
		before.Status = StatusActive
		if Widens(&before, after) {
			return
		}
		kept++
		permit, r := before, anyRequest(t, before)
		permit.ID, permit.Effect = record.SumID([]byte("permission")), EffectPermit
		r.Purpose = rapid.SampledFrom([]string{r.Purpose, before.Purpose, "ETREAT", "CLINTRCH"}).Draw(t, "purpose")
		permit.Purpose = r.Purpose
		if !Decide([]Document{permit, before}, r).Permit && Decide([]Document{permit}, r).Permit && Decide([]Document{permit, after}, r).Permit {
			t.Fatalf("%+v is permitted after %+v, which %+v denied", r, after, before)
		}
	})
	if kept == 0 {
		t.Error("no generated version keeps a denial")
	}
}

// narrowed takes something away in each dimension, or nothing.
func narrowed(t *rapid.T, d Document) Document {
	d.DataFrom += rapid.Int64Range(0, 2).Draw(t, "less data")
	d.Exact, d.BeyondShare = d.Exact && rapid.Bool().Draw(t, "still exact"), d.BeyondShare && rapid.Bool().Draw(t, "still beyond")
	d.Claims -= min(d.Claims, rapid.Uint32Range(0, 1).Draw(t, "fewer claims"))
	d.Expires -= rapid.Int64Range(0, 2).Draw(t, "less time")
	d.CapMicro /= rapid.Uint64Range(1, 2).Draw(t, "less cap")
	d.Metrics = d.Metrics[:rapid.IntRange(1, len(d.Metrics)).Draw(t, "fewer metrics")]
	d.Predicates = append([]Terms(nil), d.Predicates...)
	for i := range d.Predicates {
		if l := d.Predicates[i].Limits; l != nil {
			less := *l
			less.Hours += rapid.Uint32Range(0, 1).Draw(t, "more hours")
			less.K.Least += rapid.Uint32Range(0, 1).Draw(t, "more of k")
			less.Range = &Interval{Lo: l.Range.Lo, Hi: l.Range.Hi, Width: l.Range.Width + rapid.Uint32Range(0, 1).Draw(t, "more width")}
			d.Predicates[i].Limits = &less
		}
	}
	return d
}

// What Narrower calls narrower is narrower for Decide, for any two documents.
func TestNarrowerAgreesWithDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyDocument(t), anyDocument(t)
		r := anyRequest(t, b)
		b.ID = a.ID
		if r.Claim != nil {
			r.Claim.Used = nil
		}
		if Narrower(a, b) && Decide([]Document{b}, r).Permit && !Decide([]Document{a}, r).Permit {
			t.Fatalf("%+v is called narrower than %+v and permits %+v", b, a, r)
		}
	})
}

// A permission ends at the second that it names, not one sooner or later, and
// asking for less never turns a yes into a no.
func TestExpiryIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := anyDocument(t)
		r := anyRequest(t, d)
		r.At = d.NotBefore
		if !Decide([]Document{d}, r).Permit {
			return
		}
		for at := d.NotBefore - 3; at < d.Expires+3; at++ {
			r.At = at
			if got, want := Decide([]Document{d}, r).Permit, at >= d.NotBefore && at < d.Expires; got != want {
				t.Fatalf("at %d of [%d, %d) it is %v", at, d.NotBefore, d.Expires, got)
			}
		}
	})
}

// The order in which documents are given, and older versions among them, decide
// nothing.
func TestOrderAndOldVersionsDecideNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var docs []Document
		for _, name := range []string{"a", "b", "c"} {
			d := anyDocument(t)
			d.ID, d.Version, d.Previous = record.SumID([]byte(name)), 3, record.SumID([]byte("previous"))
			docs = append(docs, d)
		}
		r := anyRequest(t, docs...)
		want := Decide(docs, r)
		old := anyDocument(t)
		old.ID, old.Version = docs[0].ID, 2
		got := Decide([]Document{old, docs[2], docs[0], docs[1]}, r)
		if got.Permit != want.Permit || got.Document != want.Document || got.From != want.From || got.Until != want.Until {
			t.Fatalf("%+v in one order, %+v in another", want, got)
		}
	})
}

// Asking for fewer hours never turns a yes into a no.
func TestAskingForLessIsNeverRefusedWhereMoreIsNot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		docs := anyDocuments(t)
		r := anyRequest(t, docs...)
		if d := Decide(docs, r); d.Permit && r.Operation != OpPredicate { // of other days another claim is made
			r.From = rapid.Int64Range(d.From, d.Until-1).Draw(t, "from")
			r.Until = rapid.Int64Range(r.From+1, d.Until).Draw(t, "until")
			if less := Decide(docs, r); !less.Permit || less.From != r.From || less.Until != r.Until {
				t.Fatalf("of %+v, %+v", d, less)
			}
		}
	})
}

func FuzzDecide(f *testing.F) {
	f.Add(uint32(1), "active", "permit", int64(0), int64(5), int64(0), int64(9), int64(3))
	f.Add(uint32(0), "", "deny", int64(-5), int64(1<<62), int64(1), int64(0), int64(-1))
	f.Fuzz(func(t *testing.T, version uint32, status, effect string, from, until, notBefore, expires, at int64) {
		d := permit()
		d.Version, d.Status, d.Effect = version, status, effect
		d.DataFrom, d.DataUntil, d.NotBefore, d.Expires = from, until, notBefore, expires
		r := aggregate()
		r.At = at
		got := Decide([]Document{d}, r)
		want := status == StatusActive && effect == EffectPermit && at >= notBefore && at < expires && from < until && from < r.Until && until > r.From
		if got.Permit != want {
			t.Fatalf("%+v for %+v", got, d)
		}
		if got.Permit && (got.From < r.From || got.Until > r.Until || got.From >= got.Until) {
			t.Fatalf("covers [%d, %d)", got.From, got.Until)
		}
	})
}
