package index

import (
	"cmp"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/wearable"
)

// ledger writes what the contracts would write, signed as they ask, without most of
// their checks, so that random histories reach states that are rare in practice.
type ledger struct {
	people  map[record.ID]*person
	studies map[string]bool
	blocks  []*network.Block
	open    []network.Tx
	nextID  int
	round   uint32 // of the clock

	genesis  record.Genesis
	roster   record.Roster
	now      int64
	ticks    map[string]int64
	patients []record.ID
	devices  []record.DeviceState
	lists    map[record.ID][]state.Designation
	consents []consent.Document // latest of each ID
	erased   map[record.ID]bool
	batches  []batchModel
	anchored map[string]bool
	queries  []record.QueryState
}

type batchModel struct {
	id       record.ID
	pointers []record.Pointer
	bits     map[string][]byte
}

var members = consortium.MSPs

const (
	metric  = "heart_rate"
	other   = "spo2"
	pairKey = "heart_rate*spo2"
	purpose = "HRESCH"
	day0    = int64(20000)
)

func newLedger(change ...func(*record.Genesis)) *ledger {
	l := &ledger{people: map[record.ID]*person{}, studies: map[string]bool{}, erased: map[record.ID]bool{}, ticks: map[string]int64{}, lists: map[record.ID][]state.Designation{}, anchored: map[string]bool{}}
	l.genesis = consortium.New(nil, func(g *record.Genesis) {
		g.Network, g.Registrar, g.Vouchers, g.MinCohort = "test", "", 2, 2
		g.CapMicro, g.Schema, g.Profile = 1000, privacy.V2().Digest(), ""
		for i, m := range members { // whose keys histories have again
			g.Members[i].SignKey, g.Members[i].PieceKey = public(keyOf(m)), boxOf(m).Public()
		}
		for _, f := range change {
			f(g)
		}
	}).Genesis
	l.roster = l.genesis.FirstRoster()
	l.tx(put(state.GenesisKey(), l.genesis), put(state.LayoutKey(), state.Layout{Version: state.LayoutVersion}))
	l.tick(members[0], day0*86400)
	l.tick(members[1], day0*86400)
	return l
}

// boxOf is a member's HPKE key for the keys of pieces.
func boxOf(member string) *he.HPKEPrivate {
	secret := record.SumID([]byte(member))
	return consortium.Must(he.ParseHPKEKey(secret[:]))
}

func put(key string, v any) network.Write {
	return network.Write{Key: key, Value: consortium.Must(json.Marshal(v))}
}

func (l *ledger) id() record.ID {
	l.nextID++
	return record.SumID(fmt.Appendf(nil, "id %d", l.nextID))
}

// tx records writes of a gateway's transaction; call those of a member's that was
// submitted with a document.
func (l *ledger) tx(writes ...network.Write) string {
	return l.call("Gateway", contracts.Write[any, any]("of its own"), nil, writes...)
}

func (l *ledger) call(creator string, m contracts.Method, document any, writes ...network.Write) string {
	id := l.id().String()
	l.add(network.Tx{ID: id, Creator: network.Creator{MSP: creator}, Function: m.Name(), Writes: writes}, document)
	return id
}

func (l *ledger) add(tx network.Tx, document any) {
	slices.SortFunc(tx.Writes, func(a, b network.Write) int { return cmp.Compare(a.Key, b.Key) })
	if document != nil {
		tx.Args = []string{string(put("", document).Value)}
	}
	tx.Index, tx.Valid = len(l.open), true
	l.open = append(l.open, tx)
}

// spoil adds an invalid transaction, whose writes the network would not show;
// here they are shown, and the index must not look.
func (l *ledger) spoil() {
	l.call(members[0], contracts.ClockTick, nil, put(state.TickKey(members[0]), record.Tick{Time: 1 << 40}))
	l.open[len(l.open)-1].Valid = false
}

