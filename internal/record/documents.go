package record

import "slices"

// The documents below are what the parties sign and what chaincode takes and
// stores, as JSON. Times are Unix seconds, hours Unix hours (seconds / 3600),
// days Unix days (seconds / 86400), all UTC. Privacy loss is in micro-zCDP:
// 1,000,000 is rho = 1 of zero-concentrated differential privacy.

// Clock modes of a network.
const (
	ClockWall      = "wall"
	ClockSimulated = "simulated"
)

// Genesis is the policy of a network, fixed when it is made. Bridges and
// patients get it out of band (with the installation, or from the patients'
// association) and never from the gateway.
type Genesis struct {
	Network   string    `json:"network"`
	Clock     string    `json:"clock"`
	Threshold int       `json:"threshold"`
	Members   []Member  `json:"members"`
	Registrar string    `json:"registrar"` // MSP that vouches for patients and may never ask; empty where Vouchers counts
	Gateways  []string  `json:"gateways"`  // MSPs whose clients may submit for patients and devices
	MinCohort int       `json:"min_cohort"`
	Exact     bool      `json:"exact"`   // whether studies without privacy noise are allowed
	Profile   string    `json:"profile"` // name of the sealing profile (package he)
	Schema    ID        `json:"schema"`  // digest of the row schema (package he/privacy)
	CapMicro  uint64    `json:"cap_micro"`
	Circuits  []Circuit `json:"circuits"`
	// PredicateSlot is the length in seconds of the fixed slot after which, and
	// PredicateLife the time within which, a predicate is answered.
	PredicateSlot int64 `json:"predicate_slot"`
	PredicateLife int64 `json:"predicate_life"`
	// RelyingParties are the portals on which patients may sign with WebAuthn.
	// With none, every consent is signed with plain ES256.
	RelyingParties []RelyingParty `json:"relying_parties,omitempty"`
	// Vouchers is how many members must vouch for a patient, each with a signature
	// of its own, where there is no registrar; otherwise 0.
	Vouchers int `json:"vouchers,omitempty"`
	// DailyAsks is how many queries a member may ask in a day (UTC, ledger time),
	// exact ones included; 0 stands for DefaultDailyAsks.
	DailyAsks int `json:"daily_asks,omitempty"`
	// Ceremony says that keys of circuits come from ceremonies only.
	Ceremony bool `json:"ceremony,omitempty"`
}

// RelyingParty is who a WebAuthn authenticator signs for, and the origins from which it
// may be asked: of pages, such as "https://portal.example.org", and of Android apps, such
// as "android:apk-key-hash:" with the hash of their certificate.
type RelyingParty struct {
	ID      string   `json:"id"` // a domain, such as "example.org"
	Origins []string `json:"origins"`
}

// Member is one organisation of the consortium. Members are numbered by their
// place in Genesis.Members.
type Member struct {
	MSP     string `json:"msp"`
	Name    string `json:"name"`
	SignKey []byte `json:"sign_key"` // compressed P-256: vouchers, Available posts, shares
	// The X25519 public keys of DHKEM(X25519, HKDF-SHA256): to which devices seal
	// seeds, holders the keys of pieces, and members shares and the keys of consent
	// details. All keys of an epoch are different.
	SeedKey   []byte `json:"seed_key"`
	PieceKey  []byte `json:"piece_key"`
	ShareKey  []byte `json:"share_key"`
	DetailKey []byte `json:"detail_key"`
}

// BoxKeys are the keys to which something is sealed.
func (m Member) BoxKeys() [][]byte {
	return [][]byte{m.SeedKey, m.PieceKey, m.ShareKey, m.DetailKey}
}

// Circuit is a predicate circuit's verifying key as the network accepted it.
type Circuit struct {
	Class        string `json:"class"`
	VerifyingKey []byte `json:"verifying_key"`
	Hash         ID     `json:"hash"`  // SHA-256 of VerifyingKey
	Setup        string `json:"setup"` // "development" or "ceremony"
	// Of a ceremony: the digest of its transcript, and who took part.
	Transcript   ID       `json:"transcript,omitzero"`
	Contributors []string `json:"contributors,omitempty"`
}

