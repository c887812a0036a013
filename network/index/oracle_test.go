package index

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
)

// The oracle computes every answer from the whole history, hour by hour, with
// nothing kept between questions.

// fact is one valid write, decoded.
type fact struct {
	at    Position
	attrs []string
	doc   any
}

type oracle struct {
	facts map[state.Kind][]fact
	done  map[string]covered // cohorts, which never change
}

func newOracle(txs []placed) oracle {
	o := oracle{map[state.Kind][]fact{}, map[string]covered{}}
	for _, p := range txs {
		if !p.tx.Valid {
			continue
		}
		for _, w := range p.tx.Writes {
			kind, attrs, err := state.ParseKey(w.Key)
			if err != nil {
				panic(err)
			}
			doc := document(kind, w.Value)
			if kind == state.KindConsent {
				doc = state.ConsentState{
					Signed: said(p.tx).Signed, Time: read[state.ConsentPublic](w.Value).Time,
				}
			}
			o.facts[kind] = append(o.facts[kind], fact{p.at, attrs, doc})
		}
	}
	return o
}

func document(kind state.Kind, value []byte) any {
	switch kind {
	case state.KindGenesis:
		return read[record.Genesis](value)
	case state.KindTick:
		return read[record.Tick](value)
	case state.KindPatient:
		return read[record.Patient](value)
	case state.KindDevice:
		return read[record.DeviceState](value)
	case state.KindDesignation:
		return read[[]state.Designation](value)
	case state.KindAck:
		return read[state.Acknowledged](value)
	case state.KindKeys:
		return read[state.KeysState](value)
	case state.KindErasure:
		return read[record.ErasureState](value)
	case state.KindPointer:
		return read[record.PointerState](value)
	case state.KindAvailable:
		return read[record.SignedAvailable](value)
	case state.KindQuery:
		return read[record.QueryState](value)
	case state.KindRoster:
		return read[record.Roster](value)
	}
	return nil
}

func read[T any](value []byte) T {
	var v T
	if err := json.Unmarshal(value, &v); err != nil {
		panic(err)
	}
	return v
}

// values returns the documents of one kind before a position, in order.
func values[T any](o oracle, kind state.Kind, until Position) []T {
	var out []T
	for _, f := range o.facts[kind] {
		if before(f.at, until) {
			out = append(out, f.doc.(T))
		}
	}
	return out
}

// end is a position after everything.
var end = Position{Block: math.MaxUint64}

func (o oracle) time(until Position) int64 {
	latest := map[string]int64{}
	for _, f := range o.facts[state.KindTick] {
		if before(f.at, until) {
			latest[f.attrs[0]] = f.doc.(record.Tick).Time
		}
	}
	roster := record.Roster{Epochs: []record.Epoch{firstEpoch()}}
	for _, r := range values[record.Roster](o, state.KindRoster, until) {
		roster = r
	}
	var all []int64
	for _, m := range roster.Epochs[roster.Current].Members {
		v, ok := latest[m.MSP]
		if !ok {
			v = math.MinInt64
		}
		all = append(all, v)
	}
	slices.Sort(all)
	return max(all[(len(all)-1)/2], roster.Floor, 0)
}

func firstEpoch() record.Epoch {
	e := record.Epoch{Threshold: 2}
	for _, m := range members {
		e.Members = append(e.Members, record.Member{MSP: m})
	}
	return e
}

// device is the state of a device before a position, and its epoch.
func (o oracle) device(id record.ID, until Position) (record.DeviceState, record.Epoch) {
	var d record.DeviceState
	for _, s := range values[record.DeviceState](o, state.KindDevice, until) {
		if s.ID == id {
			d = s
		}
	}
	epoch := firstEpoch()
	for _, r := range values[record.Roster](o, state.KindRoster, end) {
		if d.Device.Epoch == r.Current {
			epoch = r.Epochs[r.Current]
		}
	}
	return d, epoch
}

func (o oracle) query(id string) (record.QueryState, Position) {
	for _, f := range o.facts[state.KindQuery] {
		if f.attrs[0] == id {
			return f.doc.(record.QueryState), f.at
		}
	}
	panic("no such query")
}

