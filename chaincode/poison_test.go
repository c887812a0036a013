package chaincode_test

import (
	"testing"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// TestAttackDocumentsAboutAConsentWhoseDetailsArePurged: such documents are refused
// for good, whoever signed them. "Try again" would be waited for without an end.
func TestAttackDocumentsAboutAConsentWhoseDetailsArePurged(t *testing.T) {
	w := newWorld(t)
	gone, living, other := w.enrolled(), w.enrolled(), w.enrolled()
	given, kept := gone.consents(hospitalA), living.consents(hospitalA)
	w.Must(gatewayMSP, contracts.RegistryErase, gone.Erasure(gone.Key))

	about := func(p *person, id record.ID, version uint32) consent.Document {
		d := p.document(hospitalA)
		d.ID, d.Version = id, version
		if version > 1 {
			d.Previous = record.RandomID()
		}
		return d
	}
	stranger := *living
	stranger.Key = consortium.NewKey()
	for version := uint32(1); version <= 3; version++ {
		w.Refuses(fault.Conflict, "another patient's", gatewayMSP, contracts.ConsentPut, stranger.Sign(about(living, given.ID, version)))
		w.Refuses(fault.Conflict, "another patient's", gatewayMSP, contracts.ConsentPut, living.Sign(about(living, given.ID, version)))
		w.Refuses(fault.Conflict, "another patient's", gatewayMSP, contracts.ConsentPut, other.Sign(about(other, kept.ID, version)))
		w.Refuses(fault.BadSignature, "the key", gatewayMSP, contracts.ConsentPut, stranger.Sign(about(living, kept.ID, version)))
		w.Refuses(fault.Forbidden, "erased", gatewayMSP, contracts.ConsentPut, gone.Sign(about(gone, given.ID, version)))
	}
}

// TestARecordedConsentIsFoundAgainThoughItsKeyCountsNoMore: whose answer was lost
// posts the same document, maybe after a change of keys.
func TestARecordedConsentIsFoundAgainThoughItsKeyCountsNoMore(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	signed := p.Sign(p.document(hospitalA))
	w.Must(gatewayMSP, contracts.ConsentPut, signed)
	next := consortium.NewKey()
	change := consent.SignedKeys{
		Change: record.PatientKeys{
			Patient: p.ID, Version: 1, ConsentKeys: [][]byte{consortium.Public(next)},
			RecoveryHash: p.Enrolment.Inception.RecoveryHash,
		},
		Key: consortium.Public(p.Key),
	}
	change.Signature = consortium.Sign(p.Key, change.Change.Digest(w.Genesis.Network))
	w.Must(gatewayMSP, contracts.RegistryChangeKeys, change)
	w.Must(gatewayMSP, contracts.ConsentPut, signed)

	anew := p.Sign(signed.Document) // another signature of the key that counts no more
	w.Refuses(fault.BadSignature, "the key", gatewayMSP, contracts.ConsentPut, anew)
}