// Inception is the record whose digest is the patient's identifier.
type Inception struct {
	ConsentKeys  [][]byte `json:"consent_keys"` // compressed P-256
	RecoveryHash ID       `json:"recovery_hash"`
	Salt         ID       `json:"salt"`
	// DetailsKey is the digest of the key under which what is private about the
	// patient is sealed (internal/details).
	DetailsKey ID `json:"details_key"`
}

// PatientID is the digest of the inception record.
func (in Inception) PatientID(network string) ID { return Digest(DomainInception, network, in) }

// Voucher says that the person behind a patient was met. Person is a keyed hash,
// equal for equal persons: of the registrar, or of the members that vouch, who
// agree on its key.
type Voucher struct {
	Patient ID `json:"patient"`
	Person  ID `json:"person"`
}

// EnrolPatient is the argument of Registry:EnrolPatient.
type EnrolPatient struct {
	Inception Inception `json:"inception"`
	// DetailsBlob is the SHA-256 of the blob with the details key, sealed to members.
	DetailsBlob ID         `json:"details_blob"`
	Signature   []byte     `json:"signature"` // by ConsentKeys[0] over Digest, in either form of a signed consent
	Assertion   *Assertion `json:"assertion,omitempty"`
	Voucher     Voucher    `json:"voucher"`
	// Vouchers are the signatures of those who vouch: the registrar's, or those of
	// at least Genesis.Vouchers members, each once.
	Vouchers []VoucherSignature `json:"vouchers"`
}

// Digest is what the patient signs: the inception record and where its key is.
func (e EnrolPatient) Digest(network string) ID {
	return Digest(DomainEnrolment, network, []ID{e.Inception.PatientID(network), e.DetailsBlob})
}

// VoucherSignature is a member's signature over the digest of a Voucher in
// DomainVoucher.
type VoucherSignature struct {
	By        string `json:"by"` // MSP
	Signature []byte `json:"signature"`
}

// Device is what a bridge enrols: one installation for one patient. Its seeds
// must be fresh: a seed hash is accepted once, ever.
type Device struct {
	Key        []byte   `json:"key"` // compressed P-256
	Patient    ID       `json:"patient"`
	FirstHour  int64    `json:"first_hour"`
	Profile    string   `json:"profile"`
	Epoch      uint32   `json:"epoch"`
	Metrics    []string `json:"metrics"`     // for which it is the patient's designated device, sorted
	SeedHashes []ID     `json:"seed_hashes"` // one per piece
	SeedBlob   ID       `json:"seed_blob"`   // SHA-256 of the blob with the seeds sealed to their holders
}

// DeviceID is the identifier of the device with this key: a new key is a new
// device.
func DeviceID(network string, key []byte) ID { return Digest(DomainDeviceID, network, key) }

// EnrolDevice is the argument of Registry:EnrolDevice. Both sign the digest of
// Device in DomainDevice.
type EnrolDevice struct {
	Device           Device `json:"device"`
	DeviceSignature  []byte `json:"device_signature"`
	PatientSignature []byte `json:"patient_signature"`
	// PatientAssertion is there where an authenticator made the patient's signature.
	PatientAssertion *Assertion `json:"patient_assertion,omitempty"`
}

// DeviceState is the ledger's record of a device.
type DeviceState struct {
	ID       ID     `json:"id"`
	Device   Device `json:"device"`
	DID      string `json:"did"` // did:key of the device key
	Enrolled int64  `json:"enrolled"`
	// FromDay is the first day it is the designated device for its metrics.
	FromDay     int64       `json:"from_day"`
	Quarantined *Quarantine `json:"quarantined,omitempty"`
	Retired     *Retirement `json:"retired,omitempty"`
	// Round counts how often a vote has put it into quarantine or lifted that.
	Round int `json:"round,omitempty"`
}

// AcknowledgeSeeds is the argument of Registry:AcknowledgeSeeds: the calling
// member holds the seeds of these devices and found them to match their hashes.
type AcknowledgeSeeds struct {
	Devices []ID `json:"devices"` // at most MaxBatch
}

// DomainPieceKey is the domain of PieceKey: what the holder that made it signs.
const DomainPieceKey = "piece-key/v1"

