// Package consent is the patient's consent: the document, the signature over
// it and the decision that follows from a patient's documents.
//
// Entry points: Document.Digest is what the patient signs, with a plain ES256 key
// or as the challenge of a WebAuthn authenticator, and Signed.Verify checks
// either. Validate and Follows say whether a document may be recorded, and Decide
// answers whether an operation is allowed and why.
//
// The package is pure: it gets documents and ledger time as arguments, reads no
// clock and does not know where documents are kept. The same arguments give the
// same answer in the contract, at an institution and on a bridge.
//
// Trust: Decide believes the documents that it is given. Whoever calls it has
// checked, or reads from a ledger that has checked, that the patient signed
// them. What is not there permits nothing, and a document that denies wins over
// any number that permit. An assertion proves that an authenticator of the
// patient signed on one of the network's own pages after it had verified its
// user; that the page showed what was signed is for whoever serves it.
//
// Promise: a document that was valid stays valid and keeps its digest. New
// purposes, operations and templates may be added; a document that names them is
// refused by older versions, never read as something narrower or wider.
package consent

import "github.com/vitalveil/vitalveil/internal/record"

// Document is one version of one consent. Versions of an ID form a chain; a
// version is immutable.
type Document struct {
	ID         record.ID `json:"id"`
	Version    uint32    `json:"version"`  // 1, 2, ...
	Previous   record.ID `json:"previous"` // digest of the version before; zero for version 1
	Patient    record.ID `json:"patient"`
	Grantee    string    `json:"grantee"` // MSP ID of an institution
	Purpose    string    `json:"purpose"` // HL7 v3 PurposeOfUse
	Status     string    `json:"status"`  // StatusActive, StatusRevoked or StatusInError
	Effect     string    `json:"effect"`  // EffectPermit or EffectDeny
	Operations []string  `json:"operations"`
	Metrics    []string  `json:"metrics"`
	DataFrom   int64     `json:"data_from"` // Unix hours [DataFrom, DataUntil)
	DataUntil  int64     `json:"data_until"`
	NotBefore  int64     `json:"not_before"` // Unix seconds [NotBefore, Expires)
	Expires    int64     `json:"expires"`
	// CapMicro is the most privacy loss to this grantee, micro-zCDP. With 0 no
	// statistic may be asked, whatever it costs.
	CapMicro uint64 `json:"cap_micro"`
	// BeyondShare lets the grantee use up more than its equal share of the network's
	// cap for each patient, at the expense of other institutions.
	BeyondShare bool `json:"beyond_share"`
	// Exact permits statistics without privacy noise too.
	Exact      bool    `json:"exact"`
	Predicates []Terms `json:"predicates"`
	// Claims is how many claims may be asked under this consent, all its versions
	// and all that is listed in Predicates together.
	Claims uint32 `json:"claims"`
}

// Signed is a document with the patient's signature. Without an assertion the
// signature is ES256 (r || s, 64 bytes) over the document's digest. With one it
// is a WebAuthn authenticator's, whose challenge was the digest: ES256 in ASN.1
// DER, as authenticators give it, over AuthenticatorData || SHA-256(ClientDataJSON).
// Each has that one form and no other.
type Signed struct {
	Document  Document   `json:"document"`
	Key       []byte     `json:"key"` // the consent key that signed, compressed P-256
	Signature []byte     `json:"signature"`
	Assertion *Assertion `json:"assertion,omitempty"`
}

// Values of Document.Status and Document.Effect, and operations.
const (
	StatusActive  = "active"
	StatusRevoked = "revoked"
	// StatusInError says that the consent should never have been recorded, such
	// as one that was entered for another patient. It ends like a revocation.
	StatusInError = "entered-in-error"
	EffectPermit  = "permit"
	EffectDeny    = "deny"
	// OpAggregate: the patient's rows may be part of statistics.
	OpAggregate = "aggregate"
	// OpPredicate: claims about the patient may be proven to the grantee.
	OpPredicate = "predicate"
	// OpShare: the grantee may pass an attestation about the patient on to
	// another institution. The ledger does not see that happen: the grantee has to
	// ask Decide before it does, as whoever receives it may ask the grantee.
	OpShare = "share"
)

// Digest is what the patient signs.
func (d Document) Digest(network string) record.ID {
	return record.Digest(record.DomainConsent, network, d)
}
