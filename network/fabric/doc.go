// Package fabric gives identities access to a Hyperledger Fabric 3.1 network.
//
// Entry points: LoadProfile reads where a network's peers are and which certificates
// they show, Connect makes a network.Client of it.
//
// Trust: a peer cannot have anything signed but the call that was asked for, and
// cannot alter, leave out or reorder what is in a block unnoticed. Which transactions
// of a block are valid is its word: a member asks its own (WithPeers).
//
// Promise: a peer that dies at any point is replaced by another, and a transaction is
// committed once or not at all.
package fabric
