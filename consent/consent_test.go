package consent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

const network = "vitalveil-test"

func permit() Document {
	return Document{
		ID: record.SumID([]byte("consent")), Version: 1, Patient: record.SumID([]byte("patient")), Grantee: "HospitalA",
		Purpose: "HRESCH", Status: StatusActive, Effect: EffectPermit, Operations: []string{OpAggregate, OpPredicate},
		Metrics: []string{"heart_rate", "spo2"}, DataFrom: 100, DataUntil: 200, NotBefore: 1000, Expires: 2000, CapMicro: 50,
		Predicates: []Terms{{Metric: "heart_rate", Days: 1, Limits: limits()}}, Claims: 2,
	}
}

// limits allow claims that single readings are within 60..100 /min, or a part of
// that 10 /min wide at least, over 6 hours or more.
func limits() *Limits {
	return &Limits{
		Hours: 6, Range: &Interval{Lo: 31, Hi: 71, Width: 10},
		K: Span{60, 1200}, MinCount: Span{60, 1440}, OutMax: Span{30, 1440}, DayK: Span{1, 1},
	}
}

// bounds are a claim within limits.
func bounds(change ...func(*record.Bounds)) record.Bounds {
	b := verifier.Unbounded()
	b.Lo, b.Hi, b.K, b.MinCount = 40, 60, 60, 60
	for _, f := range change {
		f(&b)
	}
	return b
}

func deny() Document {
	d := permit()
	d.ID, d.Effect, d.Predicates, d.Claims = record.SumID([]byte("denial")), EffectDeny, nil, 0
	return d
}

func aggregate() Request {
	return Request{Grantee: "HospitalA", Purpose: "HRESCH", Operation: OpAggregate, Metric: "heart_rate", From: 120, Until: 150, At: 1500}
}

func predicate() Request {
	r := aggregate()
	r.Operation, r.Claim, r.Until = OpPredicate, &Claim{Bounds: bounds()}, r.From+24
	return r
}

func with(r Request, change func(*Request)) Request {
	change(&r)
	return r
}

func changed(d Document, change func(*Document)) Document {
	change(&d)
	return d
}

