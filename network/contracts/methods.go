package contracts

import (
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
)

// The network: its policy and the layout of its state.
const (
	RegistryInit       Write[record.Genesis, record.Genesis] = "Registry:Init" // once, by any member
	RegistryGetGenesis Read[struct{}, record.Genesis]        = "Registry:GetGenesis"
	RegistryGetLayout  Read[struct{}, state.Layout]          = "Registry:GetLayout"
	RegistryUpgrade    Write[struct{}, state.Layout]         = "Registry:Upgrade" // again while To is set
)

// Patients.
const (
	RegistryEnrolPatient  Write[record.EnrolPatient, record.Patient]                    = "Registry:EnrolPatient"
	RegistryGetPatient    Read[record.ID, record.Patient]                               = "Registry:GetPatient"
	RegistryChangeKeys    Write[consent.SignedKeys, record.Patient]                     = "Registry:ChangeKeys"
	RegistryErase         Write[record.SignedErasure, record.ErasureState]              = "Registry:Erase"
	RegistryReportErasure Write[record.SignedErasureReport, record.SignedErasureReport] = "Registry:ReportErasure"
	RegistryGetErasure    Read[record.ID, record.ErasureReceipt]                        = "Registry:GetErasure" // by patient
)

// Devices, their seeds and the keys of pieces.
const (
	RegistryEnrolDevice      Write[record.EnrolDevice, record.DeviceState]      = "Registry:EnrolDevice"
	RegistryGetDevice        Read[record.ID, record.DeviceState]                = "Registry:GetDevice"
	RegistryRetireDevice     Write[record.SignedRetirement, record.DeviceState] = "Registry:RetireDevice"
	RegistryAcknowledgeSeeds Write[record.AcknowledgeSeeds, state.Recorded]     = "Registry:AcknowledgeSeeds"
	RegistryPostPieceKey     Write[record.PostedKey, record.PieceKeyState]      = "Registry:PostPieceKey"
	RegistryComplainPieceKey Write[record.ComplainKey, record.PieceKeyState]    = "Registry:ComplainPieceKey"
	RegistryGetPieceKey      Read[int, record.PieceKeyState]                    = "Registry:GetPieceKey" // of the current epoch
	RegistryComplain         Write[record.Complain, record.DeviceState]         = "Registry:Complain"    // with evidence
	RegistryVoteQuarantine   Write[record.VoteQuarantine, record.DeviceState]   = "Registry:VoteQuarantine"
	RegistryFlagDevice       Write[record.FlagDevice, record.DeviceFlag]        = "Registry:FlagDevice"
)

// Epochs.
const (
	RegistryVoteEpoch   Write[record.VoteEpoch, record.EpochState]   = "Registry:VoteEpoch"
	RegistryRetireEpoch Write[record.RetireEpoch, record.EpochState] = "Registry:RetireEpoch"
	RegistryGetRoster   Read[struct{}, record.Roster]                = "Registry:GetRoster"
	RegistryGetEpoch    Read[uint32, record.EpochState]              = "Registry:GetEpoch"
)

// Ledger time.
const (
	ClockTick  Write[record.Tick, record.Tick]             = "Clock:Tick"
	ClockReset Write[record.ResetClock, record.ClockState] = "Clock:Reset"
	ClockNow   Read[struct{}, record.Tick]                 = "Clock:Now"
)

// Consents.
const (
	ConsentPut       Write[Consent, state.ConsentPublic]   = "Consent:Put"
	ConsentGet       Read[record.ID, state.ConsentState]   = "Consent:Get"
	ConsentOfPatient Read[record.ID, []state.ConsentState] = "Consent:OfPatient"
)

// Rows and days.
const (
	PointerAnchor    Write[record.Anchor, record.AnchorResult] = "Pointer:Anchor" // each pointer has an outcome of its own
	PointerAvailable Write[record.Available, state.Recorded]   = "Pointer:Available"
	PointerGet       Read[state.PointerRef, record.Receipt]    = "Pointer:Get"
	PointerGetBatch  Read[record.ID, record.Batch]             = "Pointer:GetBatch" // by its root
)

// Statistics.
const (
	StudyCreate        Write[record.Study, record.StudyState]        = "Study:Create"
	StudyGet           Read[state.StudyRef, record.StudyState]       = "Study:Get"
	QueryAsk           Write[record.Ask, record.QueryState]          = "Query:Ask" // a query and a debit each time it commits
	QueryPostCohort    Write[record.PostCohort, record.QueryState]   = "Query:PostCohort"
	QueryAbandon       Write[record.Abandon, record.QueryState]      = "Query:Abandon"
	QueryFail          Write[record.FailQuery, record.QueryState]    = "Query:Fail"
	QueryPostRelease   Write[record.PostRelease, record.QueryState]  = "Query:PostRelease"
	QueryConfirmShares Write[record.SignedShares, record.QueryState] = "Query:ConfirmShares"
	QueryGet           Read[string, record.QueryState]               = "Query:Get"
)

// Claims about one patient.
const (
	PredicateRequest   Write[Question, record.PredicateEntry]   = "Predicate:Request" // a request each time it commits
	PredicateClose     Write[Outcome, record.PredicateEntry]    = "Predicate:Close"
	PredicateShare     Write[Sharing, record.PredicateEntry]    = "Predicate:Share"
	PredicateGet       Read[string, record.PredicateState]      = "Predicate:Get"
	PredicatePending   Read[record.ID, []record.PredicateState] = "Predicate:Pending"   // by device; for gateways
	PredicateOfPatient Read[record.ID, []record.PredicateState] = "Predicate:OfPatient" // for gateways
)
