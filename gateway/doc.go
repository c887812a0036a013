// Package gateway is the front door of a network: the REST interface of package
// gateway/api for patients, bridges and members, in front of a ledger and a
// store of sealed blobs.
//
// Entry points: New makes a gateway, Handler is its HTTP interface, Serve runs
// it on a listener, Close ends it. Under /fhir it shows consents as FHIR R4, for
// reading.
//
// Trust: the gateway decides nothing and holds nothing secret about patients.
// Documents carry the signatures of those who made them and chaincode verifies
// these; blobs are sealed and named by their hash. The gateway alone renders
// errors, as RFC 9457 problems or FHIR OperationOutcomes, and logs neither bodies
// nor keys. What is asked of it and refused here is refused to spare the ledger and the
// patients' metadata, not because anything would be believed otherwise. It does no work
// for a body before it knows its sender, as far as a route has one, and bounds what
// anybody can have it do (docs/api.md).
//
// A write is answered 202 with an operation. What a crash loses, by state:
//
//   - before the 202: possibly everything; blobs already stored are harmless
//     and found again. Send the request again.
//   - accepted (202): nothing. The operation is journaled and synced; it is
//     taken up again at the next start. A journal that cannot be written ends the
//     process.
//   - recorded (done): nothing. The ledger has it. If the journal missed the
//     outcome, the operation runs again and finds its own record.
//
// Promise: the same document, or the same party and Idempotency-Key, is the
// same operation, for as long as the journal keeps it (24 hours once done).
// Posting it again tells its outcome, or tries again what failed.
package gateway
