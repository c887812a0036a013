// Package network is what the parts of Vitalveil know of a ledger and of each
// other's identities: who an organisation's members are (X.509 under one root
// per MSP), how two of them talk over mutual TLS, and how anyone submits a
// transaction, evaluates a query and follows blocks.
//
// Entry points: NewCA and CA.Issue make an organisation and its identities,
// ServerTLS and ClientTLS authenticate peers by MSP, and Client is the ledger
// (package embedded, or a Fabric network), which programs call through package
// contracts. SubmitRetry is Submit for calls that may lose a race for a key.
//
// Trust: an identity is worth what its MSP's root certificate is worth; roots
// come from the genesis or configuration, never from the peer. A certificate
// counts only under the root of the MSP that it names, so one organisation's CA
// cannot issue members of another. There are no revocation lists: a certificate
// counts until it expires, so what a lost key may do is for chaincode to limit.
//
// Promise: both ledgers behave as package conformance tests them.
package network
