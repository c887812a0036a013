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
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

const network = "vitalveil-test"

func permit() Document {
	return Document{
		ID: record.SumID([]byte("consent")), Version: 1, Patient: record.SumID([]byte("patient")), Grantee: "HospitalA",
		Purpose: "HRESCH", Status: StatusActive, Effect: EffectPermit, Operations: []string{OpAggregate, OpPredicate},
		Metrics: []string{"heart_rate", "spo2"}, DataFrom: 100, DataUntil: 200, NotBefore: 1000, Expires: 2000, CapMicro: 50,
		Predicates: []Terms{{Template: TemplateRange, Metric: "heart_rate", Lo: 31, Hi: 71, Times: 2}},
	}
}

func deny() Document {
	d := permit()
	d.ID, d.Effect, d.Predicates = record.SumID([]byte("denial")), EffectDeny, nil
	return d
}

func aggregate() Request {
	return Request{Grantee: "HospitalA", Purpose: "HRESCH", Operation: OpAggregate, Metric: "heart_rate", From: 120, Until: 150, At: 1500}
}

func predicate() Request {
	r := aggregate()
	r.Operation, r.Claim = OpPredicate, &Claim{Template: TemplateRange, Lo: 40, Hi: 60}
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
		"a part of the days":      {[]Document{permit()}, with(predicate(), func(r *Request) { r.From = 99 }), "only a part"},
		"another template":        {[]Document{permit()}, with(predicate(), func(r *Request) { r.Claim = &Claim{Template: TemplateMean, Lo: 40, Hi: 60} }), "template"},
		"terms of another metric": {[]Document{permit()}, with(predicate(), func(r *Request) { r.Metric = "spo2" }), "template"},
		"a bound too low":         {[]Document{permit()}, with(predicate(), func(r *Request) { r.Claim = &Claim{Template: TemplateRange, Lo: 30, Hi: 60} }), "within [31, 71]"},
		"a bound too high":        {[]Document{permit()}, with(predicate(), func(r *Request) { r.Claim = &Claim{Template: TemplateRange, Lo: 40, Hi: 72} }), "within [31, 71]"},
		"reversed bounds":         {[]Document{permit()}, with(predicate(), func(r *Request) { r.Claim = &Claim{Template: TemplateRange, Lo: 60, Hi: 40} }), "reversed"},
		"asked once":              {[]Document{permit()}, with(predicate(), used(1)), ""},
		"asked twice":             {[]Document{permit()}, with(predicate(), used(2)), "2 times"},
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
	return func(r *Request) {
		r.Claim = &Claim{Template: TemplateRange, Lo: 40, Hi: 60, Used: map[record.ID]uint32{permit().ID: n}}
	}
}

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
	if d := Decide([]Document{small, poor, permit()}, aggregate()); d.Document != permit().ID {
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
		"terms, other metric":   func(d *Document) { d.Predicates = []Terms{{"range", "glucose", 1, 2, 1}} },
		"terms, no template":    func(d *Document) { d.Predicates = []Terms{{"", "spo2", 1, 2, 1}} },
		"terms from code 0":     func(d *Document) { d.Predicates = []Terms{{"range", "spo2", 0, 2, 1}} },
		"terms beyond codes":    func(d *Document) { d.Predicates = []Terms{{"mean", "spo2", 1, 502, 1}} },
		"terms reversed":        func(d *Document) { d.Predicates = []Terms{{"range", "spo2", 3, 2, 1}} },
		"a trend without bias":  func(d *Document) { d.Predicates = []Terms{{"trend", "spo2", 1, 2, 1}} },
		"terms for no time":     func(d *Document) { d.Predicates = []Terms{{"range", "spo2", 1, 2, 0}} },
		"terms for ever":        func(d *Document) { d.Predicates = []Terms{{"range", "spo2", 1, 2, MaxTimes + 1}} },
	} {
		d := permit()
		change(&d)
		if err := Validate(d); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
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
		"a lower bound":     func(d *Document) { d.Predicates = []Terms{{TemplateRange, "heart_rate", 30, 71, 2}} },
		"a higher bound":    func(d *Document) { d.Predicates = []Terms{{TemplateRange, "heart_rate", 31, 72, 2}} },
		"more often":        func(d *Document) { d.Predicates = []Terms{{TemplateRange, "heart_rate", 31, 71, 3}} },
		"another template":  func(d *Document) { d.Predicates = []Terms{{TemplateMean, "heart_rate", 31, 71, 2}} },
		"terms for another": func(d *Document) { d.Predicates = append(d.Predicates, Terms{TemplateRange, "spo2", 1, 2, 1}) },
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

func TestAClaimIsWhatItsTemplateIncludesAndNothingElse(t *testing.T) {
	m, _ := wearable.ByKey("heart_rate")
	most := uint32(m.MaxCode())
	free := verifier.Unbounded()
	free.Lo, free.Hi, free.K = 1, most, 1
	bounded := map[string]func(*record.Bounds){
		TemplateRange: func(b *record.Bounds) { b.Lo, b.Hi = 31, 71 },
		TemplateMean:  func(b *record.Bounds) { b.MeanLo, b.MeanHi = 31, 71 },
		TemplateTrend: func(b *record.Bounds) { b.TrendLo, b.TrendHi = TrendBias-5, TrendBias+5 },
	}
	smuggled := map[string]func(*record.Bounds){
		TemplateRange + " from":  func(b *record.Bounds) { b.Lo = 2 },
		TemplateRange + " up to": func(b *record.Bounds) { b.Hi = most - 1 },
		TemplateMean + " from":   func(b *record.Bounds) { b.MeanLo = 2 },
		TemplateMean + " up to":  func(b *record.Bounds) { b.MeanHi = most - 1 },
		TemplateTrend + " from":  func(b *record.Bounds) { b.TrendLo = TrendBias - most + 2 },
		TemplateTrend + " up to": func(b *record.Bounds) { b.TrendHi = TrendBias + most - 2 },
	}
	for template, bound := range bounded {
		b := free
		bound(&b)
		c, err := ClaimOf(template, m, b)
		if err != nil || c.Template != template || c.Hi-c.Lo > 40 {
			t.Errorf("%s: %+v, %v", template, c, err)
		}
		for other, smuggle := range smuggled {
			both := b
			smuggle(&both)
			if _, err := ClaimOf(template, m, both); err == nil && !strings.HasPrefix(other, template) {
				t.Errorf("a %s carries a %s", template, other)
			}
		}
		c, err = ClaimOf(template, m, free)
		lo, hi, _ := templateSpan(template, m)
		if err != nil || c.Lo != lo || c.Hi != hi {
			t.Errorf("%s without bounds: %+v, %v", template, c, err)
		}
	}
	if _, err := ClaimOf("anything", m, free); err == nil {
		t.Error("an unknown template is a claim")
	}
}

func TestTrendBiasIsTheCircuits(t *testing.T) {
	if TrendBias != verifier.TrendBias {
		t.Errorf("trends are biased by %d here and %d in proofs", TrendBias, verifier.TrendBias)
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