func TestDecideSaysYesOrWhyNot(t *testing.T) {
	for name, c := range map[string]struct {
		docs []Document
		r    Request
		want string // empty: permitted
	}{
		"an aggregate":            {[]Document{permit()}, aggregate(), ""},
		"a predicate":             {[]Document{permit()}, predicate(), ""},
		"no documents":            {nil, aggregate(), "there is no consent"},
		"another institution":     {[]Document{permit()}, with(aggregate(), func(r *Request) { r.Grantee = "HospitalB" }), "another institution"},
		"another purpose":         {[]Document{permit()}, with(aggregate(), func(r *Request) { r.Purpose = "TREAT" }), "another purpose"},
		"a narrower purpose":      {[]Document{permit()}, with(aggregate(), func(r *Request) { r.Purpose = "CLINTRCH" }), "another purpose"},
		"another operation":       {[]Document{permit()}, with(aggregate(), func(r *Request) { r.Operation = "export" }), "operation"},
		"another metric":          {[]Document{permit()}, with(aggregate(), func(r *Request) { r.Metric = "glucose" }), "metric"},
		"an earlier data period":  {[]Document{permit()}, with(aggregate(), func(r *Request) { r.From, r.Until = 50, 100 }), "data period"},
		"a later data period":     {[]Document{permit()}, with(aggregate(), func(r *Request) { r.From, r.Until = 200, 250 }), "data period"},
		"no data period":          {[]Document{permit()}, with(aggregate(), func(r *Request) { r.Until = r.From }), "no data hours"},
		"before it is valid":      {[]Document{permit()}, with(aggregate(), func(r *Request) { r.At = 999 }), "not valid yet"},
		"the first valid second":  {[]Document{permit()}, with(aggregate(), func(r *Request) { r.At = 1000 }), ""},
		"the last valid second":   {[]Document{permit()}, with(aggregate(), func(r *Request) { r.At = 1999 }), ""},
		"when it expires":         {[]Document{permit()}, with(aggregate(), func(r *Request) { r.At = 2000 }), "expired"},
		"revoked":                 {[]Document{changed(permit(), func(d *Document) { d.Status = StatusRevoked })}, aggregate(), "revoked"},
		"an unknown status":       {[]Document{changed(permit(), func(d *Document) { d.Status = "" })}, aggregate(), "revoked"},
		"an unknown effect":       {[]Document{changed(permit(), func(d *Document) { d.Effect = "" })}, aggregate(), "no known effect"},
		"denied":                  {[]Document{permit(), deny()}, aggregate(), "denies"},
		"denied and only that":    {[]Document{deny()}, aggregate(), "denies"},
		"denied in a part":        {[]Document{permit(), changed(deny(), func(d *Document) { d.DataFrom = 149 })}, aggregate(), "denies"},
		"denied elsewhere":        {[]Document{permit(), changed(deny(), func(d *Document) { d.DataFrom = 150 })}, aggregate(), ""},
		"denied once":             {[]Document{permit(), changed(deny(), func(d *Document) { d.Expires = 1500 })}, aggregate(), ""},
		"denied for all research": {[]Document{changed(permit(), func(d *Document) { d.Purpose = "CLINTRCH" }), deny()}, with(aggregate(), func(r *Request) { r.Purpose = "CLINTRCH" }), "denies"},
		"a denial withdrawn":      {[]Document{permit(), changed(deny(), func(d *Document) { d.Status = StatusRevoked })}, aggregate(), ""},
		"two patients":            {[]Document{permit(), changed(permit(), func(d *Document) { d.Patient[0]++ })}, aggregate(), "several patients"},
		"no claim":                {[]Document{permit()}, with(predicate(), func(r *Request) { r.Claim = nil }), "claim"},
		"a part of the days":      {[]Document{permit()}, with(predicate(), func(r *Request) { r.From, r.Until = 96, 120 }), "only a part"},
		"terms of another metric": {[]Document{permit()}, with(predicate(), func(r *Request) { r.Metric = "spo2" }), "lists no claims"},
		"terms of other days":     {[]Document{permit()}, with(predicate(), func(r *Request) { r.Until += 24 }), "lists no claims"},
		"hours, not days":         {[]Document{permit()}, with(predicate(), func(r *Request) { r.Until += 3 }), "whole days"},
		"asked once":              {[]Document{permit()}, with(predicate(), used(1)), ""},
		"asked twice":             {[]Document{permit()}, with(predicate(), used(2)), "2 claims in all"},
		"exact":                   {[]Document{permit()}, with(aggregate(), exactly), "privacy noise only"},
		"exact, where permitted":  {[]Document{changed(permit(), func(d *Document) { d.Exact = true })}, with(aggregate(), exactly), ""},
		"noisy, where exact is":   {[]Document{changed(permit(), func(d *Document) { d.Exact = true })}, aggregate(), ""},
		"exact, denied":           {[]Document{changed(permit(), func(d *Document) { d.Exact = true }), deny()}, with(aggregate(), exactly), "denies"},
		"a cap of nothing":        {[]Document{changed(permit(), capless)}, aggregate(), "cap of 0"},
		"exact under no cap":      {[]Document{changed(permit(), capless)}, with(aggregate(), exactly), "cap of 0"},
		"a claim under no cap":    {[]Document{changed(permit(), capless)}, predicate(), ""},
	} {
		d := Decide(c.docs, c.r)
		if d.Permit != (c.want == "") {
			t.Errorf("%s: %+v", name, d)
		}
		if !strings.Contains(strings.Join(d.Reasons, "; "), c.want) || len(d.Reasons) == 0 {
			t.Errorf("%s: the reasons are %q, want %q", name, d.Reasons, c.want)
		}
	}
}