func (l *ledger) cut() {
	b := &network.Block{Number: uint64(len(l.blocks)), Txs: l.open}
	if n := len(l.blocks); n > 0 {
		b.Previous = l.blocks[n-1].Hash
	}
	b.Hash = record.SumID(fmt.Appendf(nil, "block %d", b.Number))
	l.blocks = append(l.blocks, b)
	l.open = nil
}

// tick posts a member's clock, which never goes back.
func (l *ledger) tick(member string, at int64) {
	at = max(at, l.ticks[member])
	l.ticks[member], l.now = at, max(l.now, at)
	t := record.Tick{Time: at, Round: l.round}
	l.call(member, contracts.ClockTick, t, put(state.TickKey(member), t))
}

// patient enrols somebody for whom two members vouch.
func (l *ledger) patient() {
	p := &person{key: l.key(), recovery: l.key(), denied: map[record.ID]int64{}}
	in := record.Inception{ConsentKeys: [][]byte{public(p.key)}, RecoveryHash: consent.RecoveryHash(public(p.recovery)), Salt: l.id(), DetailsKey: testKey.Digest("test")}
	p.state = record.Patient{ID: in.PatientID("test"), Inception: in, DetailsBlob: l.id(), Person: l.id(), Enrolled: l.time()}
	id := p.state.ID
	e := record.EnrolPatient{Inception: in, DetailsBlob: p.state.DetailsBlob, Voucher: record.Voucher{Patient: id, Person: p.state.Person}}
	for _, m := range members[:2] {
		digest := record.Digest(record.DomainVoucher, "test", e.Voucher)
		e.Vouchers = append(e.Vouchers, record.VoucherSignature{By: m, Signature: signed(keyOf(m), digest)})
	}
	e.Signature = signed(p.key, e.Digest("test"))
	l.people[id] = p
	l.patients = append(l.patients, id)
	l.call("Gateway", contracts.RegistryEnrolPatient, e, put(state.PatientKey(id), p.state))
}

// changeKeys has a patient sign the same keys again; recover is by the recovery key,
// which another takes the place of.
func (l *ledger) changeKeys(patient record.ID, revokeAll bool) {
	l.change(patient, l.people[patient].key, func(c *record.PatientKeys) { c.RevokeAll = revokeAll })
}

func (l *ledger) recover(patient record.ID, revokeAll bool) {
	p := l.people[patient]
	old := p.recovery
	p.recovery = l.key()
	l.change(patient, old, func(c *record.PatientKeys) {
		c.RevokeAll, c.RecoveryHash = revokeAll, consent.RecoveryHash(public(p.recovery))
	})
}

func (l *ledger) change(patient record.ID, by *ecdsa.PrivateKey, what func(*record.PatientKeys)) {
	p := l.people[patient]
	c := record.PatientKeys{Patient: patient, Version: p.state.KeysVersion() + 1, ConsentKeys: p.state.ConsentKeys(), RecoveryHash: p.state.RecoveryHash()}
	if p.state.Keys != nil {
		c.Previous = p.state.Keys.Digest("test")
	}
	what(&c)
	s := state.KeysState{Signed: consent.SignedKeys{Change: c, Key: public(by), Signature: signed(by, c.Digest("test"))}, Time: l.time()}
	if p.state.Keys = &c; c.RevokeAll {
		p.revoked = append(p.revoked, revoked{at: s.Time})
		for i := range l.consents { // they have no next version
			if d := &l.consents[i]; d.Patient == patient {
				*d = consent.Withdrawn(*d)
			}
		}
	}
	l.tx(put(state.KeysKey(patient, c.Version), s))
}

