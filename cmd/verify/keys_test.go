package verify

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

const testNetwork = "vitalveil-test"

// history is a ledger's writes about one patient, as the contracts make them.
type history struct {
	*testing.T
	details details.Key
	patient record.Patient
	key     *ecdsa.PrivateKey
	writes  []network.Write
	private []network.PrivateWrite
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func public(k *ecdsa.PrivateKey) []byte { return record.PublicKeyBytes(&k.PublicKey) }

func newHistory(t *testing.T) *history {
	t.Helper()
	h := &history{T: t, key: newKey(t), details: details.NewKey()}
	in := record.Inception{
		ConsentKeys: [][]byte{public(h.key)}, RecoveryHash: record.RandomID(), Salt: record.RandomID(),
		DetailsKey: h.details.Digest(testNetwork),
	}
	h.patient = record.Patient{ID: in.PatientID(testNetwork), Inception: in, Person: record.RandomID()}
	h.put(state.PatientKey(h.patient.ID), h.patient)
	return h
}

func (h *history) put(key string, v any) {
	h.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		h.Fatal(err)
	}
	h.writes = append(h.writes, network.Write{Key: key, Value: b})
}

func (h *history) sign(by *ecdsa.PrivateKey, digest record.ID) []byte {
	h.Helper()
	sig, err := record.Sign(by, digest)
	if err != nil {
		h.Fatal(err)
	}
	return sig
}

// consents records a first version that a key signed.
func (h *history) consents(by *ecdsa.PrivateKey) {
	h.Helper()
	d := consent.Document{ID: record.RandomID(), Version: 1, Patient: h.patient.ID, Status: consent.StatusActive, Effect: consent.EffectPermit}
	s := consent.Signed{Document: d, Key: public(by), Signature: h.sign(by, d.Digest(testNetwork))}
	said := consent.Details{Signed: s, Salt: record.RandomID()}
	value, err := json.Marshal(said)
	if err != nil {
		h.Fatal(err)
	}
	name := state.ConsentDetailsKey(d.ID, d.Version)
	if value, err = h.details.Seal(testNetwork, h.patient.ID, name, value); err != nil {
		h.Fatal(err)
	}
	h.put(state.ConsentKey(d.ID), state.ConsentPublic{Entry: said.Entry(testNetwork), Time: 1})
	h.private = append(h.private, network.PrivateWrite{
		Collection: state.Collection, Key: name, Value: value, Available: true,
	})
}

// rotates makes a key the patient's only one, after a change of what it records.
func (h *history) rotates(to *ecdsa.PrivateKey, spoil func(*state.KeysState, *record.Patient)) {
	h.Helper()
	c := record.PatientKeys{
		Patient: h.patient.ID, Version: h.patient.KeysVersion() + 1, ConsentKeys: [][]byte{public(to)},
		RecoveryHash: h.patient.RecoveryHash(), RevokeAll: true,
	}
	if h.patient.Keys != nil {
		c.Previous = h.patient.Keys.Digest(testNetwork)
	}
	now := int64(7)
	s := state.KeysState{Time: now, Signed: consent.SignedKeys{Change: c, Key: public(h.key), Signature: h.sign(h.key, c.Digest(testNetwork))}}
	h.patient.Keys, h.patient.RevokedAt = &c, &now
	if spoil != nil {
		spoil(&s, &h.patient)
	}
	h.put(state.KeysKey(h.patient.ID, c.Version), s)
	h.put(state.PatientKey(h.patient.ID), h.patient)
	h.key = to
}

func (h *history) check() []string {
	h.Helper()
	c := newChecker(record.Descriptor{Genesis: record.Genesis{Network: testNetwork}})
	c.keyring = memberKeys{"HospitalA": {h.patient.ID: h.details}}
	if err := c.take(&network.Block{Txs: []network.Tx{{Valid: true, Writes: h.writes, Private: h.private}}}); err != nil {
		h.Fatal(err)
	}
	ctx := context.Background()
	c.enrolments(ctx)
	c.keys(ctx)
	c.consents(ctx)
	return c.failures
}

func TestConsentsAreCheckedAgainstTheKeysOfTheirPlace(t *testing.T) {
	h := newHistory(t)
	first, second := h.key, newKey(t)
	h.consents(first)
	h.rotates(second, nil)
	h.consents(second)
	h.rotates(newKey(t), nil)
	if wrong := h.check(); len(wrong) > 0 {
		t.Errorf("an honest history: %v", wrong)
	}
	h.consents(second) // not the patient's any more
	if wrong := h.check(); len(wrong) != 1 || !strings.Contains(wrong[0], "key is not one") {
		t.Errorf("a consent by a key that was taken away: %v", wrong)
	}
}

func TestAttackHistoriesOfKeysThatCannotBe(t *testing.T) {
	for words, spoil := range map[string]func(*state.KeysState, *record.Patient){
		"signature does not verify": func(s *state.KeysState, _ *record.Patient) { s.Signed.Signature[0] ^= 1 },
		"previous is not":           func(s *state.KeysState, _ *record.Patient) { s.Signed.Change.Previous[0]++ },
		"the next is 1":             func(s *state.KeysState, _ *record.Patient) { s.Signed.Change.Version = 3 },
		"only the recovery key":     func(s *state.KeysState, _ *record.Patient) { s.Signed.Change.RecoveryHash[0]++ },
		"0 consent keys":            func(s *state.KeysState, _ *record.Patient) { s.Signed.Change.ConsentKeys = nil },
		"what the changes of its keys make": func(_ *state.KeysState, p *record.Patient) {
			never := int64(0)
			p.RevokedAt = &never
		},
	} {
		h := newHistory(t)
		h.rotates(newKey(t), spoil)
		if wrong := strings.Join(h.check(), "\n"); !strings.Contains(wrong, words) {
			t.Errorf("want %q, got %q", words, wrong)
		}
	}
}