func (o oracle) documents(patient record.ID, until Position) []consent.Document {
	var docs []consent.Document
	for _, e := range values[record.ErasureState](o, state.KindErasure, until) {
		if e.Signed.Erasure.Patient == patient {
			return nil
		}
	}
	for _, s := range values[state.ConsentState](o, state.KindConsent, until) {
		d := s.Signed.Document
		for _, k := range values[state.KeysState](o, state.KindKeys, until) {
			if c := k.Signed.Change; c.Patient == patient && c.RevokeAll && s.Time <= k.Time && d.Effect == consent.EffectPermit {
				d.Status = consent.StatusRevoked
			}
		}
		if d.Patient == patient {
			docs = append(docs, d) // Decide takes the latest of each
		}
	}
	return docs
}

// available reports whether threshold members found a row before until.
func (o oracle) available(device record.ID, kind string, index int64, correction uint8, until Position) bool {
	for _, s := range values[record.PointerState](o, state.KindPointer, until) {
		if p := s.Signed.Pointer; p.Device != device || p.Kind != kind || p.Index != index || p.Correction != correction {
			continue
		}
		found := map[string]bool{}
		for _, a := range values[record.SignedAvailable](o, state.KindAvailable, until) {
			if a.Post.Batch == s.Batch && bit(a.Post.Bitmap, s.Leaf) {
				found[a.Member] = true
			}
		}
		_, epoch := o.device(device, until)
		n := 0
		for _, m := range epoch.Members {
			if found[m.MSP] {
				n++
			}
		}
		return n >= 2
	}
	return false
}

func (o oracle) ready(device record.ID, until Position) bool {
	found := map[string]bool{}
	for _, a := range values[state.Acknowledged](o, state.KindAck, until) {
		if a.Device == device {
			found[a.Member] = true
		}
	}
	_, epoch := o.device(device, until)
	return !slices.ContainsFunc(epoch.Members, func(m record.Member) bool { return !found[m.MSP] })
}

// hours is what a query covers: hours by device by patient.
type covered map[record.ID]map[record.ID][]int64

// daily reports whether the network's rows have person-days.
func (o oracle) daily() bool {
	return values[record.Genesis](o, state.KindGenesis, end)[0].Schema == privacy.V3().Digest()
}

func (c covered) members(o oracle, q record.QueryState, at Position) []record.CohortMember {
	var out []record.CohortMember
	for _, devices := range c {
		for d, hours := range devices {
			h := &Hours{}
			var late [][2]int64
			for _, x := range hours {
				h.Add(x, x+1)
				for n := uint8(1); n <= record.MaxCorrection && q.Ask.Want == ""; n++ {
					if o.available(d, record.KindRow, x, n, at) {
						late = append(late, [2]int64{x, int64(n)})
					}
				}
			}
			out = append(out, record.CohortMember{Device: d, Ranges: h.Ranges(), Corrections: late})
		}
	}
	sortMembers(out)
	return out
}

// cohort derives the cohort of a query at its place. Earlier queries are
// derived too, to know what they cost.
func (o oracle) cohort(id string) covered {
	if out, ok := o.done[id]; ok {
		return out
	}
	q, at := o.query(id)
	out := covered{}
	o.done[id] = out
	if q.Exact && strings.Contains(q.Ask.Metric, "@") { // never answered
		return out
	}
	for _, p := range values[record.Patient](o, state.KindPatient, at) {
		d := o.decide(p.ID, q, q.Ask.From, q.Ask.Until, at, q.Asked)
		if !d.Permit {
			continue
		}
		devices := o.hours(p.ID, q, d, at)
		limit := d.CapMicro
		if !d.BeyondShare {
			limit = min(limit, 1000/o.sharers(devices, at))
		}
		rows := 0
		for _, hours := range devices {
			rows += len(hours)
		}
		few := rows == 0 || q.Exact && rows < privacy.ExactHours
		if !few && !o.exceeds(p.ID, devices, q, limit, at) {
			out[p.ID] = devices
		}
	}
	return out
}

// sharers counts the members of the devices' epoch: there is no registrar.
func (o oracle) sharers(devices map[record.ID][]int64, at Position) uint64 {
	n := 1
	for d := range devices { // all are of one epoch
		_, epoch := o.device(d, at)
		n = len(epoch.Members)
	}
	return uint64(n)
}

// metricsIn are the metrics that a question's key names.
func metricsIn(key string) []string {
	key, _, _ = strings.Cut(key, "@")
	return strings.Split(key, "*")
}