// device enrols a device of a patient's from a day on, or from the first day that may
// still be had.
func (l *ledger) device(patient record.ID, fromDay int64, metrics ...string) record.DeviceState {
	key, now, epoch := l.key(), l.time(), l.roster.Epochs[l.roster.Current]
	d := record.Device{
		Key: public(key), Patient: patient, FirstHour: max(fromDay*24, wearable.HourOf(now)), Metrics: slices.Sorted(slices.Values(metrics)),
		Epoch: l.roster.Current, SeedBlob: l.id(),
	}
	for range epoch.Members { // two of n: a piece for each that lacks it
		d.SeedHashes = append(d.SeedHashes, l.id())
	}
	digest := record.Digest(record.DomainDevice, "test", d)
	e := record.EnrolDevice{Device: d, DeviceSignature: signed(key, digest), PatientSignature: signed(l.people[patient].key, digest)}
	s := record.DeviceState{
		ID: record.DeviceID("test", d.Key), Device: d, DID: state.DIDKey(d.Key), Enrolled: now,
		FromDay: state.FirstDay(d, len(l.lists[patient]) == 0, now),
	}
	l.devices = append(l.devices, s)
	l.lists[patient] = append(l.lists[patient], state.Designation{Device: s.ID, FromDay: s.FromDay, Metrics: d.Metrics})
	l.call("Gateway", contracts.RegistryEnrolDevice, e, put(state.DesignationKey(patient), l.lists[patient]), put(state.DeviceKey(s.ID), s))
	return s
}

// quarantine has two members vote a device in or out of quarantine.
func (l *ledger) quarantine(i int, in bool) {
	d := &l.devices[i]
	if in == (d.Quarantined != nil) {
		return
	}
	v := record.VoteQuarantine{Device: d.ID, Lift: !in, Reason: "a test"}
	vote := func(m string) network.Write {
		return put(state.DeviceVoteKey(d.ID, m), record.DeviceVote{Vote: v, Member: m, Round: d.Round, Time: l.time()})
	}
	l.call(members[0], contracts.RegistryVoteQuarantine, v, vote(members[0]))
	last := vote(members[1])
	d.Round++
	if d.Quarantined = nil; in {
		d.Quarantined = &record.Quarantine{At: l.time(), How: record.ByVote}
	}
	l.call(members[1], contracts.RegistryVoteQuarantine, v, last, put(state.DeviceKey(d.ID), *d))
}

// succeed begins an epoch with these members, of whom two are needed.
func (l *ledger) succeed(msps ...string) {
	e := record.Epoch{Number: l.roster.Current + 1, Threshold: 2}
	for _, m := range msps {
		e.Members = append(e.Members, record.Member{MSP: m, SignKey: public(keyOf(m))})
	}
	s := record.EpochState{Epoch: e, From: l.time()}
	current := l.roster.Epoch(l.roster.Current)
	for _, m := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(members[:2], msps)))) {
		if i := slices.Index(members[:2], m); i >= 0 || current.Place(m) < 0 {
			s.Votes = append(s.Votes, record.EpochVote{Member: m, Signature: signed(keyOf(m), e.Digest("test"))})
		}
	}
	l.roster = record.Roster{Current: e.Number, Floor: s.From, Epochs: append(slices.Clone(l.roster.Epochs), e)}
	l.tx(put(state.RosterKey(), l.roster), put(state.EpochKey(e.Number), s))
}

// retire ends an epoch by the votes of two members.
func (l *ledger) retire(number uint32) {
	r := record.RetireEpoch{Epoch: number}
	for i, m := range members[:2] {
		writes := []network.Write{put(state.EpochEndKey(number, m), map[string]any{"epoch": number, "member": m})}
		if i == 1 {
			writes = append(writes, put(state.EpochKey(number), record.EpochState{Epoch: *l.roster.Epoch(number), Retired: l.time()}))
		}
		l.call(m, contracts.RegistryRetireEpoch, r, writes...)
	}
}

func (l *ledger) ack(device record.ID, member string) {
	l.call(member, contracts.RegistryAcknowledgeSeeds, record.AcknowledgeSeeds{Devices: []record.ID{device}}, put(state.AckKey(device, member), state.Acknowledged{Device: device, Member: member}))
}

