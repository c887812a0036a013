// Package keysum keeps sums of device secrets, so that a share of a large cohort needs
// only the devices that it has more or less than a kept sum.
//
// Entry points: New opens the sums of a state, Keep and Retain say of which devices
// they are, Groups makes what a share of a cohort is computed from.
//
// Trust: the seeds in the state, and the ledger's order of devices.
//
// Promise: a sum is stored with the set of devices that it is over, and what a query
// covers is read from the ledger; so a sum that is old, or was restored from a backup,
// costs time and never gives a wrong share. Once Drop has returned, nothing made of a
// device's seeds is in memory or in the state, or will be.
package keysum
