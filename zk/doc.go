// Package zk commits to a patient's days and proves statements about them in
// zero knowledge.
//
// Entry points: Commit makes the day root that a device anchors and the Opening
// that it keeps; LoadKeys compiles a circuit class and loads or makes its keys;
// Keys.Prove makes the proof that package verifier checks. Holds tells without
// proving whether a statement holds.
//
// # The circuit
//
// Public inputs are those of verifier.Statement, in its order. Private inputs
// are, for each day, the asked metric's readings, the salts, and the Merkle path
// of the column. The claim in one sentence: "I know readings that open the
// committed days, and they meet the bounds". How readings are counted, and why a prover
// cannot miscount, stands in histogram.go; it is no reviewed library's argument, but its
// own. Not claimed: that the readings were
// measured on anybody, that other metrics exist, or who committed.
//
// # Trust
//
// A prover cannot prove what its committed readings do not bear out, if the
// setup was honest. LoadKeys makes a development setup: whoever ran it could
// forge proofs, so it is marked "development" wherever it shows. A proof reveals
// its statement and nothing else.
//
// Openings are secrets: they hold the readings. They print redacted, and no
// error of this package carries a reading.
//
// # Promise
//
// Commitments and circuits of a class never change; the golden file pins the
// size of each. A cache of keys from another circuit is found out and rebuilt.
package zk