// consent records a version that the patient has signed.
func (l *ledger) consent(d consent.Document) {
	p := l.people[d.Patient]
	i := slices.IndexFunc(l.consents, func(o consent.Document) bool { return o.ID == d.ID })
	if i < 0 {
		l.consents = append(l.consents, d)
	} else {
		d.Previous = l.consents[i].Digest("test")
		l.consents[i] = d
	}
	switch {
	case d.Status != consent.StatusActive:
		p.revoked = append(p.revoked, revoked{at: l.time(), grantee: d.Grantee})
	case d.Effect == consent.EffectDeny:
		p.denied[d.ID] = l.time()
	}
	l.record(consent.Signed{Document: d, Key: public(p.key), Signature: signed(p.key, d.Digest("test"))})
}

// record records a version, whoever has signed it.
func (l *ledger) record(s consent.Signed) {
	d := s.Document
	details := consent.Details{Signed: s, Salt: l.id()}
	l.tx(put(state.ConsentKey(d.ID), state.ConsentPublic{Entry: details.Entry("test"), Time: l.time()}),
		put(state.ConsentOfKey(d.Patient, d.ID), state.ConsentHead{ID: d.ID}))
	l.open[len(l.open)-1].Private = []network.PrivateWrite{private(d, put("", details).Value)}
}

func private(d consent.Document, value []byte) network.PrivateWrite {
	name := state.ConsentDetailsKey(d.ID, d.Version)
	value = consortium.Must(testKey.Seal("test", d.Patient, name, value))
	return network.PrivateWrite{
		Collection: state.Collection, Key: name, Value: value, Available: true,
		KeyHash: record.SumID([]byte(name)), ValueHash: record.SumID(value),
	}
}

// erase records an erasure; nothing is recorded about the patient after it.
func (l *ledger) erase(patient record.ID) {
	if l.erased[patient] {
		return
	}
	l.erased[patient] = true
	e, p := record.Erasure{Patient: patient}, l.people[patient]
	s := record.ErasureState{Time: l.time(), Signed: record.SignedErasure{Erasure: e, Key: public(p.key), Signature: signed(p.key, e.Digest("test"))}}
	l.tx(put(state.PatientKey(patient), record.Patient{ID: patient, Erased: true}), put(state.ErasureKey(patient), s))
}

// withheld is the history as a node has it that lacks the details of some
// versions, which for an erased patient is every node.
func withheld(blocks []*network.Block, lacks func(consent.Document) bool) []*network.Block {
	var out []*network.Block
	for _, b := range blocks {
		c := *b
		c.Txs = slices.Clone(b.Txs)
		for i, tx := range c.Txs {
			if len(tx.Private) == 1 && lacks(said(tx).Signed.Document) {
				p := tx.Private[0]
				p.Available, p.Key, p.Value = false, "", nil
				c.Txs[i].Private = []network.PrivateWrite{p}
			}
		}
		out = append(out, &c)
	}
	return out
}

func (l *ledger) permit(patient record.ID, grantee string, from, until int64) consent.Document {
	return consent.Document{
		ID: l.id(), Version: 1, Patient: patient, Grantee: grantee, Purpose: purpose, Status: consent.StatusActive,
		Effect: consent.EffectPermit, Operations: []string{consent.OpAggregate}, Metrics: []string{metric}, DataFrom: from, DataUntil: until,
		NotBefore: 0, Expires: 1 << 38, CapMicro: 1000, BeyondShare: true, Exact: true,
	}
}

func (l *ledger) anchor(device record.ID, hours ...int64) record.ID {
	return l.correct(device, 0, hours...)
}

// correct anchors rows of one correction number.
func (l *ledger) correct(device record.ID, number uint8, hours ...int64) record.ID {
	var pointers []record.Pointer
	for _, h := range hours {
		pointers = append(pointers, l.row(device, number, h))
	}
	return l.batch(pointers)
}

