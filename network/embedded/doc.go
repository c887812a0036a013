// Package embedded is a ledger in one process: it runs Fabric chaincode,
// unmodified, over a local key-value store and keeps what Fabric keeps, a chain
// of blocks of signed transactions and the state that they make. It is for
// demonstrations, tests and a single site.
//
// Entry points: Open starts or resumes a ledger in a directory, Ledger.Client
// gives an identity access to it, Verify re-checks everything that a directory
// holds.
//
// # Life of a transaction
//
// The client signs a Fabric proposal (X.509 creator, fresh nonce, transaction
// id = SHA-256 of nonce and creator). The ledger checks the creator's chain to
// its MSP's root and the signature, then simulates the chaincode over a
// snapshot of the state: what it reads is recorded with versions, what it
// writes is not visible to itself. Concurrent transactions are gathered into a
// block, checked in order (a read that is no longer current, or a range that
// reads differently, makes a transaction invalid) and written with their state
// and history in one synced batch. A crash loses nothing that was acknowledged
// and nothing by halves. A transaction whose write fails with an I/O error ends
// the process: its outcome cannot be told otherwise.
//
// # Blocks
//
// A block's header holds its number, the hash of the previous header, the
// Merkle root over SHA-256 of each transaction, their validation codes and the
// operator's time. The operator signs the hash of the header. A transaction
// holds the proposal without its transient data, the creator's signature over
// exactly that, the read and write set, the response and the event. All of it is deterministic CBOR (RFC 8949 section 4.2). Private values
// are kept off-chain, which has their hashes; a purge removes them.
//
// # Trust
//
// There is one endorser and one orderer: the operator. Members' proposals
// cannot be forged or altered by the operator, but it could leave some out,
// order them as it likes, claim results that the chaincode did not give, or,
// with its key, write a new chain. Only who remembers an earlier block hash and
// checks the chain notices the last. Verify reports the hash of the last block
// for that purpose; a chain that was cut short verifies, so compare.
//
// # Differences from Fabric
//
// One chaincode, so InvokeChaincode answers with an error; Init is never
// called. No rich queries (as with Fabric's LevelDB), no key-level endorsement
// policies. Any collection name is accepted and every member may read every
// collection that the chaincode lets it read. A transaction whose id is already
// on the chain is refused and leaves no trace. Transactions for which the
// chaincode panics are refused with an error. docs/design/fabric.md has all of them, with
// reasons; what is not listed there is the same, and package conformance holds it to that.
//
// Promise: a directory that this version wrote can be read by later ones; one
// with a newer schema is refused, not guessed at.
package embedded
