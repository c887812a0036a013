// Package up is a whole network of one site under one supervisor: the embedded ledger,
// three members and a gateway, each a process of its own, for a clinic's pilot.
//
// Entry point: Command is "vitalveil up". What it makes are the directories that the
// other commands make; each of its processes can be run and looked at by these.
//
// Trust: one machine and one user hold the keys of all three members, so that two of
// three together are no protection from this user. A network for patients has its
// members with three organisations.
//
// Promise: processes may be killed at any time, the supervisor too; "up" again goes on.
// Processes never outlive their supervisor.
package up