// anchorAll anchors a row of one hour of each device in one batch.
func (l *ledger) anchorAll(devices []record.ID, hour int64) record.ID {
	var pointers []record.Pointer
	for _, d := range devices {
		pointers = append(pointers, l.row(d, 0, hour))
	}
	return l.batch(pointers)
}

func (l *ledger) row(device record.ID, number uint8, hour int64) record.Pointer {
	return record.Pointer{Device: device, Kind: record.KindRow, Index: hour, Correction: number, Blob: record.SumID([]byte("blob")), Commitment: l.id()}
}

// days anchors day rows.
func (l *ledger) days(device record.ID, days ...int64) record.ID {
	var pointers []record.Pointer
	for _, day := range days {
		pointers = append(pointers, record.Pointer{Device: device, Kind: record.KindPersonDay, Index: day, Blob: l.id(), Commitment: l.id()})
	}
	return l.batch(pointers)
}

// batch anchors those of the pointers that are new.
func (l *ledger) batch(all []record.Pointer) record.ID {
	var pointers []record.Pointer
	var leaves []record.ID
	for _, p := range all {
		if key := state.PointerKey(p); !l.anchored[key] {
			l.anchored[key] = true
			pointers = append(pointers, p)
			leaves = append(leaves, p.Digest("test"))
		}
	}
	if len(pointers) == 0 {
		return record.ID{}
	}
	root := record.Root(leaves)
	var writes []network.Write
	b := record.Batch{Root: root, Count: len(pointers)}
	for i, p := range pointers {
		writes = append(writes, put(state.PointerKey(p), record.PointerState{Signed: record.SignedPointer{Pointer: p, Signature: make([]byte, 64)}, Batch: root, Leaf: i}))
		b.Pointers = append(b.Pointers, state.PointerKey(p))
	}
	l.tx(append(writes, put(state.BatchKey(root), b))...)
	l.batches = append(l.batches, batchModel{root, pointers, map[string][]byte{}})
	return root
}

// available posts a bitmap; bits are only ever added.
func (l *ledger) available(batch int, member string, bits uint64) {
	b := &l.batches[batch]
	bitmap := make([]byte, (len(b.pointers)+7)/8)
	for i := range b.pointers {
		if bits>>(i%64)&1 == 1 || bit(b.bits[member], i) {
			bitmap[i/8] |= 1 << (i % 8)
		}
	}
	b.bits[member] = bitmap
	post := record.AvailablePost{Batch: b.id, Count: len(b.pointers), Bitmap: bitmap}
	l.call(member, contracts.PointerAvailable, nil, put(state.AvailableKey(b.id, member), record.SignedAvailable{Post: post, Member: member, Signature: signed(keyOf(member), post.Digest("test"))}))
}

func (l *ledger) ask(asker string, from, until int64, rho uint64) string {
	return l.askFor(0, asker, metric, from, until, rho)
}

// askEpoch asks about the devices of an epoch.
func (l *ledger) askEpoch(epoch uint32, asker string, from, until int64, rho uint64) string {
	return l.askFor(epoch, asker, metric, from, until, rho)
}

// askFor asks any question of the row schema.
func (l *ledger) askFor(epoch uint32, asker, key string, from, until int64, rho uint64) string {
	return l.askAbout(asker, record.Ask{Metric: key, From: from, Until: until, Rho: rho, Epoch: epoch})
}

// askAbout asks in a study of its own: exactly where nothing is paid.
func (l *ledger) askAbout(asker string, a record.Ask) string {
	a.Study = l.study(asker, a.Metric, a.Rho == 0)
	q := record.QueryState{
		ID: l.id().String(), Ask: a, Asker: asker, Purpose: purpose,
		Exact: a.Rho == 0, MinCohort: 2, Asked: l.time(), Expires: l.time() + state.QueryLife, Status: record.QueryAsked,
	}
	l.add(network.Tx{
		ID: q.ID, Creator: network.Creator{MSP: asker}, Function: contracts.QueryAsk.Name(), Writes: []network.Write{put(state.QueryKey(q.ID), q)},
	}, q.Ask)
	if slices.ContainsFunc(l.roster.Epoch(a.Epoch).Members, func(m record.Member) bool { return m.MSP == asker }) {
		l.queries = append(l.queries, q)
	}
	return q.ID
}

