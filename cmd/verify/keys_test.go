package verify

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

const testNetwork = "vitalveil-test"

// history is a ledger's writes about one patient, as the contracts make them.
type history struct {
	*testing.T
	net     *consortium.Consortium
	who     *consortium.Patient
	patient record.Patient
	key     *ecdsa.PrivateKey
	writes  []network.Write
	private []network.PrivateWrite
}

func newHistory(t *testing.T) *history {
	t.Helper()
	c := consortium.New(t)
	p := c.NewPatient()
	h := &history{T: t, net: c, who: p, key: p.Key}
	h.patient = record.Patient{ID: p.ID, Inception: p.Enrolment.Inception, Person: record.RandomID()}
	h.put(state.PatientKey(p.ID), h.patient)
	return h
}

func (h *history) put(key string, v any) {
	h.writes = append(h.writes, network.Write{Key: key, Value: must(json.Marshal(v))})
}

// consents records a first version that a key signed.
func (h *history) consents(by *ecdsa.PrivateKey) {
	d := h.who.Document(consortium.HospitalA)
	s := consent.Signed{Document: d, Key: consortium.Public(by), Signature: consortium.Sign(by, d.Digest(testNetwork))}
	said := consent.Details{Signed: s, Salt: record.RandomID()}
	name := state.ConsentDetailsKey(d.ID, d.Version)
	value := must(h.who.Secret.Seal(testNetwork, d.Patient, name, must(json.Marshal(said))))
	h.put(state.ConsentKey(d.ID), state.ConsentPublic{Entry: said.Entry(testNetwork), Time: 1})
	h.private = append(h.private, network.PrivateWrite{
		Collection: state.Collection, Key: name, Value: value, Available: true,
	})
}

// rotates makes a key the patient's only one, after a change of what it records.
func (h *history) rotates(to *ecdsa.PrivateKey, spoil func(*state.KeysState, *record.Patient)) {
	h.Helper()
	c := h.who.KeysAfter(h.patient, true, to)
	now := int64(7)
	s := state.KeysState{Time: now, Signed: h.net.SignKeys(c, h.key)}
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
	c.keyring = memberKeys{"HospitalA": {h.patient.ID: h.who.Secret}}
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
	first, second := h.key, consortium.NewKey()
	h.consents(first)
	h.rotates(second, nil)
	h.consents(second)
	h.rotates(consortium.NewKey(), nil)
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
		h.rotates(consortium.NewKey(), spoil)
		if wrong := strings.Join(h.check(), "\n"); !strings.Contains(wrong, words) {
			t.Errorf("want %q, got %q", words, wrong)
		}
	}
}
