package institution

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/site"
)

// personKey is the file with the key under which persons get their pseudonyms. Members
// that vouch together have the same.
const (
	personKey      = "persons.key"
	personKeyBytes = 32
	maxPerson      = 256 // bytes of a person's identifier
)

// makePersonKey makes the key of a new institution.
func makePersonKey(dir string) error {
	key := make([]byte, personKeyBytes)
	rand.Read(key)
	return state.WriteFile(filepath.Join(dir, personKey), key)
}

// pseudonym is what the ledger has in the place of a person: equal for equal persons, so
// that nobody is enrolled twice, and nothing for who has not got the key.
func pseudonym(key site.Secret, network, person string) (record.ID, error) {
	secret, err := key.Read(personKeyBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return record.ID{}, fault.New(fault.Conflict, "there is no key for persons' pseudonyms (person_key): restore it, or copy that of the other members who vouch. "+
			"A new one of %d random bytes is right only while no patient is enrolled, since persons could be enrolled twice", personKeyBytes)
	}
	if err != nil {
		return record.ID{}, err
	}
	if len(secret) != personKeyBytes {
		return record.ID{}, fault.New(fault.Conflict, "person_key has %d bytes, not %d", len(secret), personKeyBytes)
	}
	if person, err = personText(person); err != nil {
		return record.ID{}, err
	}
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "vitalveil person v1\x00%s\x00%s", network, person)
	return record.ID(mac.Sum(nil)), nil
}

// personText is what counts of a person's identifier: its letters and digits, in either
// case. Spaces and punctuation are as people write them, so nobody is another person by
// them; what looks like these and is not is refused.
func personText(person string) (string, error) {
	if person = strings.TrimSpace(person); len(person) > maxPerson {
		return "", fault.New(fault.Invalid, "a person's identifier has at most %d bytes", maxPerson)
	}
	var text []byte
	for _, r := range person {
		switch {
		case r >= '0' && r <= '9' || r >= 'a' && r <= 'z':
			text = append(text, byte(r))
		case r >= 'A' && r <= 'Z':
			text = append(text, byte(r)-'A'+'a')
		case r < ' ' || r > '~':
			return "", fault.New(fault.Invalid, "a person's identifier is of letters without accents, digits, spaces and punctuation, as whoever issued it writes it")
		}
	}
	if len(text) == 0 {
		return "", fault.New(fault.Invalid, "a person's identifier has a letter or a digit")
	}
	return string(text), nil
}

type enrolCommand struct {
	dirFlag
	Request string `arg:"" help:"The patient's request (\"vitalveil patient request\"), or the one that another member has vouched for already." type:"existingfile"`
	Person  string `help:"The person's identifier, by which nobody is enrolled twice; it stays here. Case, spaces and punctuation do not matter. \"-\" reads it from standard input." required:""`
	Out     string `help:"Where to write the request while more members must vouch." type:"path" default:"vouched.json"`
}

// Help says what it vouches for.
func (enrolCommand) Help() string {
	return `Vouches that the person behind a request was met, and that its consent key is that
person's, and enrols the patient. In a network where several members vouch, each does so in
turn with the file that the one before has written; the last one enrols. They have the same
file persons.key. What leaves this machine is a pseudonym that only this key gives.`
}

// enrolRequest is what the running institution is asked to do.
type enrolRequest struct {
	Request record.PatientRequest `json:"request"`
	Person  string                `json:"person"`
}

// enrolled is what became of it.
type enrolled struct {
	Request record.PatientRequest `json:"request"` // with this member's signature
	Missing int                   `json:"missing"` // how many members more must vouch; 0: the patient is enrolled
}

// Run vouches and enrols.
func (c enrolCommand) Run(ctx context.Context) error {
	q := enrolRequest{Person: c.Person}
	if c.Person == "-" {
		line, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err != nil && line == "" {
			return err
		}
		q.Person = line
	}
	if err := site.Load(c.Request, &q.Request); err != nil {
		return err
	}
	var done enrolled
	if err := c.call(ctx, "enrol", q, &done); err != nil {
		return err
	}
	if done.Missing == 0 {
		_, err := fmt.Printf("patient %s is enrolled\n", q.Request.Patient())
		return err
	}
	if err := site.Save(c.Out, done.Request); err != nil {
		return err
	}
	_, err := fmt.Printf("vouched; %d members more must do so, with %s\n", done.Missing, c.Out)
	return err
}

// enrol vouches for a person and, when enough members have, enrols the patient.
func (p *Process) enrol(ctx context.Context, q *enrolRequest) (enrolled, error) {
	done := enrolled{Request: q.Request}
	if err := consent.VerifyRequest(p.genesis.Network, p.genesis.RelyingParties, q.Request); err != nil {
		return done, fault.New(fault.Invalid, "the request: %w", err)
	}
	e := &done.Request.Enrolment
	person, err := pseudonym(p.personKey, p.genesis.Network, q.Person)
	if err != nil {
		return done, err
	}
	voucher := record.Voucher{Patient: q.Request.Patient(), Person: person}
	if len(e.Vouchers) > 0 && e.Voucher != voucher {
		return done, fault.New(fault.Conflict, "the members before have vouched for another person, or have another persons.key")
	}
	e.Voucher = voucher
	sig, err := record.Sign(p.sign, record.Digest(record.DomainVoucher, p.genesis.Network, voucher))
	if err != nil {
		return done, err
	}
	e.Vouchers = slices.DeleteFunc(slices.Clone(e.Vouchers), func(v record.VoucherSignature) bool { return v.By == p.MSP() })
	e.Vouchers = append(e.Vouchers, record.VoucherSignature{By: p.MSP(), Signature: sig})
	if p.genesis.Registrar != "" && p.genesis.Registrar != p.MSP() {
		return done, fault.New(fault.Forbidden, "in this network %s vouches for patients", p.genesis.Registrar)
	}
	if done.Missing = max(1, p.genesis.Vouchers) - len(e.Vouchers); done.Missing > 0 {
		return done, nil
	}
	done.Missing = 0
	return done, p.sendEnrolment(ctx, done.Request)
}

// sendEnrolment has a patient recorded, by the gateway that the institution's blobs are
// at, or by itself where it has the blobs.
func (p *Process) sendEnrolment(ctx context.Context, r record.PatientRequest) error {
	if p.blobs == nil {
		op, err := p.gateway.EnrolPatient(ctx, r.Enrolment, r.Boxes)
		if err == nil {
			_, err = p.gateway.Wait(ctx, op)
		}
		return err
	}
	if err := p.blobs.PutNamed(ctx, r.Enrolment.DetailsBlob, r.Boxes); err != nil {
		return err
	}
	_, err := submit(ctx, p, contracts.RegistryEnrolPatient, r.Enrolment)
	return err
}

// submit calls a contract as this member, unless it has stopped.
func submit[A, R any](ctx context.Context, p *Process, m contracts.Write[A, R], doc A) (R, error) {
	if err := p.Stopped(); err != nil {
		var none R
		return none, err
	}
	r, _, err := m.Submit(ctx, p.ledger, doc)
	return r, err
}
