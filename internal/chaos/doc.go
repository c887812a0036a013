// Package chaos is tests of the whole system under faults, and of how fast it is
// on either ledger: what no single package can show. It has no code of its own.
//
// Tests on Hyperledger Fabric are left out by -short, and aloud where Fabric cannot
// be built. VITALVEIL_SOAK=1 makes them longer and adds the figures.
package chaos
