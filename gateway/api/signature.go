package api

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Requests are signed as RFC 9421 (HTTP Message Signatures) says, in one profile:
// one signature, by ECDSA on P-256 with SHA-256 (raw, 64 bytes), with the parameters
// created, keyid and tag. It covers the method, the path, the query if there is
// one, the Content-Digest (RFC 9530, sha-256) if there is a body, and the
// Idempotency-Key if there is one. All of it is in the header, so a request is
// judged before its body is read.
const (
	HeaderInput     = "Signature-Input"
	HeaderSignature = "Signature"
	HeaderDigest    = "Content-Digest"
	HeaderKey       = "Idempotency-Key"

	maxSignatureHeader = 1024 // bytes of each of these
	signatureLabel     = "sig"
	signatureAlgorithm = "ecdsa-p256-sha256"
	digestAlgorithm    = "sha-256"
)

// coverable are the components that a signature may cover, all without parameters:
// nothing of trailers, which come after the body, and nothing that a proxy changes.
var coverable = []string{"@method", "@path", "@query", "content-digest", "content-type", "idempotency-key"}

// Tag is the tag of signatures of requests to gateways of a network. It keeps a
// signature for one network, or for another purpose, from counting here.
func Tag(network string) string { return "vitalveil:" + network }

// mustCover lists the components that the signature of a request has to cover.
func mustCover(r *http.Request) []string {
	covered := []string{"@method", "@path"}
	if strings.Contains(r.URL.RequestURI(), "?") {
		covered = append(covered, "@query")
	}
	if r.ContentLength != 0 {
		covered = append(covered, "content-digest")
	}
	if r.Header[HeaderKey] != nil {
		covered = append(covered, "idempotency-key")
	}
	return covered
}

// Sign signs a request with this body, which may be nil. An Idempotency-Key has to
// be set before.
func (s *Signer) Sign(r *http.Request, network string, body []byte, now time.Time) error {
	if _, err := parseParty(s.Party); err != nil {
		return fmt.Errorf("%q signs no requests: %w", s.Party, err)
	}
	if r.ContentLength = int64(len(body)); len(body) > 0 {
		sum := sha256.Sum256(body)
		r.Header.Set(HeaderDigest, dictionary(digestAlgorithm, httpsfv.NewItem(sum[:])))
	}
	input := httpsfv.InnerList{Params: httpsfv.NewParams()}
	for _, name := range mustCover(r) {
		input.Items = append(input.Items, httpsfv.NewItem(name))
	}
	input.Params.Add("created", now.Unix())
	input.Params.Add("keyid", s.Party)
	input.Params.Add("tag", Tag(network))
	base, err := signatureBase(r, input)
	if err != nil {
		return err
	}
	sig, err := record.Sign(s.Key, record.SumID(base))
	if err != nil {
		return err
	}
	r.Header.Set(HeaderInput, dictionary(signatureLabel, input))
	r.Header.Set(HeaderSignature, dictionary(signatureLabel, httpsfv.NewItem(sig)))
	return nil
}

// dictionary is a structured field with one member. Only text that is no printable
// ASCII cannot be written, and then what is written is refused by whoever reads it.
func dictionary(name string, m httpsfv.Member) string {
	d := httpsfv.NewDictionary()
	d.Add(name, m)
	text, _ := httpsfv.Marshal(d)
	return text
}

// AcceptSignature says what a signature of a request has to be like (RFC 9421,
// section 5.1), for whoever sent it without one.
func AcceptSignature(r *http.Request, network string) string {
	wanted := httpsfv.InnerList{Params: httpsfv.NewParams()}
	for _, name := range mustCover(r) {
		wanted.Items = append(wanted.Items, httpsfv.NewItem(name))
	}
	wanted.Params.Add("created", true)
	wanted.Params.Add("keyid", true)
	wanted.Params.Add("alg", signatureAlgorithm)
	wanted.Params.Add("tag", Tag(network))
	return dictionary(signatureLabel, wanted)
}

// RequestSignature is the signature that a request carries, read and not verified.
type RequestSignature struct {
	Party   Party
	Created time.Time

	digest    record.ID // of the signature base
	signature []byte
}

// Verify checks the signature under one of the party's keys.
func (s RequestSignature) Verify(key []byte) error { return record.Verify(key, s.digest, s.signature) }

// ReadSignature reads the signature of a request for a gateway of a network. The
// body is not touched. Errors are faults that say how the request departs from the
// profile.
func ReadSignature(r *http.Request, network string) (RequestSignature, error) {
	var s RequestSignature
	list, sig, err := signatureFields(r.Header)
	if err != nil {
		return s, err
	}
	if err := checkCovered(r, list); err != nil {
		return s, err
	}
	s.signature = sig
	if s.Party, s.Created, err = readParams(list.Params, network); err != nil {
		return s, err
	}
	base, err := signatureBase(r, list)
	s.digest = record.SumID(base)
	return s, err
}

func badSignature(format string, args ...any) error {
	return fault.New(fault.BadSignature, format, args...)
}

