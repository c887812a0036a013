package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/record"
	files "github.com/vitalveil/vitalveil/internal/state"
	organisation "github.com/vitalveil/vitalveil/network/site"
	"github.com/vitalveil/vitalveil/zk/claim"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// ProofCommand is "vitalveil verify-proof".
type ProofCommand struct {
	Network string   `help:"The network's description, network.json: which key it accepted, and how that was made." required:"" type:"existingfile"`
	Answers []string `arg:"" help:"Answered requests, as \"vitalveil institution claimed --json\" prints them." type:"existingfile"`
	Export  string   `help:"Write key, statement and proof of the only answer to this file, for a verifier that is not this program." type:"path"`
}

// Help says what is checked.
func (ProofCommand) Help() string {
	return `Verifies proofs without a network: the statement is made anew from the day roots, the claim
and the request, and must be what the proof proves under the key that the network accepted.
Not checked here is who committed the days and who consented, which the ledger says:
"vitalveil verify" checks that.`
}

// maxAnswer bounds a file.
const maxAnswer = 1 << 16

// Run verifies the proofs, and says in words what they prove.
func (c ProofCommand) Run() error { return c.check(os.Stdout) }

func (c ProofCommand) check(w io.Writer) error {
	d, err := organisation.Descriptor(c.Network)
	if err != nil {
		return err
	}
	var answers []answer
	for _, path := range c.Answers {
		b, err := files.ReadFile(path, maxAnswer)
		if err != nil {
			return err
		}
		var p record.PredicateState
		if err := record.DecodeJSON(b, maxAnswer, &p); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		a, err := answered(d.Genesis, p)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		a.id = path
		answers = append(answers, answer{p, *a})
	}
	if err := c.export(d.Genesis, answers); err != nil {
		return err
	}
	wrong, err := refuted(d.Genesis, answers)
	if err != nil {
		return err
	}
	return tell(w, d.Genesis, answers, wrong)
}

// answer is an answered request, and what its proof must prove.
type answer struct {
	asked record.PredicateState
	attestation
}

// answered is the attestation of an answer whose parts fit together.
func answered(g record.Genesis, p record.PredicateState) (*attestation, error) {
	if p.Status != record.PredicateAttested || len(p.Proof) == 0 {
		return nil, fmt.Errorf("the request is %s: there is no proof to verify", p.Status)
	}
	// The proof is bound to the question's nonce; whom it is about and for what it was asked
	// is in the question alone.
	if !signedBy(g.FirstEpoch(), g.Network, p) {
		return nil, fmt.Errorf("its question is not signed by %.64q with the key in the network's description", p.Asker)
	}
	a, err := attestationOf(g, p, p.Binding)
	if err == nil && a.Statement.DataDigest != p.DataDigest {
		err = errors.New("its digest is not that of its day roots")
	}
	return a, err
}

// refuted verifies all proofs, those of a class together, and returns what is wrong with
// which.
func refuted(g record.Genesis, answers []answer) (map[string]error, error) {
	wrong := map[string]error{}
	for _, k := range g.Circuits {
		var paths []string
		var claims []verifier.Claim
		for _, a := range answers {
			if a.class == k.Class {
				paths, claims = append(paths, a.id), append(claims, a.Claim)
			}
		}
		if len(claims) == 0 {
			continue
		}
		v, err := state.VerifierOf(k)
		if err != nil {
			return nil, err
		}
		for i, err := range v.VerifyAll(claims) {
			if err != nil {
				wrong[paths[i]] = err
			}
		}
	}
	return wrong, nil
}

func tell(w io.Writer, g record.Genesis, answers []answer, wrong map[string]error) error {
	seen := map[record.ID]string{}
	for _, a := range answers {
		p := a.asked
		fmt.Fprintf(w, "%s: ", a.id)
		if err := wrong[a.id]; err != nil {
			fmt.Fprintf(w, "NOT PROVEN: %v\n", err)
			continue
		}
		fmt.Fprintf(w, "proven\n  of patient %s: %s\n", p.Ask.Patient, claim.Sentence(p.Ask, claim.English))
		for day, root := range p.Roots {
			fmt.Fprintf(w, "  day root of %s: %s\n", time.Unix((p.Ask.FirstDay+int64(day))*86400, 0).UTC().Format(time.DateOnly), root)
		}
		fmt.Fprintf(w, "  asked by %s in network %q under consent %s\n", p.Asker, g.Network, p.Consent)
		for _, k := range g.Circuits {
			if k.Class == p.Ask.Class {
				fmt.Fprintf(w, "  key %s, %s\n", k.Hash, madeBy(k))
			}
		}
		statement := a.Statement.Digest()
		if first, again := seen[statement]; again {
			fmt.Fprintf(w, "  the same claim as %s: it counts once\n", first)
		} else {
			seen[statement] = a.id
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d of %d proofs do not hold", len(wrong), len(answers))
	}
	return nil
}

// madeBy says in words how far a key can be trusted.
func madeBy(k record.Circuit) string {
	if k.Setup == "ceremony" {
		return "made in a ceremony of " + strings.Join(k.Contributors, ", ") + ", transcript " + k.Transcript.String()
	}
	return "of a development setup: whoever made it could forge proofs"
}

// exported is all that a verifier needs, which need not be this program.
type exported struct {
	Class        string             `json:"class"`
	VerifyingKey []byte             `json:"verifying_key"`
	KeyHash      record.ID          `json:"key_hash"`
	Statement    verifier.Statement `json:"statement"`
	Proof        []byte             `json:"proof"`
}

func (c ProofCommand) export(g record.Genesis, answers []answer) error {
	if c.Export == "" {
		return nil
	}
	if len(answers) != 1 {
		return errors.New("one answer is exported at a time")
	}
	for _, k := range g.Circuits {
		if a := answers[0]; a.class == k.Class {
			b, err := json.MarshalIndent(exported{k.Class, k.VerifyingKey, k.Hash, a.Statement, a.Proof}, "", "  ")
			if err != nil {
				return err
			}
			return files.WriteFile(c.Export, append(b, '\n'))
		}
	}
	return nil
}
