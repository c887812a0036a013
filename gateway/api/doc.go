// Package api is the contract between the parts: the protocol buffers under
// proto, the code made from them (package apiv1 in v1), the OpenAPI document and
// the Go client of the gateway.
//
// Entry points: NewClient for bridges, patients and members; Signer.Sign and
// ReadSignature for the signatures of requests. In apiv1 a message that mirrors a ledger
// document has a method Record, and a document's message is made by a function such as
// PatientOf: these are generated, and a field on one side alone stops the generator. Who
// may call a route, and how much it takes, is in its options in the .proto file; the
// gateway's table of routes and the OpenAPI document are made from them.
//
// Trust: a client believes nothing of what a gateway says about the ledger that
// it can check itself. Receipts carry signatures to verify against the genesis,
// which comes out of band.
//
// Promise: within v1, fields and routes are only added.
//
// The generated files are made anew by
//
//	go generate ./gateway/api
package api

import _ "embed"

//go:generate go run ../../internal/protogen -rest

// OpenAPI is the merged OpenAPI document (version 2) of the REST interface.
//
//go:embed v1/openapi.json
var OpenAPI []byte
