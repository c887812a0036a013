package record

// Assertion is what a WebAuthn authenticator signed besides the document
// (AuthenticatorAssertionResponse of W3C Web Authentication Level 2), as the
// browser returned it. Package consent checks it.
type Assertion struct {
	AuthenticatorData []byte `json:"authenticator_data"`
	ClientDataJSON    []byte `json:"client_data_json"`
}
