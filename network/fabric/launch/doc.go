// Package launch runs a Hyperledger Fabric 3.1 network of native processes on this
// machine, without Docker.
//
// Entry points: Up builds Fabric once and starts a network, Open finds one that was
// started before, Keep starts again what dies of one.
//
// # What runs
//
// One, three (Raft) or four (SmartBFT) orderers, one peer for each organisation
// and one chaincode process for each peer, all on loopback, all talking TLS, the
// peers and their chaincode mutually. Everything of a network is in its
// directory, for its owner only: record of names and ports, crypto material,
// configuration, ledgers, logs, pid files. Each process is a group of its own
// and is found again by its id and start time, so a launcher ends what it or an
// earlier one started and never anything else.
//
// # Trust
//
// On one machine, organisations are separate in keys, processes and ledgers, but
// whoever owns the directory is all of them: it is for demonstrations, tests and
// one site. The launcher makes all keys with authorities of its own. Among the
// network's members the channel asks for what a real one asks for: peers of more
// than half of the organisations must endorse a transaction and approve a
// chaincode definition.
//
// Promise: a network's directory is resumed by later versions, or refused.
package launch