// study registers, once, a study for a question.
func (l *ledger) study(asker, key string, exact bool) string {
	id := fmt.Sprintf("s%x-%t", key, exact)
	if l.studies[asker+id] {
		return id
	}
	l.studies[asker+id] = true
	s := record.Study{
		ID: id, Purpose: purpose, Metrics: []string{key}, From: -consent.MaxHour, Until: consent.MaxHour,
		MinCohort: 2, Budget: consent.MaxCapMicro, Exact: exact,
	}
	l.call(asker, contracts.StudyCreate, s, put(state.StudyKey(asker, id), record.StudyState{Study: s, Owner: asker}))
	return id
}

// time is ledger time: the lower middle of the current epoch's members' ticks.
func (l *ledger) time() int64 {
	var all []int64
	for _, m := range l.roster.Epoch(l.roster.Current).Members {
		t, ok := l.ticks[m.MSP]
		if !ok {
			t = math.MinInt64
		}
		all = append(all, t)
	}
	slices.Sort(all)
	return max(all[(len(all)-1)/2], l.roster.Floor, 0)
}

// mayPermit is the rule that nobody is permitted more within a day of a revocation,
// or by a consent that was revoked, and that a denial holds for a day.
func (l *ledger) mayPermit(d consent.Document) bool {
	if (d.Status == consent.StatusActive) == (d.Effect == consent.EffectDeny) {
		return true // it stops something
	}
	p := l.people[d.Patient]
	if at, denied := p.denied[d.ID]; denied && l.time() < at+state.CoolingOff {
		return false
	}
	return !slices.ContainsFunc(p.revoked, func(r revoked) bool {
		return (r.grantee == "" || r.grantee == d.Grantee) && l.time() < r.at+state.CoolingOff
	})
}

// all returns every transaction with its place, those in the open block too.
func (l *ledger) all() []placed {
	var out []placed
	for _, b := range l.blocks {
		for _, tx := range b.Txs {
			out = append(out, placed{Position{b.Number, tx.Index}, tx})
		}
	}
	for _, tx := range l.open {
		out = append(out, placed{Position{uint64(len(l.blocks)), tx.Index}, tx})
	}
	return out
}

type placed struct {
	at Position
	tx network.Tx
}

// settle makes patients who mostly have a device with rows and a consent, so that
// what follows happens to cohorts that are not empty.
func (l *ledger) settle(t *rapid.T) {
	for range rapid.IntRange(1, 5).Draw(t, "settled") {
		l.patient()
		p := l.patients[len(l.patients)-1]
		d := l.device(p, day0, metric, other)
		for _, m := range members {
			l.ack(d.ID, m)
		}
		var hours []int64
		for h := range int64(36) {
			hours = append(hours, day0*24+h)
		}
		l.anchor(d.ID, hours...)
		for _, m := range members[:2] {
			l.available(len(l.batches)-1, m, ^uint64(0)<<rapid.IntRange(0, 40).Draw(t, "unavailable"))
		}
		if l.genesis.Schema == privacy.V3().Digest() {
			l.dayRows(d.ID, day0, day0+1)
		}
		for _, grantee := range members[:2] {
			c := l.permit(p, grantee, day0*24+rapid.SampledFrom([]int64{0, 0, 0, 5, 23}).Draw(t, "begins"), day0*24+72)
			c.Metrics = []string{metric, other}
			c.Expires = day0*86400 + rapid.Int64Range(1, 8000).Draw(t, "expires")
			l.consent(c)
		}
		if rapid.Bool().Draw(t, "cut") {
			l.cut()
		}
	}
}