func used(n uint32) func(*Request) {
	return func(r *Request) { r.Claim.Used = map[record.ID]uint32{permit().ID: n} }
}

func exactly(r *Request) { r.Exact = true }

func capless(d *Document) { d.CapMicro, d.Exact = 0, true }

func TestDecisionNamesTheHoursThatAreCovered(t *testing.T) {
	d := Decide([]Document{permit()}, with(aggregate(), func(r *Request) { r.From, r.Until = 50, 150 }))
	if !d.Permit || d.From != 100 || d.Until != 150 || d.Document != permit().ID || d.Version != 1 || d.CapMicro != 50 {
		t.Errorf("decision is %+v", d)
	}
	d = Decide([]Document{permit()}, with(aggregate(), func(r *Request) { r.From, r.Until = 120, 250 }))
	if !d.Permit || d.From != 120 || d.Until != 200 {
		t.Errorf("decision is %+v", d)
	}
}

func TestOnlyTheLatestVersionCounts(t *testing.T) {
	first := permit()
	second := changed(first, func(d *Document) { d.Version, d.Status = 2, StatusRevoked })
	for _, docs := range [][]Document{{first, second}, {second, first}} {
		if d := Decide(docs, aggregate()); d.Permit {
			t.Errorf("an old version permits: %+v", d)
		}
	}
	twin := changed(first, func(d *Document) { d.Status = StatusRevoked })
	for _, docs := range [][]Document{{first, twin}, {twin, first}} {
		if d := Decide(docs, aggregate()); d.Permit {
			t.Errorf("of two documents with one name the wider counts: %+v", d)
		}
	}
}

func TestOfSeveralPermissionsTheWidestDecides(t *testing.T) {
	small := changed(permit(), func(d *Document) { d.ID[0], d.DataFrom = 1, 140 })
	poor := changed(permit(), func(d *Document) { d.ID[0], d.CapMicro = 2, 1 })
	if d := Decide([]Document{small, poor, permit()}, aggregate()); d.Document != permit().ID || d.BeyondShare {
		t.Errorf("decides by %s", d.Document.Short())
	}
	beyond := changed(poor, func(d *Document) { d.ID[0], d.BeyondShare = 3, true })
	if d := Decide([]Document{small, poor, permit(), beyond}, aggregate()); d.Document != beyond.ID || !d.BeyondShare {
		t.Errorf("decides by %s", d.Document.Short())
	}
}

