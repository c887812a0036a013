package demo

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/bridge"
	"github.com/vitalveil/vitalveil/cmd/patient"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/recording"
)

// purpose of the demo's study: healthcare research (HL7 v3 PurposeOfUse).
const purpose = "HRESCH"

// patientCap is the privacy loss that each demo patient allows the asker, and
// the network anybody, in micro-zCDP.
const patientCap = 3_000_000

// person is one subject with what the patient holds: the consent key and the
// client through which the gateway is reached.
type person struct {
	*recording.Person
	stratum string // of the row schema; empty: unstated
	id      record.ID
	key     *ecdsa.PrivateKey
	client  *api.Client
	consent consent.Document
	device  *bridge.Device // nil for a subject without samples of a known metric
	kit     *kit
}

// enrolAll brings every subject onto the ledger: patient, device, consent.
func (w *world) enrolAll(ctx context.Context, subjects []*recording.Person) ([]*person, error) {
	s := w.progress.step("patients enrolled, with device and consent", len(subjects))
	people := make([]*person, len(subjects))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, sub := range subjects {
		g.Go(func() error {
			p, err := w.enrol(ctx, sub, stratumOf(sub, i))
			if err != nil {
				return fmt.Errorf("enrolling %s: %w", sub.ID, err)
			}
			people[i] = p
			s.add(1)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	s.end()
	return people, nil
}

// stratumOf puts made-up people into one stratum after the other.
func stratumOf(p *recording.Person, number int) string {
	all := privacy.V2().Strata()
	if !strings.HasPrefix(p.ID, recording.Synthetic) {
		return ""
	}
	return all[number%len(all)]
}

func (w *world) enrol(ctx context.Context, sub *recording.Person, stratum string) (*person, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	request, err := patient.NewRequest(w.genesis, key, record.NewRecoveryCode()) // the demo's patients never need the code
	if err != nil {
		return nil, err
	}
	p := &person{Person: sub, stratum: stratum, id: request.Patient(), key: key}
	p.client = api.NewClient(w.url, w.genesis.Network, &api.Signer{Party: api.PatientParty(p.id), Key: key})
	if err := w.enrolPatient(ctx, p, request); err != nil {
		return nil, err
	}
	if len(sub.Samples) > 0 {
		if err := w.enrolDevice(ctx, p); err != nil {
			return nil, err
		}
	}
	doc := w.consentOf(p)
	if err := w.putConsent(ctx, p, doc); err != nil {
		return nil, err
	}
	if p.device != nil {
		return p, p.device.SetConsent(doc)
	}
	return p, nil
}

// enrolPatient has the registrar vouch for the person, and records the patient.
func (w *world) enrolPatient(ctx context.Context, p *person, request record.PatientRequest) error {
	mac := hmac.New(sha256.New, w.registrarSecret)
	mac.Write([]byte(p.ID))
	e := request.Enrolment
	e.Voucher = record.Voucher{Patient: p.id, Person: record.ID(mac.Sum(nil))}
	vsig, err := record.Sign(w.registrar.Sign, record.Digest(record.DomainVoucher, w.genesis.Network, e.Voucher))
	if err != nil {
		return err
	}
	e.Vouchers = []record.VoucherSignature{{By: w.registrar.msp, Signature: vsig}}
	op, err := p.client.EnrolPatient(ctx, e, request.Boxes)
	return patient.Done(ctx, p.client, op, err)
}

func (w *world) enrolDevice(ctx context.Context, p *person) error {
	first, _ := p.Hours()
	dev, e, err := w.hub.NewDevice(p.id, p.Metrics(), first)
	if err != nil {
		return err
	}
	sig, err := record.Sign(p.key, record.Digest(record.DomainDevice, w.genesis.Network, e.Document.Device))
	if err != nil {
		return err
	}
	if err := dev.Enrol(ctx, sig, nil); err != nil {
		return err
	}
	if len(w.params.Schema().Strata()) > 0 {
		if err := dev.SetStratum(p.stratum); err != nil {
			return err
		}
	}
	p.device = dev
	w.noteEnrolment(len(e.SeedBlob))
	return nil
}

// consentOf is the first version of the patient's consent: everyone permits the
// asker statistics and claims over the whole period; the one who refuses denies
// the same.
func (w *world) consentOf(p *person) consent.Document {
	d := consent.Document{
		ID: record.RandomID(), Version: 1, Patient: p.id,
		Grantee: w.asker.msp, Purpose: purpose,
		Status: consent.StatusActive, Effect: consent.EffectPermit,
		Operations: []string{consent.OpAggregate, consent.OpPredicate},
		DataFrom:   w.firstHour, DataUntil: w.untilHour,
		NotBefore: w.firstHour * 3600, Expires: w.untilHour*3600 + 365*86400,
		// One institution asks here, so it may use up what is the other's too.
		CapMicro: patientCap, BeyondShare: true, Exact: w.genesis.Exact,
		Claims: 4,
	}
	for _, m := range wearable.Vitals() {
		d.Metrics = append(d.Metrics, m.Key)
		d.Predicates = append(d.Predicates, consent.Terms{Metric: m.Key, Days: 1, Limits: consent.Readings(1, uint32(m.MaxCode()))})
	}
	if said := w.termsOf(p); said != nil {
		d.Predicates, d.Claims = said, uint32(len(w.said))
	}
	if p.Person == w.refuser {
		d.Effect, d.Predicates, d.Claims = consent.EffectDeny, nil, 0
		d.Exact, d.BeyondShare = false, false
	}
	return d
}

// putConsent signs a version as the patient and waits until the ledger has it.
func (w *world) putConsent(ctx context.Context, p *person, d consent.Document) error {
	sig, err := record.Sign(p.key, d.Digest(w.genesis.Network))
	if err != nil {
		return err
	}
	op, err := p.client.PutConsent(ctx, consent.Signed{Document: d, Key: record.PublicKeyBytes(&p.key.PublicKey), Signature: sig})
	if err := patient.Done(ctx, p.client, op, err); err != nil {
		return err
	}
	p.consent = d
	return nil
}

// revoke signs the next version of the patient's consent, with status revoked.
func (w *world) revoke(ctx context.Context, p *person) error {
	d := p.consent
	d.Previous = d.Digest(w.genesis.Network)
	d.Version++
	d.Status = consent.StatusRevoked
	return w.putConsent(ctx, p, d)
}
