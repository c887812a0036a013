// Package institution is what a member of a network runs: it follows the
// ledger, keeps the seeds that devices have sealed to it, attests the availability of
// rows that it has fetched and checked, derives cohorts, hands out its shares of agreed
// queries, and asks queries of its own.
//
// Entry points: New opens an institution's state, Run does its duties until it
// is told to stop, Ask and AskPredicate put questions, Fetch gets the answer to
// a query again.
//
// Trust: an institution trusts its own ledger peer, its genesis document and
// itself. It derives cohorts and key products alone, from its own index; blobs
// count only under the hashes that devices signed; other members' shares are
// compared piece by piece, and each is signed, so that whose bytes were wrong
// can be shown. Fewer than the threshold of members open nothing: whoever steals
// one member's state and keys holds its pieces and no device's secret.
//
// A device whose seeds do not open, or are not the ones that it has promised, gets
// no acknowledgement and a complaint with evidence that anyone can check.
//
// Where a sum does not open although its shares agree, the asker calls the query failed
// and every member looks for the device whose rows are none, by opening the coefficient
// that is zero in every row, device by device. What one member alone says of another's
// device is not believed: neither a share of an answer (it is preliminary until the
// other holders confirm it) nor one of a probe (nobody votes on it).
//
// A process serves the devices and queries of one epoch of members; a member runs
// one for each epoch it is in (docs/design/devices.md).
//
// When a patient withdraws, or a device is put into quarantine, between a query and
// its shares, members derive the cohort again. The new cohort is answered only when every member but the asker
// has posted it, which a member does only if none of its shares has left: were a
// threshold enough, an asker could have the old cohort opened by one member and
// the new one by another, and subtract. So a member that cannot be reached delays
// such a query until it expires; other queries need a threshold of members.
//
// What a crash loses: nothing that has left. Seeds are on disk before they are
// acknowledged, piece keys before they are posted, answers before they are
// sent; a restarted institution gives the same bytes again. Sums of device secrets
// and rows by metric and day are kept to save time; what is lost or damaged of them
// is made again from seeds and blobs. Everything else is read from the ledger anew,
// from the newest checkpoint on: the index is written every minute or more and at
// the end, sealed, and replaced before an erasure is reported. A checkpoint that is
// lost, damaged, of another version or of another ledger is not used.
//
// Not promised here: the asker learns the release, and asks again what noise and
// budgets allow. That nobody asks too much is for the chaincode (budgets) and
// every member's own index (caps, once-only rule) to keep.
package institution
