// Package patient is a patient's own tool, for whoever has no browser: the keys with which
// a patient signs, and what is signed with them.
//
// Entry point: Command is "vitalveil patient".
//
// Trust assumption: whoever reads the directory signs as the patient, unless its key is
// sealed with a passphrase. The network's document comes out of band. The gateway is
// believed nothing that is signed here: a document that it shows is compared before a
// successor is signed.
//
// Promise: nothing is signed before it was shown in words and agreed to. No secret is
// printed but the recovery code, once, when it is made.
package patient