// random draws one step of a history.
func (l *ledger) random(t *rapid.T) {
	pick := func(name string, n int) int { return rapid.IntRange(0, n-1).Draw(t, name) }
	hour := func(name string) int64 { return day0*24 + int64(pick(name, 72)) }
	switch pick("step", 20) {
	case 0:
		if len(l.patients) < 6 {
			l.patient()
		}
	case 1, 2:
		if len(l.patients) > 0 && len(l.devices) < 9 {
			patient := l.patients[pick("patient", len(l.patients))]
			if l.erased[patient] {
				return
			}
			d := l.device(patient, day0+int64(pick("day", 3)), [][]string{{metric}, {metric, other}, {other}}[pick("metrics", 3)]...)
			for _, m := range members[:pick("acks", 4)] {
				l.ack(d.ID, m)
			}
		}
	case 3:
		if len(l.devices) > 0 {
			l.ack(l.devices[pick("device", len(l.devices))].ID, members[pick("member", 3)])
		}
	case 4, 5:
		l.randomConsent(t, pick, hour)
	case 6, 7:
		daily := l.genesis.Schema == privacy.V3().Digest()
		if daily && len(l.devices) > 0 && pick("rows", 2) == 0 {
			from := day0 + int64(pick("from", 3))
			if !l.days(l.devices[pick("device", len(l.devices))].ID, from, from+1).IsZero() {
				for _, m := range members[:pick("posts", 4)] {
					l.available(len(l.batches)-1, m, rapid.Uint64().Draw(t, "bits"))
				}
			}
		} else if len(l.devices) > 0 {
			d, from := l.devices[pick("device", len(l.devices))].ID, hour("from")
			var hours []int64
			for h := range int64(pick("count", 20)) {
				hours = append(hours, from+h)
			}
			number := uint8(max(0, pick("correction", 8)-4))
			if !l.correct(d, number, hours...).IsZero() {
				for _, m := range members[:pick("posts", 4)] {
					l.available(len(l.batches)-1, m, rapid.Uint64().Draw(t, "bits"))
				}
			}
		}
	case 8:
		if len(l.batches) > 0 {
			l.available(pick("batch", len(l.batches)), members[pick("member", 3)], rapid.Uint64().Draw(t, "bits"))
		}
	case 9, 10, 13, 14:
		from := hour("from") / 3 * 3
		if pick("early", 2) == 0 {
			from = day0 * 24
		}
		key := []string{metric, metric, other, pairKey, metric + "@stratum"}[pick("key", 5)]
		until, rho := from+1+int64(pick("hours", 48)), []uint64{0, 0, 300, 600}[pick("rho", 4)]
		a := record.Ask{Metric: key, From: from, Until: until, Rho: rho, Epoch: uint32(pick("epoch", int(l.roster.Current)+1))}
		if l.genesis.Schema == privacy.V3().Digest() && pick("days", 2) == 0 {
			asked, _ := privacy.V3().Day().Question(key)
			if a.Want = "mean"; rho == 0 {
				a.Want = asked.Whole().String()
			}
		}
		if rho == 0 || a.Want != "" { // whole days
			a.From, a.Until = from/24*24, (until+23)/24*24
		}
		l.askAbout(members[pick("asker", 2)], a)
	case 11:
		l.tick(members[pick("member", 3)], day0*86400+int64(pick("seconds", 4000))*int64(1+29*(pick("days", 4)/3)))
	case 12:
		l.spoil()
	case 15:
		if p := l.patients; len(p) > 0 {
			if one := p[pick("patient", len(p))]; !l.erased[one] {
				l.changeKeys(one, pick("everything", 4) > 0)
			}
		}
	case 16:
		if p := l.patients; len(p) > 0 && pick("erase", 2) == 0 {
			l.erase(p[0])
		}
	case 18, 19:
		if len(l.devices) > 0 {
			l.quarantine(pick("device", len(l.devices)), rapid.Bool().Draw(t, "in"))
		}
	case 17:
		if l.roster.Current < 2 {
			l.succeed([][]string{members[:2], members, append([]string{"New"}, members...)}[pick("members", 3)]...)
		}
	}
	if rapid.Bool().Draw(t, "cut") {
		l.cut()
	}
}

