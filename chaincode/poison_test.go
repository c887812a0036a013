package chaincode_test

import (
	"testing"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// TestAttackDocumentsAboutAConsentWhoseDetailsArePurged: such documents are refused
// for good, whoever signed them. "Try again" would be waited for without an end.
func TestAttackDocumentsAboutAConsentWhoseDetailsArePurged(t *testing.T) {
	w := newWorld(t)
	gone, living, other := w.enrolled(), w.enrolled(), w.enrolled()
	given, kept := gone.consents(hospitalA), living.consents(hospitalA)
	w.must(gatewayMSP, "Registry:Erase", gone.erasure(), nil)

	about := func(p *person, id record.ID, version uint32) consent.Document {
		d := p.document(hospitalA)
		d.ID, d.Version = id, version
		if version > 1 {
			d.Previous = record.RandomID()
		}
		return d
	}
	stranger := *living
	stranger.key = newKey(t)
	for version := uint32(1); version <= 3; version++ {
		w.refuses(fault.Conflict, "another patient's", gatewayMSP, "Consent:Put", stranger.sign(about(living, given.ID, version)))
		w.refuses(fault.Conflict, "another patient's", gatewayMSP, "Consent:Put", living.sign(about(living, given.ID, version)))
		w.refuses(fault.Conflict, "another patient's", gatewayMSP, "Consent:Put", other.sign(about(other, kept.ID, version)))
		w.refuses(fault.BadSignature, "the key", gatewayMSP, "Consent:Put", stranger.sign(about(living, kept.ID, version)))
		w.refuses(fault.Forbidden, "erased", gatewayMSP, "Consent:Put", gone.sign(about(gone, given.ID, version)))
	}
}

// TestARecordedConsentIsFoundAgainThoughItsKeyCountsNoMore: whose answer was lost
// posts the same document, maybe after a change of keys.
func TestARecordedConsentIsFoundAgainThoughItsKeyCountsNoMore(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	signed := p.sign(p.document(hospitalA))
	w.must(gatewayMSP, "Consent:Put", signed, nil)
	next := newKey(t)
	change := consent.SignedKeys{
		Change: record.PatientKeys{
			Patient: p.id, Version: 1, ConsentKeys: [][]byte{record.PublicKeyBytes(&next.PublicKey)},
			RecoveryHash: p.enrol.Inception.RecoveryHash,
		},
		Key: record.PublicKeyBytes(&p.key.PublicKey),
	}
	change.Signature = sign(t, p.key, change.Change.Digest(w.genesis.Network))
	w.must(gatewayMSP, "Registry:ChangeKeys", change, nil)
	w.must(gatewayMSP, "Consent:Put", signed, nil)

	anew := p.sign(signed.Document) // another signature of the key that counts no more
	w.refuses(fault.BadSignature, "the key", gatewayMSP, "Consent:Put", anew)
}
