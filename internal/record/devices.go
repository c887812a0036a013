package record

// The documents about the end of a device's life: complaints, votes, flags and
// retirement.

// DomainRetire is the domain of RetireDevice.
const DomainRetire = "device-retirement/v1"

// Ways in which a device came into quarantine.
const (
	ByEvidence = "evidence" // final: a fault that was shown cannot be undone
	ByVote     = "vote"     // lifted by as many votes
)

// Quarantine says that a device counts for nothing from a point of the ledger on.
type Quarantine struct {
	At     int64    `json:"at"`  // ledger time
	How    string   `json:"how"` // ByEvidence or ByVote
	Reason string   `json:"reason"`
	By     []string `json:"by"` // MSPs: who complained or voted
	// Piece and Proof are the evidence, together with the device's seed blob: see
	// Complain.
	Piece int    `json:"piece,omitempty"`
	Proof []byte `json:"proof,omitempty"`
}

// Retirement says that a device ended, which its patient or it has signed.
type Retirement struct {
	At   int64 `json:"at"` // ledger time
	Lost bool  `json:"lost,omitempty"`
}

// RetireDevice is what the patient or the device signs, in DomainRetire. From
// then on no window that begins later is anchored. Lost says that the device is
// out of its patient's hands: then nothing more is anchored at all.
type RetireDevice struct {
	Device ID   `json:"device"`
	Lost   bool `json:"lost,omitempty"`
}

// SignedRetirement is the argument of Registry:RetireDevice.
type SignedRetirement struct {
	Retire    RetireDevice `json:"retire"`
	Signature []byte       `json:"signature"`           // by a consent key of the patient, or by the device key
	Assertion *Assertion   `json:"assertion,omitempty"` // of the patient's, where an authenticator made it
}

// Complain is the argument of Registry:Complain: the calling member shows what
// the seed box of a piece, sealed to it, opens to. Blob is the device's seed
// blob; Proof is package he/opening's, empty for a fault that shows without one.
type Complain struct {
	Device ID     `json:"device"`
	Piece  int    `json:"piece"`
	Blob   []byte `json:"blob"`
	Proof  []byte `json:"proof"`
}

// VoteQuarantine is the argument of Registry:VoteQuarantine: the calling member
// wants the device in quarantine, or, with Lift, out of it.
type VoteQuarantine struct {
	Device ID     `json:"device"`
	Lift   bool   `json:"lift,omitempty"`
	Reason string `json:"reason"`
}

// DeviceVote is the ledger's record of a member's latest vote about a device. It
// counts in its round only.
type DeviceVote struct {
	Vote   VoteQuarantine `json:"vote"`
	Member string         `json:"member"`
	Round  int            `json:"round"`
	Time   int64          `json:"time"`
}

// Kinds of flags.
const (
	FlagOutlier = "outlier" // what it contributes is implausible
	FlagProof   = "proof"   // it sent proofs that do not verify
	FlagPointer = "pointer" // it sent pointers or rows that were refused
)

// FlagDevice is the argument of Registry:FlagDevice: something that the calling
// member has seen and the ledger cannot. It counts in the device's reputation and
// in nothing else.
type FlagDevice struct {
	Device ID     `json:"device"`
	Kind   string `json:"kind"`
	Note   string `json:"note"` // for people; never about a person's health
}

// DeviceFlag is the ledger's record of a flag: one for each device, member, kind
// and day, so that nobody can count up alone.
type DeviceFlag struct {
	Flag   FlagDevice `json:"flag"`
	Member string     `json:"member"`
	Day    int64      `json:"day"` // Unix day of ledger time
}
