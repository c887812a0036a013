// Package chaincode is the smart contracts: who takes part, who consented to
// what, which sealed rows and committed days exist, what was asked of them, and
// what of that was allowed.
//
// Entry point: New makes the chaincode, which both ledgers run unmodified. It
// has seven contracts, called as "Contract:Method" with one argument of JSON
// and answering with JSON:
//
//	Registry   Init GetGenesis GetLayout Upgrade EnrolPatient GetPatient ChangeKeys EnrolDevice GetDevice
//	           AcknowledgeSeeds PostPieceKey ComplainPieceKey GetPieceKey
//	           Erase ReportErasure GetErasure
//	           Complain VoteQuarantine FlagDevice RetireDevice
//	           VoteEpoch RetireEpoch GetRoster GetEpoch
//	Clock      Tick Reset Now
//	Consent    Put Get OfPatient
//	Pointer    Anchor Available Get GetBatch
//	Study      Create Get
//	Query      Ask PostCohort Abandon Fail PostRelease ConfirmShares Get
//	Predicate  Request Close Share Get Pending OfPatient
//
// Arguments and results are the documents of internal/record and of consent,
// and the few types of this package. An argument that is an identifier may be
// given as a JSON string or bare. Every error's text is a fault.Error.
//
// # Trust
//
// The contracts believe X.509 identities as far as naming an MSP, and nothing
// else that a caller says: patients', devices' and members' signatures are
// verified here, whoever submits them. A gateway submits for patients and
// devices and can withhold, but not alter. Integrity of the state rests on the
// ledger: on Fabric at least the threshold of members must endorse.
//
// # Time
//
// The transaction timestamp is chosen by the client and decides nothing. Ledger
// time is the median of the latest ticks of the current epoch's members (the lower
// one of two; a member that never ticked counts as long ago, so half of the members
// can not make time begin), and never before that epoch began. With a wall clock,
// transactions whose timestamp is further than five minutes from ledger time are
// refused, ticks, the end of a consent, erasures and whatever else only takes rights
// away or recovers a patient or the network apart.
//
// # Retries
//
// Submitting the identical document again returns what is recorded instead of
// an error, so that a client that lost the answer can repeat the call.
// Query:Ask and Predicate:Request are new requests each time they commit: look
// for the transaction before asking again.
//
// # State
//
// All state is JSON under composite keys ("\x00" kind "\x00" attributes, each
// ended by "\x00"); ParseKey reads them. A key is written by one kind of call
// only, and whatever many parties write at once has a key for each of them:
//
//	genesis                                 record.Genesis      Registry:Init
//	layout                                  Layout              Registry:Init, Upgrade
//	tick        member                      record.Tick         Clock:Tick, Reset
//	clock                                   record.ClockState   Clock:Reset: how often time was set back
//	clockvote   member                      record.ClockVote    Clock:Reset: the latest
//	patient     patient                     record.Patient      Registry:EnrolPatient, ChangeKeys; Erase marks it
//	person      person                      record.ID           Registry:EnrolPatient: the patient enrolled for a person
//	keys        patient, version            KeysState           Registry:ChangeKeys
//	recovery    patient, recovery hash      uint32              the same: the change that used the code up
//	device      device                      record.DeviceState  Registry:EnrolDevice, Complain, VoteQuarantine, RetireDevice
//	seedhash    hash                        record.ID           the same: the device that named it first, and has no fault
//	seedblob    hash                        record.ID           the same
//	designation patient                     []Designation       the same: devices in order of enrolment
//	ack         device, member              Acknowledged        Registry:AcknowledgeSeeds
//	piecekey    piece, or epoch.piece       record.PieceKeyState Registry:PostPieceKey, ComplainPieceKey
//	devicevote  device, member              record.DeviceVote   Registry:VoteQuarantine: the latest
//	deviceflag  device, member, kind, day   record.DeviceFlag   Registry:FlagDevice
//	roster                                  record.Roster       Registry:VoteEpoch, RetireEpoch; absent: epoch 0 alone
//	epoch       epoch                       record.EpochState   the same; epoch 0 only when it has ended
//	epochvote   epoch, member               a vote              Registry:VoteEpoch: the latest
//	epochend    epoch, member               a vote              Registry:RetireEpoch
//	consent     consent                     ConsentPublic       Consent:Put: the latest version
//	consentof   patient, consent            ConsentHead         the same: what a patient's consents are
//	pointer     device, kind, index, corr.  record.PointerState Pointer:Anchor
//	batch       root                        record.Batch        the same
//	available   batch, member               record.SignedAvailable  Pointer:Available; bits are only ever added
//	study       owner, study                record.StudyState   Study:Create, Query:Ask (the one contended key)
//	query       transaction                 record.QueryState   Query:Ask, PostCohort, Abandon, Fail, PostRelease, ConfirmShares
//	asks        member                      record.AskCount     Query:Ask: how many in the latest day
//	abandon     query, member               record.AbandonVote  Query:Abandon: a vote of a member that did not ask
//	cohort      query, attempt, member      record.CohortState  Query:PostCohort
//	predicate   transaction                 record.PredicateEntry  Predicate:Request, Close, Share
//	pending     device, predicate           record.ID           Request; deleted by Close: the consent
//	asked       consent                     uint32              Request: how many claims were asked under it
//	erasure     patient                     record.ErasureState  Registry:Erase
//	erased      patient, epoch, member      record.SignedErasureReport  Registry:ReportErasure
//
// Two kinds are in the private data collection Collection, and their values never
// on the chain: they come as transient data. Registry:Erase purges both.
//
//	consentdetails  consent, version        consent.Details          Consent:Put
//	question        consent, number         record.PredicateDetails  Predicate:Request, Close, Share
//
// What everybody sees of a consent is whose it is, how many versions it has,
// whether it was ended, when, and a salted hash. Chaincode that has to know what
// a consent says reads the details, which a peer without them cannot endorse.
// Get, OfPatient and Pending answer with details: evaluate them, since the answer to
// a submitted transaction is part of it.
//
// Of a claim asked about a patient everybody sees who asked, when, under which
// consent and whether it is closed; and, as a transaction names what it read, the
// device and the days. What was asked and with which outcome is private.
//
// # Layouts
//
// The state says which layout it has; every call but GetLayout and Upgrade refuses
// another one than LayoutVersion. To change what a kind means, raise LayoutVersion,
// add a kind and a migration that fills it from the old one, which it empties;
// keep reading the old kind in the index, which begins at the first block. After the
// new chaincode is in service a member repeats Registry:Upgrade: each call moves at
// most 200 entries, in key order, and nothing else commits until all are moved.
//
// # Promise
//
// The contracts are deterministic: no clock, no randomness, no floating point,
// no iteration over maps; a test holds the source to it. Keys and documents
// keep their meaning; new kinds may be added.
package chaincode
