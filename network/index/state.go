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
// writer (Apply) and any number of readers.
type Index struct {
	mu sync.RWMutex
	reading
	keys   Keys
	near   near
	broken bool              // a block was applied in part
	names  map[string]string // texts that many records have in common
	trees  forest
}

// Keys has patients' details keys, of those which are here at this moment: it never
// waits.
type Keys interface {
	Held(r details.Ref) (details.Key, bool)
}

// OpenWith has the index open what is private about patients with these keys. It is
// called before the first block; without keys everything private is a gap.
func (ix *Index) OpenWith(keys Keys) { ix.keys = keys }

// reading is what was read off the ledger.
type reading struct {
	unprovenWrites int // writes that do not follow from signatures
	refusals       []Refusal
	genesis        *record.Genesis
	layout         uint32          // of the state at this height; 0: not said yet
	schema         *privacy.Schema // of the genesis
	roster         record.Roster
	epochs         map[uint32]record.EpochState
	height         uint64 // number of the next block
	lastHash       record.ID
	ticks          map[string]int64
	now            int64
	times          []timeAt

	patients     map[record.ID]*patient
	patientOrder []record.ID
	devices      map[record.ID]*device
	deviceOrder  []record.ID
	pieceKeys    map[pieceOf]PieceKey
	batches      map[record.ID]*batch
	batchOrder   []*batch
	studies      map[string]record.StudyState
	queries      map[string]*query
	queryOrder   []string
	predicates   map[string]*record.PredicateEntry
	predOrder    []string
	gaps         []Gap
	waiting      []*query                    // whose cohorts are not known yet, in ledger order
	clockRound   uint32                      // how often ledger time was set back
	latest       int64                       // that it was before
	clockVotes   map[string]record.ClockVote // of this round, by member
	voted        map[string]bool             // transactions with votes, which count once
	ends         map[ending]bool             // votes that epochs end
	persons      map[record.ID]bool          // of patients
	seeds        map[record.ID]record.ID     // devices by the hashes of their seeds
	guessed      bool                        // what queries cost is known as an upper bound only
	erasedOrder  []record.ID
	txs, invalid int
	anchored     int
	available    int
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
	days      slots          // by day
	countable Hours
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
func New() *Index {
	return &Index{near: near{}, names: map[string]string{}, reading: reading{
		ticks:      map[string]int64{},
		patients:   map[record.ID]*patient{},
		devices:    map[record.ID]*device{},
		epochs:     map[uint32]record.EpochState{},
		pieceKeys:  map[pieceOf]PieceKey{},
		batches:    map[record.ID]*batch{},
		studies:    map[string]record.StudyState{},
		queries:    map[string]*query{},
		predicates: map[string]*record.PredicateEntry{},
		clockVotes: map[string]record.ClockVote{},
		voted:      map[string]bool{},
		ends:       map[ending]bool{},
		persons:    map[record.ID]bool{},
		seeds:      map[record.ID]record.ID{},
	}}
}
