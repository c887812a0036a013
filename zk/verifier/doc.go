// Package verifier checks proofs about one patient's committed days, and defines
// what is proven: the commitments, the statement and the public inputs that the
// prover (package zk) and the ledger share.
//
// Entry points: Statement is the claim, Statement.Check refuses claims that are
// malformed or that could hold without data, Statement.Text says the claim in
// words, Verifier.Verify accepts or refuses a proof of it, and Verifier.VerifyAll many at
// once. Column, Tree, DayRoot and DataDigest are the commitments.
//
// # What a proof says
//
// Whoever made it knew readings that open the committed days, and the readings
// meet the bounds. Who committed the days is for the caller to know (the ledger
// checks the device's signature when a day root is anchored), and so is whether
// the sensor was on the patient's wrist (nobody can).
//
// # Trust
//
// Groth16 over BN254: about 100 bits of security, and sound only if at least one
// party of the setup forgot its randomness. A setup that one party made is for
// development. Proofs and statements are hostile input; verifying keys are not:
// they are accepted by hash only, the hash coming from the network's genesis.
//
// Proofs are malleable: anyone can turn one valid proof into another of the same
// statement. What must not be used twice is the statement's Binding, never the
// bytes or the hash of a proof; Statement.Digest covers it.
//
// # Promise
//
// Domains, encodings and the order of the public inputs never change for a
// circuit class; a new form gets a new class. Everything here is deterministic but
// VerifyAll, which contracts must not use.
//
// Importing this package disables gnark's logger, which otherwise writes to the
// standard output of whatever process verifies.
package verifier
