// Package index is an institution's own reading of the ledger: patients,
// devices, consents, pointers, queries and predicates, built from blocks in
// (block, transaction) order, valid transactions only.
//
// Entry points: New makes an empty index, Apply feeds it the next block, Cohort
// answers who is in a query, Stale whether a member has withdrawn since, Save and
// Load spare a restart the blocks.
//
// Why it exists: a query must mean the same for every institution, so a cohort
// is the function of the ledger at one place: everything before the query's own
// transaction and nothing after. A ledger answers only about its newest state.
// The index therefore derives the cohort of a query while it applies the
// query's transaction, and keeps consents with the blocks of their versions so
// that it can be derived again at a later block when somebody has revoked.
//
// Trust: blocks come in order, with transactions whose creators were checked; what is
// in them the index verifies by itself. Whoever decides what a ledger records can
// withhold and reorder, not permit: what does not follow from signatures at its place
// counts for nothing (Refused). It decides alone about consents, caps and the once-only
// rule; it never takes a cohort, a charge or a status of consent from another party.
//
// Consents are off-chain. Details that have not arrived are gaps
// (Missing); cohorts that they could change are fault.Unavailable until Supply or
// Reconcile brings them, and are then what they would have been. Those of erased
// patients never come: docs/life-of-an-erasure.md says what follows.
//
// Promise: the result depends on the blocks alone, not on when or in which
// portions they were applied, nor on where it was saved and loaded in between: Save
// writes what was read, Load and Resume go on from it, and equal indexes are saved
// as equal bytes. What is in a saved index that is not on the chain is what consents
// say. It is kept in memory as a whole, some 270 bytes for each row.
package index
