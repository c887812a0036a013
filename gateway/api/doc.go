// Package api is the contract between the parts: the protocol buffers under
// proto, the code made from them (package apiv1 in v1), the OpenAPI document and
// the Go client of the gateway.
//
// Entry points: NewClient for bridges, patients and members; ToMessage and
// FromMessage between ledger documents and their messages; Signer.Sign and
// ReadSignature for the signatures of requests.
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
