package index

import (
	"sync"
	"sync/atomic"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Position is a place on the ledger: after block and transaction index.
type Position struct {
	Block uint64 `json:"block"`
	Index int    `json:"index"`
}

// Index is the state after the blocks applied so far. It is safe for one
// writer (Apply) and any number of readers: its methods take the lock, and ask the
// parts of the reading, which take none.
type Index struct {
	mu sync.RWMutex
	*reading
	broken bool // a block was applied in part
}

// Keys has patients' details keys, of those which are here at this moment: it never
// waits.
type Keys interface {
	Held(r details.Ref) (details.Key, bool)
}

// OpenWith has the index open what is private about patients with these keys. It is
// called before the first block; without keys everything private is a gap.
func (ix *Index) OpenWith(keys Keys) { ix.people.keys = keys }

// reading is what was read off the ledger, in parts of which each keeps to its own
// rules about what may follow what. A part reads those before it, and changes none.
type reading struct {
	height       uint64 // number of the next block
	lastHash     record.ID
	txs, invalid int

	names    names
	refusals *refusals
	policy   *policy
	clock    *clock
	people   *people
	fleet    *fleet
	anchors  *anchors
	cohorts  *cohorts
	claims   *claims

	appliers map[state.Kind]func(write) error
}

// policy is what the members have agreed on: the genesis document and the epochs that
// follow from it by votes of the one before. Nothing in it was decided by one member
// alone, and a vote counts once.
type policy struct {
	names     names
	genesis   *record.Genesis
	layout    uint32          // of the state at this height; 0: not said yet
	schema    *privacy.Schema // of the genesis
	roster    record.Roster
	epochs    map[uint32]record.EpochState
	pieceKeys map[pieceOf]PieceKey
	voted     map[string]bool // transactions with votes, which count once
	ends      map[ending]bool // votes that epochs end
}

// clock is ledger time: the median of what the members of the current epoch have posted.
// It goes back by their votes only.
type clock struct {
	names  names
	policy *policy
	ticks  map[string]int64
	now    int64
	times  []timeAt
	round  uint32                      // how often ledger time was set back
	latest int64                       // that it was before
	votes  map[string]record.ClockVote // of this round, by member
}

// people are the patients: their keys and consents, each version judged at its place by
// the keys that counted there, in ledger order. Who is erased stays so, and nothing of
// what the consents said is left.
type people struct {
	names    names
	policy   *policy
	clock    *clock
	refusals *refusals
	keys     Keys
	near     near

	patients map[record.ID]*patient
	order    []record.ID
	persons  map[record.ID]bool // of patients
	gaps     []Gap
	erased   []record.ID // in ledger order
}

// fleet is the devices: whose each is, its key and its seeds never change, a hash of a
// seed has one device, and who is out by evidence does not come back.
type fleet struct {
	names   names
	policy  *policy
	clock   *clock
	people  *people
	devices map[record.ID]*device
	order   []record.ID
	seeds   map[record.ID]record.ID // devices by the hashes of their seeds
}

// anchors are the pointers in their batches, and what members have said of their
// availability: a window of a device has one pointer for ever, and a bit that was set
// stays set.
type anchors struct {
	names     names
	policy    *policy
	fleet     *fleet
	batches   map[record.ID]*batch
	order     []*batch
	anchored  int
	available int
	trees     forest
}

// cohorts are the studies and queries, with who is in each: derived at its own place, in
// ledger order, and charged once. What has ended stays so.
type cohorts struct {
	names   names
	policy  *policy
	clock   *clock
	people  *people
	fleet   *fleet
	studies map[string]record.StudyState
	queries map[string]*query
	order   []string
	waiting []*query // whose cohorts are not known yet, in ledger order
	guessed bool     // what queries cost is known as an upper bound only
}

// claims are the requests for predicates.
type claims struct {
	predicates map[string]*record.PredicateEntry
	order      []string
}

// refusals are the writes that do not follow from signatures: all are counted, the
// first are kept.
type refusals struct {
	count int
	list  []Refusal
}

// names has one copy of each text that very many records have in common, such as the
// name of a member or of a metric.
type names map[string]string

func (n names) one(s string) string {
	if known, ok := n[s]; ok {
		return known
	}
	n[s] = s
	return s
}

// timeAt notes that ledger time became now in block.
type timeAt struct {
	block uint64
	now   int64
}

// patient is what the ledger knows about one patient.
type patient struct {
	state      record.Patient
	consents   []*agreement      // in the order of their first versions
	changes    []keysChange      // of the patient's keys, in ledger order
	designated []schedule        // one for each metric
	spent      uint64            // micro-zCDP over all askers
	spentBy    map[string]uint64 // by asker
	opened     map[string]*Hours // per metric: hours that exact queries have opened
	devices    []record.ID       // in the order of their enrolment
	unjudged   []place           // versions of consents that are not judged, in ledger order
	queries    []string          // that included the patient at attempt 0, ledger order
	erased     *erasure          // nil: not erased
}

// agreement is a consent: its versions, the first first.
type agreement struct {
	id       record.ID
	versions []version
}

// version is one version of a consent and where it was accepted.
type version struct {
	at     Position
	time   int64
	tx     string
	entry  record.ConsentEntry
	signed consent.Signed
	known  bool      // signed is there
	digest record.ID // of its document, until it is judged
	// judged: it is known whether the version follows from the patient's signatures;
	// unproven: it does not.
	judged, unproven bool
}

// keysChange is a change of a patient's keys and where it was accepted.
type keysChange struct {
	at    Position
	tx    string
	state state.KeysState
	// unproven: nobody has signed it who could. Only what it revokes counts.
	unproven bool
}

// schedule is a patient's devices for a metric, in order of their first days.
type schedule struct {
	metric string
	days   []designation
}

// designation makes device the patient's device for a metric from a day on.
type designation struct {
	fromDay int64
	device  record.ID
}

// pieceOf names a piece of an epoch's secrets.
type pieceOf struct {
	epoch uint32
	piece int
}

// device is what the ledger knows about one device.
type device struct {
	state     record.DeviceState
	standing  []standing // how it came into quarantine and out of it
	votes     map[string]record.DeviceVote
	flags     map[string]int // by kind
	number    uint32         // in the order of enrolment
	acks      []string       // members
	rows      slots          // by hour
	days      slots          // roots, by day
	persons   slots          // day rows, by day
	countable Hours
	daily     Hours   // of the days whose day rows count, all 24 of each
	corrected windows // corrections that are available
	decided   string  // the transaction whose vote has decided last
}

// batch is the pointers of one anchoring transaction.
type batch struct {
	rooted   atomic.Bool // its pointers are known to be those of its root
	id       record.ID
	number   uint32 // in ledger order
	root     record.ID
	count    int
	pointers []pointer                // by leaf
	posts    []record.SignedAvailable // one for each member, in the order of their first
}

// query is a query with the cohort that was derived at its own place, or, while it
// waits, with who may be in it.
type query struct {
	state   record.QueryState
	at      Position
	members []record.CohortMember
	size    int
	lost    int // patients of whom it will never be known whether they were in it

	waits      bool
	candidates []candidate

	posts map[int]map[string]record.PostCohort // attempt, member
	stops []string                             // members that want it abandoned

	sealing sync.Mutex
	sealed  map[int]Cohort // by attempt; an attempt's cohort never changes
}

// New returns an index that has seen no block.
func New() *Index { return &Index{reading: newReading()} }

func newReading() *reading {
	r := &reading{names: names{}, refusals: &refusals{}}
	r.policy = &policy{
		names: r.names, epochs: map[uint32]record.EpochState{}, pieceKeys: map[pieceOf]PieceKey{},
		voted: map[string]bool{}, ends: map[ending]bool{},
	}
	r.clock = &clock{names: r.names, policy: r.policy, ticks: map[string]int64{}, votes: map[string]record.ClockVote{}}
	r.people = &people{
		names: r.names, policy: r.policy, clock: r.clock, refusals: r.refusals, near: near{},
		patients: map[record.ID]*patient{}, persons: map[record.ID]bool{},
	}
	r.fleet = &fleet{
		names: r.names, policy: r.policy, clock: r.clock, people: r.people,
		devices: map[record.ID]*device{}, seeds: map[record.ID]record.ID{},
	}
	r.anchors = &anchors{names: r.names, policy: r.policy, fleet: r.fleet, batches: map[record.ID]*batch{}}
	r.cohorts = &cohorts{
		names: r.names, policy: r.policy, clock: r.clock, people: r.people, fleet: r.fleet,
		studies: map[string]record.StudyState{}, queries: map[string]*query{},
	}
	r.claims = &claims{predicates: map[string]*record.PredicateEntry{}}
	r.appliers = r.applying()
	return r
}
