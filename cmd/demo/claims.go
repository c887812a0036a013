package demo

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable/recording"
	"github.com/vitalveil/vitalveil/zk"
	"github.com/vitalveil/vitalveil/zk/claim"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// said is a claim that the demo was told to ask.
type said struct {
	subject string
	claim   claim.Claim
}

// readClaims reads claims that follow their subjects.
func (w *world) readClaims(src *recording.Source, texts []string) error {
	for _, text := range texts {
		subject, sentence, ok := strings.Cut(text, ": ")
		if !ok || !slices.ContainsFunc(src.People, func(p *recording.Person) bool { return p.ID == subject }) {
			return fmt.Errorf("%q does not begin with a subject of %s and a colon", text, src.Name)
		}
		c, err := claim.English.Parse(sentence)
		if err == nil {
			_, err = c.Ask()
		}
		if err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
		w.said = append(w.said, said{subject, c})
	}
	return nil
}

// loadKeys finds or makes the keys of the circuits that the claims need, of which the
// prover reads one at a time.
func (w *world) loadKeys(dir string) error {
	w.keysDir = dir
	for _, class := range verifier.Classes() {
		if class.Days > 1 && !slices.ContainsFunc(w.said, func(s said) bool { return s.claim.Days == class.Days }) {
			continue
		}
		keys, err := zk.LoadKeys(dir, class.Name, func(s string) { w.progress.line("%s", s) })
		if err != nil {
			return err
		}
		w.circuits = append(w.circuits, keys.Circuit())
	}
	return nil
}

// termsOf lists the claims that the demo will ask about a person, as the person permits
// them; nil where the demo asks its own.
func (w *world) termsOf(p *person) []consent.Terms {
	var list []consent.Terms
	for _, s := range w.said {
		if s.subject == p.ID {
			t := consent.Terms{Metric: s.claim.Metric.Key, Days: uint32(s.claim.Days), Claim: &s.claim.Bounds}
			if !slices.ContainsFunc(list, func(o consent.Terms) bool { return o.Metric == t.Metric && o.Days == t.Days && *o.Claim == *t.Claim }) {
				list = append(list, t)
			}
		}
	}
	return list
}

// sayClaims asks about the people what the demo was told to ask.
func (w *world) sayClaims(people []*person) ([]*asked, error) {
	var list []*asked
	for _, s := range w.said {
		i := slices.IndexFunc(people, func(p *person) bool { return p.ID == s.subject })
		ask, err := s.claim.Ask()
		if err != nil {
			return nil, err
		}
		ask.Patient, ask.Purpose, ask.Nonce = people[i].id, purpose, record.RandomID()
		list = append(list, &asked{person: people[i], metric: s.claim.Metric, ask: ask})
	}
	return list, nil
}