// decide permits what is permitted for every metric.
func (o oracle) decide(patient record.ID, q record.QueryState, from, until int64, at Position, now int64) consent.Decision {
	out := consent.Decision{Permit: true, From: from, Until: until, CapMicro: math.MaxUint64, BeyondShare: true}
	for _, m := range metricsIn(q.Ask.Metric) {
		d := consent.Decide(o.documents(patient, at), consent.Request{
			Grantee: q.Asker, Purpose: q.Purpose, Operation: consent.OpAggregate, Metric: m, From: from, Until: until, At: now, Exact: q.Exact,
		})
		out.Permit = out.Permit && d.Permit
		out.From, out.Until, out.CapMicro = max(out.From, d.From), min(out.Until, d.Until), min(out.CapMicro, d.CapMicro)
		out.BeyondShare = out.BeyondShare && d.BeyondShare
	}
	return out
}

func (o oracle) hours(patient record.ID, q record.QueryState, d consent.Decision, at Position) map[record.ID][]int64 {
	var list []state.Designation
	for _, f := range o.facts[state.KindDesignation] {
		if f.attrs[0] == patient.String() && before(f.at, at) {
			list = f.doc.([]state.Designation)
		}
	}
	out := map[record.ID][]int64{}
	if q.Ask.Want == "" && o.daily() && strings.ContainsAny(q.Ask.Metric, "*@") {
		return out // the rows of hours have no such question there
	}
	for h := d.From; h < d.Until; h++ {
		var device record.ID
		ok := true
		for i, m := range metricsIn(q.Ask.Metric) {
			d, found := state.Designated(list, m, h/24)
			ok = ok && found && (i == 0 || d == device)
			device = d
		}
		if !ok {
			continue
		}
		if s, _ := o.device(device, at); s.Quarantined != nil || s.Device.Epoch != q.Ask.Epoch {
			continue
		}
		there := o.available(device, record.KindRow, h, 0, at)
		if q.Ask.Want != "" {
			day := h / 24
			there = day*24 >= d.From && day*24+24 <= d.Until && o.available(device, record.KindPersonDay, day, 0, at)
		}
		if o.ready(device, at) && there {
			out[device] = append(out[device], h)
		}
	}
	return out
}

// exceeds applies caps and the once-only rule.
func (o oracle) exceeds(patient record.ID, devices map[record.ID][]int64, q record.QueryState, limit uint64, at Position) bool {
	spent, spentHere := q.Ask.Rho, q.Ask.Rho
	for _, earlier := range values[record.QueryState](o, state.KindQuery, at) {
		c := o.cohort(earlier.ID)
		if len(c) < 2 || c[patient] == nil {
			continue
		}
		spent += earlier.Ask.Rho
		if earlier.Asker == q.Asker {
			spentHere += earlier.Ask.Rho
		}
		for _, hours := range c[patient] {
			for _, mine := range devices {
				shared := slices.ContainsFunc(metricsIn(q.Ask.Metric), func(m string) bool { return slices.Contains(metricsIn(earlier.Ask.Metric), m) })
				if shared && q.Exact && earlier.Exact && slices.ContainsFunc(hours, func(h int64) bool { return slices.Contains(mine, h) }) {
					return true
				}
			}
		}
	}
	return q.Ask.Rho > 0 && (spent > 1000 || spentHere > limit)
}

// stale looks at the end of every block for members that have withdrawn.
func (o oracle) stale(id string, members []record.CohortMember, height uint64) (uint64, []record.ID) {
	q, at := o.query(id)
	owner := map[record.ID]record.ID{}
	for _, d := range values[record.DeviceState](o, state.KindDevice, end) {
		owner[d.ID] = d.Device.Patient
	}
	for block := at.Block; block < height; block++ {
		closing := Position{Block: block + 1}
		var gone []record.ID
		for _, m := range members {
			from, until := m.Ranges[0][0], m.Ranges[len(m.Ranges)-1][1]
			d := o.decide(owner[m.Device], q, from, until, closing, o.time(closing))
			s, _ := o.device(m.Device, closing)
			if !d.Permit || d.From > from || d.Until < until || s.Quarantined != nil {
				gone = append(gone, m.Device)
			}
		}
		if len(gone) > 0 {
			return block, gone
		}
	}
	return 0, nil
}

func TestIndexAgreesWithRecomputingEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(anyRows(t))
		l.settle(t)
		for range rapid.IntRange(5, 40).Draw(t, "steps") {
			l.random(t)
		}
		l.cut()
		ix := blank()
		for _, b := range l.blocks {
			if err := ix.Apply(b); err != nil {
				t.Fatal(err)
			}
		}
		_, refusals := ix.Refused(0)
		for _, r := range refusals { // members also post about epochs that they are not in
			if !strings.Contains(r.Reason, "not a member of epoch") {
				t.Fatalf("an honest write was refused: %+v", r)
			}
		}
		o := newOracle(l.all())
		if got, want := ix.Time(), o.time(end); got != want {
			t.Fatalf("ledger time is %d, want %d", got, want)
		}
		for _, q := range l.queries {
			compare(t, ix, o, q.ID)
		}
	})
}

func compare(t *rapid.T, ix *Index, o oracle, id string) {
	t.Helper()
	want := o.cohort(id)
	q, at := o.query(id)
	members := want.members(o, q, at)
	for attempt := 0; attempt < MaxAttempts; attempt++ {
		c, err := ix.Cohort(id, attempt)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Members)+len(members) > 0 && !reflect.DeepEqual(c.Members, members) {
			t.Fatalf("attempt %d of query %s has members\n%v\nwant\n%v", attempt, id[:8], c.Members, members)
		}
		if attempt == 0 && c.Size != len(want) {
			t.Fatalf("size %d, want %d", c.Size, len(want))
		}
		block, gone, err := ix.Stale(id, attempt)
		if err != nil {
			t.Fatal(err)
		}
		wantBlock, wantGone := o.stale(id, members, ix.Height())
		if block != wantBlock || len(gone)+len(wantGone) > 0 && !slices.Equal(gone, wantGone) {
			t.Fatalf("attempt %d is stale at %d for %v, want %d for %v", attempt, block, gone, wantBlock, wantGone)
		}
		if len(gone) == 0 {
			return
		}
		members = without(members, gone)
	}
}

func TestIndexDoesNotDependOnWhenItIsAsked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger()
		l.settle(t)
		for range rapid.IntRange(5, 60).Draw(t, "steps") {
			l.random(t)
		}
		l.cut()
		whole, stepwise := blank(), blank()
		early := map[string][]Cohort{}
		for _, b := range l.blocks {
			if err := whole.Apply(b); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range l.blocks {
			if err := stepwise.Apply(b); err != nil {
				t.Fatal(err)
			}
			for _, q := range l.queries { // what is known as soon as it can be
				for n := len(early[q.ID]); n < MaxAttempts; n++ {
					c, err := stepwise.Cohort(q.ID, n)
					if err != nil {
						break
					}
					early[q.ID] = append(early[q.ID], c)
				}
			}
		}
		for id, cohorts := range early {
			for n, c := range cohorts {
				late, err := whole.Cohort(id, n)
				if err != nil || !reflect.DeepEqual(c, late) {
					t.Fatalf("attempt %d of %s was\n%v\nand is now\n%v (%v)", n, id[:8], c, late, err)
				}
			}
		}
		if a, b := whole.Counts(), stepwise.Counts(); !reflect.DeepEqual(a, b) {
			t.Fatalf("counts differ: %v, %v", a, b)
		}
	})
}

func TestHoursAreASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set, want := &Hours{}, map[int64]bool{}
		hour := rapid.Int64Range(-30, 30)
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			from := hour.Draw(t, "from")
			until := from + rapid.Int64Range(-2, 6).Draw(t, "length")
			set.Add(from, until)
			for h := from; h < until; h++ {
				want[h] = true
			}
		}
		if set.Count() != int64(len(want)) {
			t.Fatalf("%v has %d hours, want %d", set.Ranges(), set.Count(), len(want))
		}
		for i, r := range set.Ranges() {
			if r[0] >= r[1] || i > 0 && set.Ranges()[i-1][1] >= r[0] {
				t.Fatalf("%v is not canonical", set.Ranges())
			}
		}
		a := hour.Draw(t, "a")
		b := a + rapid.Int64Range(0, 20).Draw(t, "b")
		inside := &Hours{}
		inside.AddAll(set.Within(a, b))
		for h := int64(-40); h < 60; h++ {
			if set.Has(h) != want[h] || inside.Has(h) != (want[h] && h >= a && h < b) {
				t.Fatalf("hour %d: set %v, inside %v, want %v", h, set.Ranges(), inside.Ranges(), want[h])
			}
		}
		if set.Touches([][2]int64{{a, b}}) != (a < b && !inside.Empty()) {
			t.Fatalf("%v touches [%d,%d)", set.Ranges(), a, b)
		}
	})
}
