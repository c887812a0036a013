// Package chaincode is the smart contracts: who takes part, who consented to
// what, which sealed rows and committed days exist, what was asked of them, and
// what of that was allowed.
//
// Entry point: New makes the chaincode, which both ledgers run unmodified. It
// has seven contracts, called as Contract:Method with one argument of JSON
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
// Arguments and results are the documents of internal/record, consent and state. An argument that is an identifier may be
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
// Package state says which keys there are, what is under them, and what can be checked
// of it without these contracts.
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
// another one than state.LayoutVersion. To change what a kind means, raise that,
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
