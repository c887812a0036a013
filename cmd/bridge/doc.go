// Package bridge is the bridge as a process: one hub at a patient's home, or of a ward,
// with the devices of one patient or of many.
//
// Entry point: Command is "vitalveil bridge". Readings come through the push source, a
// socket that only the hub's user can open.
//
// Trust assumption: that of package bridge. The network's document comes out of band; the
// gateway is believed nothing.
//
// Promise: what the hub has confirmed to a source is on disk, and counts once, whatever is
// killed when.
package bridge
