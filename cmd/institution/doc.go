// Package institution is an institution as a process of its own: configuration and
// commands.
//
// Entry points: Command is "vitalveil institution" (init, network, run, study, ask,
// status). Load and Open are what run does.
//
// Trust: an institution's directory holds its keys and its state; whoever reads it
// holds the institution's pieces. It is made for one user alone. A running
// institution is told what to do through a socket in that directory, which is as
// open as the directory itself. The network's document says who the members are
// and must come to each by a way that all of them trust.
//
// Promise: processes may be started in any order and killed at any time; each goes
// on where it was. A configuration with a field that this version does not know is
// refused.
package institution