// PieceKey is the PRF key of a piece, made by one of its holders and sealed to all
// others.
type PieceKey struct {
	Epoch uint32 `json:"epoch,omitempty"`
	Piece int    `json:"piece"`
	// Round is the number of keys of this piece that were found faulty before.
	Round int         `json:"round,omitempty"`
	Check ID          `json:"check"` // domain-separated hash of the key
	Boxes []SealedBox `json:"boxes"`
}

// Digest is what is signed.
func (k PieceKey) Digest(network string) ID { return Digest(DomainPieceKey, network, k) }

// PieceKeyState is the ledger's record of a piece's key, and of those before it
// that were found faulty, in the order of their rounds. Who made one of those makes
// none again. Without a key, one of the other holders makes the next.
type PieceKeyState struct {
	Epoch  uint32      `json:"epoch,omitempty"`
	Piece  int         `json:"piece"`
	Posted *PostedKey  `json:"posted,omitempty"`
	Faulty []FaultyKey `json:"faulty,omitempty"`
}

// MadeBy reports whether a member made one of the faulty keys.
func (s PieceKeyState) MadeBy(msp string) bool {
	return slices.ContainsFunc(s.Faulty, func(f FaultyKey) bool { return f.Posted.By == msp })
}

// PostedKey is the argument of Registry:PostPieceKey: a piece's key and who made it.
type PostedKey struct {
	By        string   `json:"by"` // MSP, of the calling member
	Key       PieceKey `json:"key"`
	Signature []byte   `json:"signature"` // with its sign_key
}

// FaultyKey is a key whose box to Holder is at fault. Proof is package he/opening's.
type FaultyKey struct {
	Posted PostedKey `json:"posted"`
	Holder string    `json:"holder"` // MSP
	Reason string    `json:"reason"`
	Proof  []byte    `json:"proof"`
}

// ComplainKey is the argument of Registry:ComplainPieceKey: the calling member shows
// what the box of a piece's key to it opens to.
type ComplainKey struct {
	Epoch uint32 `json:"epoch,omitempty"`
	Piece int    `json:"piece"`
	Round int    `json:"round,omitempty"`
	Proof []byte `json:"proof"`
}

// SealedBox is a box of package he/opening to one member.
type SealedBox struct {
	To         string `json:"to"` // MSP
	Ciphertext []byte `json:"ciphertext"`
}

// Tick is the argument of Clock:Tick. Round is how often ledger time was set back before
// (ClockState): a tick of a wrong clock is no tick of the time after.
type Tick struct {
	Time  int64  `json:"time"`
	Round uint32 `json:"round,omitempty"`
}

// MaxBatch bounds every batched call.
const MaxBatch = 500

// Kinds of pointers.
const (
	KindRow       = "row"
	KindDay       = "day"
	KindPersonDay = "person-day"
)

// Pointer names one sealed row (KindRow: Index is the Unix hour, Blob the
// SHA-256 of the stored blob that carries it, Commitment the SHA-256 of the row),
// one committed day (KindDay: Index is the Unix day, Blob is zero, Commitment the
// day root) or one sealed day row (KindPersonDay: Index is the Unix day, Blob and
// Commitment as of a row). Only rows of hours are corrected.
type Pointer struct {
	Device     ID     `json:"device"`
	Kind       string `json:"kind"`
	Index      int64  `json:"index"`
	Correction uint8  `json:"correction"` // 0 is the first sealing; see MaxCorrection
	Blob       ID     `json:"blob"`
	Commitment ID     `json:"commitment"`
}

// Daily reports whether Index is a Unix day.
func (p Pointer) Daily() bool { return p.Kind != KindRow }

// Sealed reports whether the pointer is of a sealed row, of an hour or of a day, and
// names the blob that carries it.
func (p Pointer) Sealed() bool { return p.Kind != KindDay }

// Place returns where the row of a sealed pointer is in its blob, as Hour and Correction
// of a BlobRow.
func (p Pointer) Place() (hour int64, correction uint8) {
	if p.Kind == KindPersonDay {
		return 24 * p.Index, PersonDayMark
	}
	return p.Index, p.Correction
}

