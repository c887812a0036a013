// Package state is what the ledger holds and what can be seen of it without asking the
// contracts: the keys of the state, the documents under them that are not in
// internal/record, and the rules that anyone can check who reads the chain. The
// contracts write by it; the index, the offline check, gateways and institutions read
// by it, and so link no contract.
//
// Entry points: ParseKey and the constructors of keys; ParseLayout; Check..., Examine...
// and the other rules, which are pure.
//
// # Trust
//
// Nothing is believed: rules say what is wrong with a document by itself or beside
// others that the caller has from a ledger it trusts.
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
// # Promise
//
// Keys and documents keep their meaning; new kinds may be added. Rules are deterministic,
// as contracts are: a test holds the source to it.
package state