// signatureFields reads the two header fields of the one signature.
func signatureFields(h http.Header) (httpsfv.InnerList, []byte, error) {
	var none httpsfv.InnerList
	label, member, err := oneMember(h, HeaderInput)
	if err != nil {
		return none, nil, err
	}
	name, value, err := oneMember(h, HeaderSignature)
	if err != nil {
		return none, nil, err
	}
	list, isList := member.(httpsfv.InnerList)
	item, _ := value.(httpsfv.Item)
	sig, isBytes := item.Value.([]byte)
	if !isList || !isBytes || len(sig) != 64 || name != label {
		return none, nil, badSignature("%s is no list of what is covered, or %s has not 64 bytes under the same label", HeaderInput, HeaderSignature)
	}
	return list, sig, nil
}

// oneMember reads a header field that is a dictionary of one member.
func oneMember(h http.Header, name string) (string, httpsfv.Member, error) {
	lines := h.Values(name)
	if len(lines) != 1 || len(lines[0]) > maxSignatureHeader {
		return "", nil, badSignature("the request must be signed with one %s field of at most %d bytes (RFC 9421), it has %d fields", name, maxSignatureHeader, len(lines))
	}
	d, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(d.Names()) != 1 {
		return "", nil, badSignature("%s is not one labelled signature", name)
	}
	label := d.Names()[0]
	member, _ := d.Get(label)
	return label, member, nil
}

// checkCovered insists that a signature covers what it has to, and nothing that
// this profile does not have.
func checkCovered(r *http.Request, list httpsfv.InnerList) error {
	var covered []string
	for _, item := range list.Items {
		name, _ := item.Value.(string)
		if !slices.Contains(coverable, name) || len(item.Params.Names()) > 0 || slices.Contains(covered, name) {
			return badSignature("a signature covers each of %s at most once, without parameters, and nothing else", strings.Join(coverable, ", "))
		}
		covered = append(covered, name)
	}
	for _, name := range mustCover(r) {
		if !slices.Contains(covered, name) {
			return badSignature("the signature does not cover %s", name)
		}
	}
	return nil
}

// readParams reads the parameters of a signature.
func readParams(p *httpsfv.Params, network string) (Party, time.Time, error) {
	for _, name := range p.Names() {
		if !slices.Contains([]string{"created", "keyid", "tag", "alg"}, name) {
			return Party{}, time.Time{}, badSignature("the signature has the parameter %q; created, keyid, tag and alg are possible", name)
		}
	}
	if alg, ok := p.Get("alg"); ok && alg != signatureAlgorithm {
		return Party{}, time.Time{}, badSignature("the signature's algorithm has to be %s", signatureAlgorithm)
	}
	if tag, _ := p.Get("tag"); tag != Tag(network) {
		return Party{}, time.Time{}, badSignature("the signature's tag has to be %q", Tag(network))
	}
	created, _ := p.Get("created")
	seconds, ok := created.(int64)
	if !ok {
		return Party{}, time.Time{}, badSignature("the signature must say when it was created, in Unix seconds")
	}
	keyid, _ := p.Get("keyid")
	text, _ := keyid.(string)
	who, err := parseParty(text)
	if err != nil {
		return Party{}, time.Time{}, badSignature("the signature's keyid names no party: %w", err)
	}
	return who, time.Unix(seconds, 0), nil
}

// signatureBase is the text that is signed (RFC 9421, section 2.5).
func signatureBase(r *http.Request, list httpsfv.InnerList) ([]byte, error) {
	var base []byte
	for _, item := range list.Items {
		name, _ := item.Value.(string)
		value, err := component(r, name)
		if err != nil {
			return nil, err
		}
		base = fmt.Appendf(base, "%q: %s\n", name, value)
	}
	params, err := httpsfv.Marshal(list)
	if err != nil {
		return nil, badSignature("the signature's parameters cannot be written: %w", err)
	}
	return fmt.Appendf(base, "%q: %s", "@signature-params", params), nil
}

// component is the value of one component of a request (RFC 9421, section 2).
func component(r *http.Request, name string) (string, error) {
	path, query, _ := strings.Cut(r.URL.RequestURI(), "?")
	switch name {
	case "@method":
		return r.Method, nil
	case "@path":
		return path, nil
	case "@query":
		return "?" + query, nil
	}
	values := r.Header.Values(name)
	if len(values) != 1 {
		return "", badSignature("the signature covers %s, of which the request has %d", name, len(values))
	}
	return strings.TrimSpace(values[0]), nil
}

// ContentDigest is the SHA-256 that a request states of its body (RFC 9530), and
// whether it states one.
func ContentDigest(h http.Header) (record.ID, bool, error) {
	lines := h.Values(HeaderDigest)
	if len(lines) == 0 {
		return record.ID{}, false, nil
	}
	if len(lines) == 1 && len(lines[0]) <= maxSignatureHeader {
		if d, err := httpsfv.UnmarshalDictionary(lines); err == nil {
			member, _ := d.Get(digestAlgorithm)
			item, _ := member.(httpsfv.Item)
			if sum, _ := item.Value.([]byte); len(sum) == sha256.Size {
				return record.ID(sum), true, nil
			}
		}
	}
	return record.ID{}, false, fault.New(fault.Invalid, "%s must be one field with %s=:<base64 of the body's SHA-256>:", HeaderDigest, digestAlgorithm)
}
