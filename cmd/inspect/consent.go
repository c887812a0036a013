package inspect

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/consent/fhir"
	"github.com/vitalveil/vitalveil/consent/words"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/site"
)

// Consent looks into documents of consent, and turns them to FHIR and back.
type Consent struct {
	Show  showConsent `cmd:"" help:"Say what a consent document permits, signed or not, or write it as a FHIR R4 Consent."`
	Read  readConsent `cmd:"" help:"Read a FHIR R4 Consent as a document, which its patient can then sign; name what in it has no place here."`
	Claim sayClaim    `cmd:"" help:"Read a claim, a sentence about one metric, and say it in each language; without a sentence, list what can be said."`
}

// consentFile is what both commands are given.
type consentFile struct {
	File    string `arg:"" help:"The file; - for standard input."`
	Network string `help:"Document of the network (network.json), for the digest that is signed there." type:"existingfile" placeholder:"FILE"`
	JSON    bool   `name:"json" help:"Print the document as JSON and nothing else." xor:"form"`
}

// content is the file, of which no more is read than bound.
func (c consentFile) content(bound int64) ([]byte, error) {
	f := os.Stdin
	if c.File != "-" {
		var err error
		if f, err = os.Open(c.File); err != nil {
			return nil, err
		}
		defer f.Close()
	}
	b, err := io.ReadAll(io.LimitReader(f, bound+1))
	if err == nil && int64(len(b)) > bound {
		err = fmt.Errorf("%s has more than the %d bytes of any consent", c.File, bound)
	}
	return b, err
}

// print prints a document, and the digest of it on the network that was named, which
// it returns.
func (c consentFile) print(d consent.Document) (record.Genesis, error) {
	if c.JSON {
		return record.Genesis{}, printJSON(d)
	}
	fmt.Printf("consent %s, version %d, of patient %s\n", d.ID, d.Version, d.Patient)
	for _, sentence := range words.Of(d) {
		fmt.Println(sentence)
	}
	if c.Network == "" {
		return record.Genesis{}, nil
	}
	n, err := site.Descriptor(c.Network)
	if err != nil {
		return record.Genesis{}, err
	}
	_, err = fmt.Printf("digest in network %s: %s\n", n.Genesis.Network, d.Digest(n.Genesis.Network))
	return n.Genesis, err
}

type showConsent struct {
	consentFile
	FHIR bool `name:"fhir" help:"Print it as a FHIR R4 Consent. The signature has no place there." xor:"form"`
}

// Run prints the document.
func (c showConsent) Run() error {
	b, err := c.content(consent.MaxDocument)
	if err != nil {
		return err
	}
	s, err := parseConsent(b)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if c.FHIR {
		resource, err := fhir.Write(s.Document)
		if err != nil {
			return err
		}
		return printJSON(json.RawMessage(resource))
	}
	genesis, err := c.print(s.Document)
	if err != nil || genesis.Network == "" || s.Key == nil {
		return err
	}
	if err := s.CheckSignature(genesis.Network, genesis.RelyingParties); err != nil {
		return err
	}
	_, err = fmt.Printf("signed by key %s; whose key it is, the ledger knows\n", hex.EncodeToString(s.Key))
	return err
}

// parseConsent reads a document that is signed, or one alone.
func parseConsent(b []byte) (consent.Signed, error) {
	var members map[string]json.RawMessage
	if err := record.DecodeJSON(b, consent.MaxDocument, &members); err != nil {
		return consent.Signed{}, err
	}
	if members["document"] != nil {
		return consent.Parse(b)
	}
	var s consent.Signed
	if err := record.DecodeJSON(b, consent.MaxDocument, &s.Document); err != nil {
		return s, err
	}
	return s, consent.Validate(s.Document)
}

type readConsent struct{ consentFile }

// Run prints the document that a resource is.
func (c readConsent) Run() error {
	b, err := c.content(fhir.MaxResource)
	if err != nil {
		return err
	}
	d, err := fhir.Read(b)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if _, err := c.print(d); err != nil || c.JSON {
		return err
	}
	image, err := fhir.Write(d)
	if err != nil {
		return err
	}
	for _, s := range divergences("Consent", tree(b), tree(image)) {
		fmt.Println(s)
	}
	return nil
}

// tree reads JSON that has been read before, with numbers as they are written.
func tree(b []byte) any {
	var v any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	_ = d.Decode(&v)
	return v
}

// divergences lists where a resource is not what would be written of its document.
func divergences(path string, got, image any) []string {
	switch got := got.(type) {
	case map[string]any:
		image, _ := image.(map[string]any)
		var all []string
		for _, name := range slices.Sorted(maps.Keys(got)) {
			at := path + "." + name
			if want, kept := image[name]; kept {
				all = append(all, divergences(at, got[name], want)...)
			} else {
				all = append(all, at+" is passed over: nothing follows from it")
			}
		}
		return all
	case []any:
		image, _ := image.([]any)
		var all []string
		for i, v := range got {
			all = append(all, divergences(fmt.Sprintf("%s[%d]", path, i), v, counterpart(got[:i+1], image))...)
		}
		return all
	}
	if got == image {
		return nil
	}
	return []string{fmt.Sprintf("%s is %s, which is written as %s", path, quoted(got), quoted(image))}
}

// counterpart is what a list has for the last of items: an extension of the same name,
// as their order says nothing, or else what has the same place.
func counterpart(items, list []any) any {
	url := func(v any) any {
		members, _ := v.(map[string]any)
		return members["url"]
	}
	last, before := url(items[len(items)-1]), 0
	for _, v := range items[:len(items)-1] {
		if url(v) == last {
			before++
		}
	}
	for _, v := range list {
		if url(v) != last {
			continue
		}
		if before == 0 {
			return v
		}
		before--
	}
	return nil
}

func quoted(v any) string { return fmt.Sprintf("%q", fault.Clip(fmt.Sprint(v), 60)) }

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
