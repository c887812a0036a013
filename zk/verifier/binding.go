package verifier

import "github.com/vitalveil/vitalveil/internal/record"

const domainBinding = "predicate-binding/v1"

// bindingForm is what a binding covers; the order of the fields is fixed.
type bindingForm struct {
	_            struct{} `cbor:",toarray"`
	Request      string
	Nonce        record.ID
	Consent      record.ID
	Expiry       int64
	VerifyingKey record.ID
}

// Binding ties a proof to the one request it answers: SHA-256 over channel,
// request, nonce, consent, expiry (Unix seconds) and the hash of the verifying
// key, shifted right by 8 bits so that it is a field element. It is the replay
// key of a proof: a ledger accepts each at most once.
func Binding(channel, request string, nonce, consent record.ID, expiry int64, vkHash record.ID) record.ID {
	d := record.Digest(domainBinding, channel, bindingForm{
		Request: request, Nonce: nonce, Consent: consent, Expiry: expiry, VerifyingKey: vkHash,
	})
	var b record.ID
	copy(b[1:], d[:31])
	return b
}