// Digest is what the device signs and the leaf in the batch's Merkle tree.
func (p Pointer) Digest(network string) ID { return Digest(DomainPointer, network, p) }

// SignedPointer is a pointer with its device's signature.
type SignedPointer struct {
	Pointer   Pointer `json:"pointer"`
	Signature []byte  `json:"signature"`
}

// Anchor is the argument of Pointer:Anchor.
type Anchor struct {
	Pointers []SignedPointer `json:"pointers"` // 1..MaxBatch
}

// Outcomes of one pointer in a batch.
const (
	Anchored = "anchored" // recorded by this transaction
	Repeated = "repeated" // the identical pointer was there already
	Refused  = "refused"  // see Code and Detail
)

// AnchorItem is the outcome of pointer number i of the call.
type AnchorItem struct {
	Outcome string `json:"outcome"`
	Leaf    int    `json:"leaf"` // place in the batch, when anchored
	Code    string `json:"code,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// AnchorResult is what Pointer:Anchor returns. Batch is zero when nothing was
// anchored.
type AnchorResult struct {
	Batch ID           `json:"batch"`
	Items []AnchorItem `json:"items"`
}

// PointerState is the ledger's record of a pointer.
type PointerState struct {
	Signed SignedPointer `json:"signed"`
	Batch  ID            `json:"batch"`
	Leaf   int           `json:"leaf"`
	Time   int64         `json:"time"` // ledger time when anchored
}

// Batch is the ledger's record of the pointers of one transaction: the Merkle
// root over their digests, in leaf order. Pointers holds their state keys.
type Batch struct {
	Root     ID       `json:"root"`
	Count    int      `json:"count"`
	Pointers []string `json:"pointers"`
}

// AvailablePost says which rows of a batch a member has fetched and found well
// formed: bit i of Bitmap (least significant first) is leaf i.
type AvailablePost struct {
	Batch ID `json:"batch"`
	// Count is the batch's: a Merkle path fits more than one number of leaves, so
	// without it a receipt could be read off a neighbour's bit.
	Count  int    `json:"count"`
	Bitmap []byte `json:"bitmap"`
}

// Digest is what the member signs.
func (p AvailablePost) Digest(network string) ID { return Digest(DomainAvailable, network, p) }

// SignedAvailable is a post with the member's signature.
type SignedAvailable struct {
	Post      AvailablePost `json:"post"`
	Member    string        `json:"member"` // MSP
	Signature []byte        `json:"signature"`
}

// Available is the argument of Pointer:Available.
type Available struct {
	Posts []SignedAvailable `json:"posts"` // 1..MaxBatch, all of the calling member
}

// Receipt proves to a bridge that a pointer was anchored and found available by
// Threshold members.
type Receipt struct {
	Pointer SignedPointer     `json:"pointer"`
	Batch   ID                `json:"batch"`
	Leaf    int               `json:"leaf"`
	Count   int               `json:"count"`
	Path    []ID              `json:"path"`
	Posts   []SignedAvailable `json:"posts"`
}

// Study is an institution's registered question.
type Study struct {
	ID        string   `json:"id"` // [a-z0-9-]{1,64}, unique per owner
	Title     string   `json:"title"`
	Purpose   string   `json:"purpose"` // HL7 v3 PurposeOfUse
	Metrics   []string `json:"metrics"` // keys of questions: metrics, pairs, metrics by stratum (package privacy)
	From      int64    `json:"from"`    // hours [From, Until)
	Until     int64    `json:"until"`
	MinCohort int      `json:"min_cohort"`
	Budget    uint64   `json:"budget_micro"`
	Exact     bool     `json:"exact"`
}

// StudyState is the ledger's record of a study.
type StudyState struct {
	Study Study  `json:"study"`
	Owner string `json:"owner"` // MSP
	Spent uint64 `json:"spent_micro"`
}

// Ask is the argument of Query:Ask. The query's identifier is the transaction's.
type Ask struct {
	Study  string `json:"study"`
	Metric string `json:"metric"` // key of one of the study's questions
	From   int64  `json:"from"`   // hours [From, Until)
	Until  int64  `json:"until"`
	Rho    uint64 `json:"rho_micro"` // 0 in an exact study
	// Want names the figures about person-days (privacy.Want); empty asks about minutes.
	Want string `json:"want,omitempty"`
	// Epoch is whose devices are asked about: those enrolled in it.
	Epoch uint32 `json:"epoch,omitempty"`
}

// Query status.
const (
	QueryAsked     = "asked"
	QueryAgreed    = "agreed"  // threshold members derived the same cohort
	QueryRefused   = "refused" // they agree that it is below the minimum
	QueryAbandoned = "abandoned"
	QueryReleased  = "released"
	QueryFailed    = "failed" // the asker says that its shares agree and do not open the rows
)

// QueryState is the ledger's record of a query.
type QueryState struct {
	ID        string `json:"id"` // transaction id
	Ask       Ask    `json:"ask"`
	Asker     string `json:"asker"` // MSP
	Purpose   string `json:"purpose"`
	Exact     bool   `json:"exact"`
	MinCohort int    `json:"min_cohort"`
	Asked     int64  `json:"asked"`
	Expires   int64  `json:"expires"`
	Status    string `json:"status"`
	Attempt   int    `json:"attempt"`
	Root      ID     `json:"root"`    // agreed cohort root of Attempt
	Size      int    `json:"size"`    // patients
	Release   ID     `json:"release"` // digest of what was learned, salted
	Reason    string `json:"reason,omitempty"`
	// Shares are those that opened a release, by piece, and Standing is what its
	// members say of them.
	Shares   []ReleasedShare `json:"shares,omitempty"`
	Standing string          `json:"standing,omitempty"`
}

// PostCohort is the argument of Query:PostCohort. A member posts once per
// attempt; attempts are 0, 1 and 2.
type PostCohort struct {
	Query   string `json:"query"`
	Attempt int    `json:"attempt"`
	Root    ID     `json:"root"`
	Size    int    `json:"size"`
	// Position is the number of the last block the cohort was derived from when
	// Attempt > 0; attempt 0 is at the query's own place.
	Position uint64 `json:"position"`
}

// CohortState is the ledger's record of one member's post.
type CohortState struct {
	Post   PostCohort `json:"post"`
	Member string     `json:"member"`
}

// Abandon is the argument of Query:Abandon: the asker ends its query, or
// another member votes for that.
type Abandon struct {
	Query  string `json:"query"`
	Reason string `json:"reason"`
}

// CohortMember is one leaf of a cohort: a device and the hours of its rows that
// count, as sorted disjoint ranges [from, until). Corrections lists the late rows
// of these hours that count with them, as {hour, number} in ascending order; with
// none it is no part of the digest.
type CohortMember struct {
	Device      ID         `json:"device"`
	Ranges      [][2]int64 `json:"ranges"`
	Corrections [][2]int64 `json:"corrections,omitempty"`
}

// Bounds are the parameters of a predicate, in codes of the metric (package
// wearable) and readings. They mirror the public inputs of the circuit (package zk).
type Bounds struct {
	HourMask uint32 `json:"hour_mask"` // bit h: hour h UTC counts
	Lo       uint32 `json:"lo"`
	Hi       uint32 `json:"hi"`
	K        uint32 `json:"k"`
	OutMax   uint32 `json:"out_max"`
	MinCount uint32 `json:"min_count"`
	DayK     uint32 `json:"day_k"`
	MeanLo   uint32 `json:"mean_lo"`
	MeanHi   uint32 `json:"mean_hi"`
	TrendLo  uint32 `json:"trend_lo"` // biased by 2^17
	TrendHi  uint32 `json:"trend_hi"`
	MinHalf  uint32 `json:"min_half"`
}

// AskPredicate is what an institution asks about one patient. It is as private as
// the patient's consents: on the chain is its salted hash.
type AskPredicate struct {
	Patient  ID     `json:"patient"`
	Purpose  string `json:"purpose"`
	Class    string `json:"class"` // circuit class, e.g. "day"
	Metric   string `json:"metric"`
	FirstDay int64  `json:"first_day"`
	Bounds   Bounds `json:"bounds"`
	Nonce    ID     `json:"nonce"`
	// Signature is the asker's (Member.SignKey) over Digest: what a ledger, a gateway or
	// a device is shown was asked by that member, and once.
	Signature []byte `json:"signature"`
}

// Digest is what the asker signs, a member named by its MSP ID.
func (a AskPredicate) Digest(network, asker string) ID {
	a.Signature = nil
	return Digest(DomainAsk, network, struct {
		Asker string
		Ask   AskPredicate
	}{asker, a})
}

// Domains of the documents below.
const (
	DomainAsk       = "predicate-ask/v1"
	DomainQuestion  = "predicate-question/v1"
	DomainPredicate = "predicate/v1"
)

// Question is what Predicate:Request gets as transient data. The salt is 32 random
// bytes; without it, whoever guesses a question could tell whether it was asked.
type Question struct {
	Ask  AskPredicate `json:"ask"`
	Salt ID           `json:"salt"`
}

// Hash is what the chain shows of a question when it is asked.
func (q Question) Hash(network string) ID { return Digest(DomainQuestion, network, q) }

// RequestPredicate is the argument of Predicate:Request. The request's identifier is
// the transaction's.
type RequestPredicate struct {
	Hash ID `json:"hash"` // of the Question
}

// Predicate status. The chain says PredicateAsked or PredicateClosed; with which
// outcome it was closed is private.
const (
	PredicateAsked    = "asked"
	PredicateClosed   = "closed"
	PredicateAttested = "attested"
	PredicateExpired  = "expired"
)

// PredicateEntry is what everybody sees of a request: who asked under which consent,
// when, and what holds its details to the chain. Binding is a public input of the
// proof, which binds a proof to this request.
type PredicateEntry struct {
	ID      string `json:"id"`    // transaction id
	Asker   string `json:"asker"` // MSP
	Consent ID     `json:"consent"`
	Number  uint32 `json:"number"` // of the claims asked under that consent, from 1
	Asked   int64  `json:"asked"`
	Expires int64  `json:"expires"`
	Binding ID     `json:"binding"`
	Hash    ID     `json:"hash"` // of the PredicateDetails
	Status  string `json:"status"`
}

// PredicateDetails is what is private of a request, in the collection.
type PredicateDetails struct {
	State PredicateState `json:"state"`
	Salt  ID             `json:"salt"` // of the Question
}

// Hash is what the chain shows of the details.
func (d PredicateDetails) Hash(network string) ID { return Digest(DomainPredicate, network, d) }

// PredicateState is a predicate request with its outcome, for whom it concerns.
// DataDigest and Binding are the public inputs that chaincode computed when it was
// made.
type PredicateState struct {
	ID         string       `json:"id"` // transaction id
	Ask        AskPredicate `json:"ask"`
	Asker      string       `json:"asker"` // MSP
	Device     ID           `json:"device"`
	Consent    ID           `json:"consent"`
	Version    uint32       `json:"version"`
	Number     uint32       `json:"number"` // as in PredicateEntry
	Roots      []ID         `json:"roots"`  // day roots, FirstDay first
	DataDigest ID           `json:"data_digest"`
	Binding    ID           `json:"binding"`
	Asked      int64        `json:"asked"`
	AnswerFrom int64        `json:"answer_from"`
	Expires    int64        `json:"expires"`
	Status     string       `json:"status"`
	Proof      []byte       `json:"proof,omitempty"`
	ClosedTx   string       `json:"closed_tx,omitempty"`
	// Shared is to which institutions the asker passed it on, with the patient's
	// consent.
	Shared []Sharing `json:"shared,omitempty"`
}

// Sharing says that a request and its outcome were passed on.
type Sharing struct {
	To   string `json:"to"`   // MSP
	Time int64  `json:"time"` // ledger time
}

// Attest is a device's answer to a request. The proof, whose existence is the
// outcome, goes to Predicate:Close as transient data.
type Attest struct {
	Request string `json:"request"`
	Proof   []byte `json:"proof"`
}

// NamePredicate is the argument of Predicate:Close and Predicate:Share.
type NamePredicate struct {
	Request string `json:"request"`
}

// Descriptor is what a participant needs to know of a network beforehand, and
// what an offline check starts from.
type Descriptor struct {
	Genesis Genesis           `json:"genesis"`
	Roots   map[string][]byte `json:"roots"` // root certificates (PEM) by MSP
}