func (l *ledger) randomConsent(t *rapid.T, pick func(string, int) int, hour func(string) int64) {
	if len(l.patients) == 0 {
		return
	}
	if len(l.consents) > 0 && pick("again", 2) == 1 {
		d := l.consents[pick("consent", len(l.consents))]
		if l.erased[d.Patient] || d.Status != consent.StatusActive {
			return
		}
		d.Version++
		d.Status = []string{consent.StatusActive, consent.StatusRevoked}[pick("status", 2)]
		if l.mayPermit(d) {
			l.consent(d)
		}
		return
	}
	from := hour("from")
	patient := l.patients[pick("patient", len(l.patients))]
	if l.erased[patient] {
		return
	}
	d := l.permit(patient, members[pick("grantee", 2)], from-24, from+1+int64(pick("hours", 100)))
	d.CapMicro = uint64(500 * pick("cap", 3))
	d.Exact, d.BeyondShare = pick("exact", 4) > 0, pick("beyond", 2) == 0
	d.Metrics = [][]string{{metric}, {metric, other}, {other}}[pick("metrics", 3)]
	d.Expires = day0*86400 + int64(pick("expires", 8000))
	if pick("late", 4) == 0 {
		d.NotBefore = min(day0*86400+int64(pick("begins", 4000)), d.Expires-1)
	}
	if pick("effect", 6) == 0 {
		d.Effect, d.Exact, d.BeyondShare = consent.EffectDeny, false, false
	}
	if l.mayPermit(d) {
		l.consent(d)
	}
}

func apply(t testing.TB, blocks []*network.Block) *Index {
	t.Helper()
	ix := blank()
	for _, b := range blocks {
		if err := ix.Apply(b); err != nil {
			t.Fatalf("block %d: %v", b.Number, err)
		}
	}
	return ix
}

// testKey is the details key of all patients of the histories.
var testKey = details.NewKey()

type testKeys struct{}

func (testKeys) Held(details.Ref) (details.Key, bool) { return testKey, true }

// blank is an index that has all keys.
func blank() *Index {
	ix := New()
	ix.OpenWith(testKeys{})
	return ix
}

// said opens the details of the consent that a transaction recorded.
func said(tx network.Tx) consent.Details {
	for _, w := range tx.Writes {
		if kind, _, err := state.ParseKey(w.Key); err != nil || kind != state.KindConsent {
			continue
		}
		patient := read[state.ConsentPublic](w.Value).Entry.Patient
		value, err := testKey.Open("test", patient, tx.Private[0].Key, tx.Private[0].Value)
		if err != nil {
			panic(err)
		}
		return read[consent.Details](value)
	}
	panic("no consent was recorded")
}

// agree records the posts by which members agree on the cohort of the latest query, and
// returns the query as it then is.
func (l *ledger) agree(posters ...string) record.QueryState {
	q := l.queries[len(l.queries)-1]
	q.Root, q.Size = record.SumID([]byte("the cohort")), 2
	post := record.PostCohort{Query: q.ID, Root: q.Root, Size: q.Size}
	for i, m := range posters {
		writes := []network.Write{put(state.CohortKey(q.ID, 0, m), record.CohortState{Post: post, Member: m})}
		if i+1 == l.genesis.Threshold {
			q.Status = record.QueryAgreed
			writes = append(writes, put(state.QueryKey(q.ID), q))
		}
		l.call(m, contracts.QueryPostCohort, post, writes...)
	}
	return q
}
