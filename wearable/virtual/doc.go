// Package virtual simulates Bluetooth LE health sensors in memory.
//
// [NewLink] gives the two ends of a connection. A [Sensor] serves one end with
// the GATT server of go-ble: services, discovery, subscriptions and values go
// through the same attribute protocol as over a radio. The other end is for a
// GATT client, the bridge's own. [Sensor.Emit] sends a value and returns once
// the client has taken it, [Sensor.EmitPayload] whatever bytes a test wants.
// [Person] generates the vital signs of a made-up patient.
//
// # What can be scripted
//
// [New] makes a sensor of any profile that the package wearable decodes. A sensor
// with a memory ([Sensor.Remember]) gives it out through its Record Access Control
// Point. It may have a wrong clock ([WithClock]), several persons ([Pressure]),
// demand pairing ([WithPairing], [Sensor.Pair]) and change its address
// ([Identity], [NewLinkTo]). A link breaks at any packet ([Central.BreakAt]).
//
// # Nothing is lost
//
// go-ble's client queues at most 16 values and drops the rest (att/client.go,
// Loop), so sensors work in lock step: one value is under way at a time, and the
// client's side says [Central.Taken] after each. Indications are sent and
// confirmed here and not by go-ble's server, which takes a confirmation that
// arrives before it starts to wait for one as spurious, and then waits 30
// seconds (att/server.go, indicate and Loop).
//
// # Trust and promise
//
// Both ends are in one process and trust each other. This is for demonstrations,
// replays and tests, never for patients. The generator's output for a seed may
// change between versions.
package virtual
