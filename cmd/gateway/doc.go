// Package gateway is a gateway as a process of its own: configuration and commands.
//
// Entry points: Command is "vitalveil gateway" (init, run, status, accept-ledger). Load
// and Open are what run does.
//
// Trust: the directory holds the identity by which the gateway submits for patients and
// devices, and what operations are under way. It has no key that opens a reading. What
// consents say it reads with keys that the institution of its organisation gives it,
// keeps these in memory only, and drops them when a patient is erased.
//
// Promise: processes may be started in any order and killed at any time; what was
// accepted is done after the next start. A ledger that was rolled back is noticed, and
// the gateway is not ready until its operator has said that it is the one to work with.
package gateway