func TestValidateBoundsEveryField(t *testing.T) {
	if err := Validate(permit()); err != nil {
		t.Fatal(err)
	}
	if err := Validate(deny()); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 65)
	for name, change := range map[string]func(*Document){
		"no id":                 func(d *Document) { d.ID = record.ID{} },
		"no patient":            func(d *Document) { d.Patient = record.ID{} },
		"version 0":             func(d *Document) { d.Version = 0 },
		"version too large":     func(d *Document) { d.Version, d.Previous = MaxVersion+1, d.ID },
		"a first with previous": func(d *Document) { d.Previous = d.ID },
		"a second without":      func(d *Document) { d.Version = 2 },
		"a first revoked":       func(d *Document) { d.Status = StatusRevoked },
		"no grantee":            func(d *Document) { d.Grantee = "" },
		"a long grantee":        func(d *Document) { d.Grantee = long },
		"a grantee with \\x00":  func(d *Document) { d.Grantee = "a\x00b" },
		"an unknown purpose":    func(d *Document) { d.Purpose = "HMARKT" },
		"an unknown status":     func(d *Document) { d.Status = "draft" },
		"an unknown effect":     func(d *Document) { d.Effect = "allow" },
		"no operation":          func(d *Document) { d.Operations = nil },
		"an operation twice":    func(d *Document) { d.Operations = []string{OpAggregate, OpAggregate} },
		"an unknown operation":  func(d *Document) { d.Operations = []string{"export"} },
		"no metric":             func(d *Document) { d.Metrics = nil },
		"a metric twice":        func(d *Document) { d.Metrics = []string{"spo2", "spo2"} },
		"an unknown metric":     func(d *Document) { d.Metrics = []string{"mood"} },
		"an empty period":       func(d *Document) { d.DataUntil = d.DataFrom },
		"a period without end":  func(d *Document) { d.DataUntil = MaxHour + 1 },
		"a period from always":  func(d *Document) { d.DataFrom = -MaxHour - 1 },
		"an empty validity":     func(d *Document) { d.Expires = d.NotBefore },
		"a validity for ever":   func(d *Document) { d.Expires = MaxTime + 1 },
		"a validity since ever": func(d *Document) { d.NotBefore = -MaxTime - 1 },
		"a cap beyond use":      func(d *Document) { d.CapMicro = MaxCapMicro + 1 },
		"terms in a denial":     func(d *Document) { d.Effect = EffectDeny },
		"terms out of place":    func(d *Document) { d.Operations = []string{OpAggregate} },
		"too many terms":        func(d *Document) { d.Predicates = make([]Terms, MaxTerms+1) },
		"terms twice":           func(d *Document) { d.Predicates = append(d.Predicates, d.Predicates[0]) },
		"terms, other metric":   terms(func(t *Terms) { t.Metric = "glucose" }),
		"terms for no day":      terms(func(t *Terms) { t.Days = 0 }),
		"terms for many days":   terms(func(t *Terms) { t.Days = 8 }),
		"terms for nothing":     terms(func(t *Terms) { t.Limits = nil }),
		"terms for both":        terms(func(t *Terms) { b := bounds(); t.Claim = &b }),
		"a claim of nothing":    terms(func(t *Terms) { t.Limits, t.Claim = nil, &record.Bounds{} }),
		"no hour":               limiting(func(l *Limits) { l.Hours = 0 }),
		"25 hours":              limiting(func(l *Limits) { l.Hours = 25 }),
		"no data needed":        limiting(func(l *Limits) { l.K.Least, l.MinCount.Least = 0, 0 }),
		"nothing to claim":      limiting(func(l *Limits) { l.Range = nil }),
		"a range from code 0":   limiting(func(l *Limits) { l.Range = &Interval{0, 2, 0} }),
		"a range beyond codes":  limiting(func(l *Limits) { l.Range = &Interval{1, 202, 0} }),
		"a range reversed":      limiting(func(l *Limits) { l.Range = &Interval{3, 2, 0} }),
		"a range too wide":      limiting(func(l *Limits) { l.Range = &Interval{1, 10, 10} }),
		"a mean beyond codes":   limiting(func(l *Limits) { l.Mean = &Interval{1, 202, 0} }),
		"a trend without bias":  limiting(func(l *Limits) { l.Trend = &Interval{1, 2, 0} }),
		"an empty span":         limiting(func(l *Limits) { l.K = Span{2, 1} }),
		"too many minutes":      limiting(func(l *Limits) { l.OutMax.Most = 1441 }),
		"no day of them":        limiting(func(l *Limits) { l.DayK.Least = 0 }),
		"more days than asked":  limiting(func(l *Limits) { l.DayK.Most = 2 }),
		"terms for no time":     func(d *Document) { d.Claims = 0 },
		"terms for ever":        func(d *Document) { d.Claims = MaxClaims + 1 },
		"times without terms":   func(d *Document) { d.Predicates = nil },
		"exact, but denied":     func(d *Document) { d.Effect, d.Predicates, d.Claims, d.Exact = EffectDeny, nil, 0, true },
		"exact claims":          func(d *Document) { d.Operations, d.Exact = []string{OpPredicate}, true },
		"a share of claims":     func(d *Document) { d.Operations, d.BeyondShare = []string{OpPredicate}, true },
	} {
		d := permit()
		change(&d)
		if err := Validate(d); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func terms(change func(*Terms)) func(*Document) {
	return func(d *Document) {
		t := d.Predicates[0]
		change(&t)
		d.Predicates = []Terms{t}
	}
}

func limiting(change func(*Limits)) func(*Document) {
	return terms(func(t *Terms) {
		l := limits()
		change(l)
		t.Limits = l
	})
}

func TestVersionsFormAChain(t *testing.T) {
	first := permit()
	next := changed(first, func(d *Document) { d.Version, d.Previous, d.CapMicro = 2, first.Digest(network), 1 })
	if err := Follows(network, nil, first); err != nil {
		t.Error(err)
	}
	if err := Follows(network, &first, next); err != nil {
		t.Error(err)
	}
	if Follows(network, nil, next) == nil {
		t.Error("a second version without a first")
	}
	revoked := changed(next, func(d *Document) { d.Status = StatusRevoked })
	after := changed(revoked, func(d *Document) { d.Version, d.Previous, d.Status = 3, revoked.Digest(network), StatusActive })
	if Follows(network, &revoked, after) == nil {
		t.Error("a revoked consent goes on")
	}
	for name, change := range map[string]func(*Document){
		"another id":            func(d *Document) { d.ID[0]++ },
		"another patient":       func(d *Document) { d.Patient[0]++ },
		"the same version":      func(d *Document) { d.Version = 1 },
		"a version left out":    func(d *Document) { d.Version = 3 },
		"another digest before": func(d *Document) { d.Previous[0]++ },
		"another network":       func(d *Document) { d.Previous = first.Digest("other") },
		"another grantee":       func(d *Document) { d.Grantee = "HospitalB" },
		"another effect":        func(d *Document) { d.Effect = EffectDeny },
	} {
		d := changed(next, change)
		if Follows(network, &first, d) == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestNarrowerLooksAtEveryDimension(t *testing.T) {
	a := permit()
	if !Narrower(a, a) {
		t.Error("a document is not narrower than itself")
	}
	for name, widen := range map[string]func(*Document){
		"another patient":   func(d *Document) { d.Patient[0]++ },
		"another grantee":   func(d *Document) { d.Grantee = "HospitalB" },
		"another purpose":   func(d *Document) { d.Purpose = "CLINTRCH" },
		"a metric more":     func(d *Document) { d.Metrics = []string{"heart_rate", "spo2", "glucose"} },
		"an hour before":    func(d *Document) { d.DataFrom-- },
		"an hour after":     func(d *Document) { d.DataUntil++ },
		"a second before":   func(d *Document) { d.NotBefore-- },
		"a second after":    func(d *Document) { d.Expires++ },
		"a larger cap":      func(d *Document) { d.CapMicro++ },
		"a lower bound":     limiting(func(l *Limits) { l.Range.Lo-- }),
		"a higher bound":    limiting(func(l *Limits) { l.Range.Hi++ }),
		"a smaller width":   limiting(func(l *Limits) { l.Range.Width-- }),
		"fewer hours":       limiting(func(l *Limits) { l.Hours-- }),
		"less of k":         limiting(func(l *Limits) { l.K.Least-- }),
		"more of k":         limiting(func(l *Limits) { l.K.Most++ }),
		"less measured":     limiting(func(l *Limits) { l.MinCount.Least-- }),
		"less outside":      limiting(func(l *Limits) { l.OutMax.Least-- }),
		"a half":            limiting(func(l *Limits) { l.MinHalf.Most++ }),
		"a mean":            limiting(func(l *Limits) { l.Mean = &Interval{1, 201, 0} }),
		"a trend":           limiting(func(l *Limits) { l.Trend = &Interval{verifier.TrendBias, verifier.TrendBias, 0} }),
		"more days":         terms(func(t *Terms) { t.Days++ }),
		"more often":        func(d *Document) { d.Claims++ },
		"terms for another": func(d *Document) { d.Predicates = append(d.Predicates, Terms{"spo2", 1, nil, limits()}) },
		"exact answers":     func(d *Document) { d.Exact = true },
		"beyond the share":  func(d *Document) { d.BeyondShare = true },
		"revoked":           func(d *Document) { d.Status = StatusRevoked },
		"denied":            func(d *Document) { d.Effect = EffectDeny },
	} {
		if Narrower(a, changed(a, widen)) {
			t.Errorf("%s counts as narrower", name)
		}
	}
	small := changed(a, func(d *Document) { d.Operations = []string{OpAggregate} })
	if !Narrower(a, small) || Narrower(small, a) {
		t.Error("fewer operations are narrower, more are not")
	}
}

func newKey(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k, record.PublicKeyBytes(&k.PublicKey)
}

func signed(t testing.TB, d Document, key *ecdsa.PrivateKey) Signed {
	t.Helper()
	sig, err := record.Sign(key, d.Digest(network))
	if err != nil {
		t.Fatal(err)
	}
	return Signed{Document: d, Key: record.PublicKeyBytes(&key.PublicKey), Signature: sig}
}

// patient is the ledger's record of a patient whose keys never changed.
func patient(in record.Inception) record.Patient {
	return record.Patient{ID: in.PatientID(network), Inception: in}
}

func TestOnlyThePatientsKeysSign(t *testing.T) {
	first, firstPub := newKey(t)
	second, secondPub := newKey(t)
	recovery, recoveryPub := newKey(t)
	stranger, _ := newKey(t)
	in := record.Inception{ConsentKeys: [][]byte{firstPub, secondPub}, RecoveryHash: RecoveryHash(recoveryPub), Salt: record.RandomID()}
	grant := changed(permit(), func(d *Document) { d.Patient = in.PatientID(network) })
	revocation := changed(grant, func(d *Document) { d.Version, d.Previous, d.Status = 2, grant.Digest(network), StatusRevoked })
	for name, c := range map[string]struct {
		s  Signed
		ok bool
	}{
		"the first key":                   {signed(t, grant, first), true},
		"the second key":                  {signed(t, grant, second), true},
		"a stranger":                      {signed(t, grant, stranger), false},
		"a stranger's revocation":         {signed(t, revocation, stranger), false},
		"the recovery key grants":         {signed(t, grant, recovery), false},
		"the recovery key revokes":        {signed(t, revocation, recovery), true},
		"another patient":                 {signed(t, permit(), first), false},
		"the first key's name, no more":   {Signed{Document: grant, Key: firstPub, Signature: signed(t, grant, second).Signature}, false},
		"a signature of another document": {Signed{Document: grant, Key: firstPub, Signature: signed(t, revocation, first).Signature}, false},
	} {
		err := c.s.Verify(network, nil, patient(in))
		if (err == nil) != c.ok || err != nil && !errors.Is(err, record.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := signed(t, grant, first)
	if s.Verify("another", nil, patient(in)) == nil {
		t.Error("a signature counts on another network")
	}
}

func TestParseReadsItsOwnFormStrictly(t *testing.T) {
	key, _ := newKey(t)
	s := signed(t, permit(), key)
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse(raw)
	if err != nil || !reflect.DeepEqual(back, s) {
		t.Fatalf("%+v, %v", back, err)
	}
	if back.Document.Digest(network) != s.Document.Digest(network) {
		t.Error("the digest changed on the way through JSON")
	}
	for _, bad := range []string{
		strings.Replace(string(raw), `"effect":"permit"`, `"effect":"permit","effect":"deny"`, 1),
		strings.Replace(string(raw), `"effect":"permit"`, `"effect":"permit","Effect":"deny"`, 1),
		strings.Replace(string(raw), `"effect"`, `"effects"`, 1),
		string(raw) + "x", "", "null", "[]",
	} {
		if _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("accepted %s", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	raw, err := json.Marshal(Signed{Document: permit(), Key: []byte{1}, Signature: []byte{2}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"document":{"id":null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse(again)
		if err != nil || back.Document.Digest(network) != s.Document.Digest(network) {
			t.Fatalf("%s became %s, %v", data, again, err)
		}
	})
}
