// Package share is the members' protocol: what institutions ask each other over
// mutual TLS. It is made from the .proto file below it.
//
// Entry points: NewInstitutionsClient and RegisterInstitutionsServer.
//
// Trust: none in the sender. Whoever receives a message checks its bounds, its
// signature and what it says.
//
// Promise: fields and calls are only added. On the wire the names stay under
// vitalveil.v1, where they have been from the start.
package share

//go:generate go run ../../../internal/protogen
