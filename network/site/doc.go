// Package site is what the programs of one organisation have in common: one JSON file
// for each role, the network's document, keys, the ledger that a configuration names, a
// control socket, a log, and metrics.
//
// Entry points: Load reads a role's file or any other document; Descriptor reads
// network.json; MakeKeys and LoadKeys keep a member's secrets; Ledger opens a ledger;
// Control is how commands talk to the program that runs in a directory; Service is what
// every role's file may say about log and metrics.
//
// Trust: files and the control socket are this user's own. What others can send here is
// bounded and parsed strictly all the same.
//
// Promise: no secret is taken from an environment variable or from the file itself, only
// from files that no other user can read. Control sockets and metrics are for this
// machine only.
package site
