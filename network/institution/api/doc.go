// Package api is the HTTP interface of an institution: what its own analysts, operators
// and programs ask of the process that opens its answers. No gateway serves it, and no
// gateway sees an answer.
//
// Entry points: New makes a Server of a configuration and a Desk, which is what it needs
// of the institution; Serve answers on a listener until its context ends; Document is the
// OpenAPI 3.1 document and Matrix the table of who may do what, both made from the routes
// that serve.
//
// Trust: callers are known by a certificate of the institution's own authority or by a
// token of the configured issuer, and have the role that the callers' file gives them;
// whoever is not in it is refused. What callers send is bounded before it is read and
// parsed strictly. The institution's ledger and state are trusted as everywhere in it.
//
// Promise: a question is on the ledger before it is acknowledged, once for each
// idempotency key, and it is answered although nobody waits and processes die. Nothing
// here lists who refused or stopped: who is eligible is said as of midnight and rounded.
// Neither requests nor answers are logged. One caller's flood takes nothing from others.
package api
