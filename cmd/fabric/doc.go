// Package fabric has the commands of a Fabric network: "vitalveil network" starts one
// on this machine, looks at it and takes it down, "vitalveil chaincode" serves the
// contracts to a peer.
package fabric
