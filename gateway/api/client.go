package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/consent"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Limits of the interface, in bytes and items. The gateway enforces them; a
// client keeps within them.
const (
	MaxUpload         = 8 << 20   // body of an upload: blobs grow by a third in base64
	MaxBody           = 256 << 10 // body of any other request
	MaxBlob           = 4 << 20   // one blob
	MaxUploadBlobs    = 256
	MaxUploadPointers = 1024
	MaxReceipts       = 500 // receipts in one answer
	maxAnswer         = 16 << 20
)

// MediaWire is the media type of a body that is a message in the protobuf wire format, its
// fields in their order. Every route that takes JSON takes it too.
const MediaWire = "application/x-protobuf"

// Client speaks to a gateway. Its methods are safe for concurrent use. A refusal
// by the gateway comes back as *fault.Error; an unreachable gateway as one with
// code fault.Unavailable.
type Client struct {
	base, network string
	signer        *Signer
	http          *http.Client
}

// requestTimeout bounds one request with its answer.
const requestTimeout = 60 * time.Second

// NewClient makes a client of the gateway at baseURL (such as
// "http://127.0.0.1:8080") for the named network. Without a signer only the open
// routes answer.
func NewClient(baseURL, network string, s *Signer) *Client {
	return &Client{
		base: strings.TrimRight(baseURL, "/"), network: network, signer: s,
		http: &http.Client{Transport: transport, CheckRedirect: refuseRedirect},
	}
}

// transport is shared, so that the clients of many devices in one hub share
// connections: a request is signed, its connection means nothing.
var transport = &http.Transport{
	Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
	MaxIdleConnsPerHost: 32, IdleConnTimeout: 90 * time.Second,
	TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: requestTimeout,
}

// refuseRedirect keeps a signature from being carried to another place.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close drops idle connections; the client stays usable.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Network is what a gateway says about its network. Genesis must be compared
// with the one received out of band.
type Network struct {
	Genesis    record.Genesis
	LedgerTime int64 // Unix seconds
	Height     uint64
}

// Network returns the gateway's view of the network.
func (c *Client) Network(ctx context.Context) (Network, error) {
	var m apiv1.GetNetworkResponse
	if err := c.get(ctx, "/v1/network", nil, &m); err != nil {
		return Network{}, err
	}
	g, err := fromAnswer(m.Genesis)
	return Network{Genesis: g, LedgerTime: m.LedgerTime, Height: m.Height}, err
}

// EnrolPatient asks to put a patient on the ledger and to store the blob with the
// sealed details key (details.SealBoxes), whose SHA-256 the enrolment names.
func (c *Client) EnrolPatient(ctx context.Context, e record.EnrolPatient, boxes []byte) (*Operation, error) {
	return c.post(ctx, "/v1/patients", &apiv1.PatientEnrolment{Document: apiv1.EnrolPatientOf(e), DetailsBoxes: boxes})
}

// Patient returns the ledger's record of a patient, with the keys that count now;
// the patient or a member signs.
func (c *Client) Patient(ctx context.Context, id record.ID) (record.Patient, error) {
	var m apiv1.Patient
	if err := c.get(ctx, "/v1/patients/"+id.String(), nil, &m); err != nil {
		return record.Patient{}, err
	}
	return fromAnswer(&m)
}

// ChangeKeys asks to record a change of a patient's keys, which may revoke
// everything that the patient has permitted.
func (c *Client) ChangeKeys(ctx context.Context, s consent.SignedKeys) (*Operation, error) {
	return c.post(ctx, "/v1/patients/"+s.Change.Patient.String()+"/keys", apiv1.SignedKeysOf(s))
}

// PutConsent asks to record a version of a consent.
func (c *Client) PutConsent(ctx context.Context, s consent.Signed) (*Operation, error) {
	return c.post(ctx, "/v1/consents", apiv1.SignedConsentOf(s))
}

// Consent returns the newest version of a consent; its patient or a member signs.
func (c *Client) Consent(ctx context.Context, id record.ID) (consent.Signed, error) {
	var m apiv1.SignedConsent
	if err := c.get(ctx, "/v1/consents/"+id.String(), nil, &m); err != nil {
		return consent.Signed{}, err
	}
	return fromAnswer(&m)
}

// Consents returns the newest version of each of the patient's consents; the
// patient signs.
func (c *Client) Consents(ctx context.Context, patient record.ID) ([]consent.Signed, error) {
	var m apiv1.ListConsentsResponse
	if err := c.get(ctx, "/v1/patients/"+patient.String()+"/consents", nil, &m); err != nil {
		return nil, err
	}
	return fromAnswers(m.Consents)
}

// HistoryEntry is one question that concerned a patient.
type HistoryEntry = apiv1.HistoryEntry

// History returns who asked what about the patient, oldest first; the patient
// signs.
func (c *Client) History(ctx context.Context, patient record.ID) ([]*HistoryEntry, error) {
	var m apiv1.GetHistoryResponse
	if err := c.get(ctx, "/v1/patients/"+patient.String()+"/history", nil, &m); err != nil {
		return nil, err
	}
	return m.Entries, nil
}

// Erase asks to erase a patient.
func (c *Client) Erase(ctx context.Context, s record.SignedErasure) (*Operation, error) {
	return c.post(ctx, "/v1/erasures", apiv1.SignedErasureOf(s))
}

// ErasureReceipt says what became of an erasure.
type ErasureReceipt = apiv1.ErasureReceipt

// Erasure returns the receipt of a patient's erasure; the patient signs. What it
// says about members carries their signatures (record.ErasureReceipt).
func (c *Client) Erasure(ctx context.Context, patient record.ID) (*ErasureReceipt, error) {
	m := &apiv1.ErasureReceipt{}
	return m, c.get(ctx, "/v1/patients/"+patient.String()+"/erasure", nil, m)
}

// EnrolDevice asks to put a device on the ledger and to store the blob with its
// sealed seeds, whose SHA-256 the enrolment names.
func (c *Client) EnrolDevice(ctx context.Context, e record.EnrolDevice, seedBlob []byte) (*Operation, error) {
	return c.post(ctx, "/v1/devices", &apiv1.DeviceEnrolment{Document: apiv1.EnrolDeviceOf(e), SeedBlob: seedBlob})
}

// DeviceStatus is a device and how far its enrolment has come.
type DeviceStatus struct {
	State          record.DeviceState
	AcknowledgedBy []string // MSPs that hold the device's seeds
	Ready          bool     // every holder has acknowledged: its rows count
	Reputation     *apiv1.Reputation
}

// Device returns the ledger's record of a device; the device, its patient or a member
// signs. Others learn no more than whether it is ready.
func (c *Client) Device(ctx context.Context, id record.ID) (DeviceStatus, error) {
	var m apiv1.GetDeviceResponse
	if err := c.get(ctx, "/v1/devices/"+id.String(), nil, &m); err != nil {
		return DeviceStatus{}, err
	}
	s := DeviceStatus{AcknowledgedBy: m.AcknowledgedBy, Ready: m.Ready, Reputation: m.Reputation}
	var err error
	s.State, err = fromAnswer(m.State)
	return s, err
}

// Upload asks to store blobs and to anchor pointers, which are all the signing
// device's. At most MaxUploadBlobs, MaxUploadPointers and MaxUpload.
func (c *Client) Upload(ctx context.Context, device record.ID, blobs [][]byte, pointers []record.SignedPointer) (*Operation, error) {
	m := &apiv1.Upload{Blobs: blobs, Pointers: make([]*apiv1.SignedPointer, len(pointers))}
	for i, p := range pointers {
		m.Pointers[i] = apiv1.SignedPointerOf(p)
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	return c.postBody(ctx, "/v1/devices/"+device.String()+"/uploads", MediaWire, body, MaxUpload)
}

// Receipts returns receipts of the device's pointers of a kind with indices in
// [from, until), in order of index and correction and at most MaxReceipts, all of
// an index or none: ask again from the last index plus one. The device or a member
// signs.
func (c *Client) Receipts(ctx context.Context, device record.ID, kind string, from, until int64) ([]record.Receipt, error) {
	q := url.Values{"kind": {kind}, "from": {strconv.FormatInt(from, 10)}, "until": {strconv.FormatInt(until, 10)}}
	var m apiv1.ListReceiptsResponse
	if err := c.get(ctx, "/v1/devices/"+device.String()+"/receipts", q, &m); err != nil {
		return nil, err
	}
	return fromAnswers(m.Receipts)
}

// Requests returns the open predicate requests for the signing device.
func (c *Client) Requests(ctx context.Context, device record.ID) ([]record.PredicateState, error) {
	var m apiv1.ListRequestsResponse
	if err := c.get(ctx, "/v1/devices/"+device.String()+"/requests", nil, &m); err != nil {
		return nil, err
	}
	return fromAnswers(m.Requests)
}

// RetireDevice ends a device; the document is signed by its patient or by itself.
func (c *Client) RetireDevice(ctx context.Context, s record.SignedRetirement) (*Operation, error) {
	return c.post(ctx, "/v1/devices/"+s.Retire.Device.String()+"/retirement", apiv1.SignedRetirementOf(s))
}

// Prove answers a predicate request; the device asked signs.
func (c *Client) Prove(ctx context.Context, a record.Attest) (*Operation, error) {
	return c.post(ctx, "/v1/requests/"+url.PathEscape(a.Request)+"/proof", apiv1.AttestOf(a))
}

// Blob returns a stored blob, checked to have the SHA-256 asked for; a member
// signs.
func (c *Client) Blob(ctx context.Context, id record.ID) ([]byte, error) {
	b, err := c.do(ctx, http.MethodGet, "/v1/blobs/"+id.String(), "", nil)
	if err != nil {
		return nil, err
	}
	if record.SumID(b) != id {
		return nil, fault.New(fault.Internal, "the gateway answered with %d bytes that are not blob %s", len(b), id)
	}
	return b, nil
}

func (c *Client) get(ctx context.Context, path string, q url.Values, m proto.Message) error {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	b, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	return decodeAnswer(b, m)
}

func (c *Client) post(ctx context.Context, path string, m proto.Message) (*Operation, error) {
	body, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	return c.postBody(ctx, path, "application/json", body, MaxBody)
}

func (c *Client) postBody(ctx context.Context, path, kind string, body []byte, limit int) (*Operation, error) {
	if len(body) > limit {
		return nil, fault.New(fault.TooLarge, "the request has %d bytes, the gateway takes %d; split it", len(body), limit)
	}
	b, err := c.do(ctx, http.MethodPost, path, kind, body)
	if err != nil {
		return nil, err
	}
	return decodeOperation(b)
}

// do sends one request and returns the answer's body; refusals are faults.
func (c *Client) do(ctx context.Context, method, path, kind string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := c.send(ctx, method, path, "application/json", kind, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "the gateway's answer broke off: %w", err)
	}
	if len(b) > maxAnswer {
		return nil, fault.New(fault.TooLarge, "the gateway's answer is over %d bytes", maxAnswer)
	}
	return b, nil
}

// send makes one signed request. An answer that is no success is closed and
// returned as a fault.
func (c *Client) send(ctx context.Context, method, path, accept, kind string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	if c.signer != nil {
		if err := c.signer.Sign(req, c.network, body, time.Now()); err != nil {
			return nil, err
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fault.New(fault.Unavailable, "the gateway cannot be reached: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, problemFault(resp)
	}
	return resp, nil
}

// Problem is an RFC 9457 problem document as the gateway writes it. Code is a
// code of package fault.
type Problem struct {
	Type     string      `json:"type"`
	Title    string      `json:"title"`
	Status   int         `json:"status"`
	Detail   string      `json:"detail"`
	Instance string      `json:"instance,omitempty"`
	Code     fault.Code  `json:"code"`
	Retry    bool        `json:"retry"`
	Errors   []Violation `json:"errors,omitempty"`
}

// Violation is one field that breaks a rule.
type Violation struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// maxProblem bounds the problem document that a client reads.
const maxProblem = 64 << 10

func problemFault(resp *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil {
		return fault.New(fault.Unavailable, "the gateway's answer broke off: %w", err)
	}
	var p Problem
	if err := json.Unmarshal(b, &p); err != nil || p.Code == "" {
		return fault.New(codeOfStatus(resp.StatusCode), "the gateway answered %s", resp.Status)
	}
	if _, known := fault.Codes[p.Code]; !known {
		p.Code = fault.Internal
	}
	detail := p.Detail
	for _, v := range p.Errors {
		detail += fmt.Sprintf("; %s: %s", v.Field, v.Detail)
	}
	return &fault.Error{Code: p.Code, Detail: detail}
}

// codeOfStatus is for answers of something between client and gateway.
func codeOfStatus(status int) fault.Code {
	switch {
	case status == http.StatusNotFound:
		return fault.NotFound
	case status == http.StatusTooManyRequests, status >= 502:
		return fault.Unavailable
	case status >= 500:
		return fault.Internal
	}
	return fault.Invalid
}

func decodeAnswer(b []byte, m proto.Message) error {
	// A newer gateway may answer with fields that this client does not know.
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, m); err != nil {
		return fault.New(fault.Internal, "the gateway's answer cannot be read: %w", err)
	}
	return nil
}

// mirror is a message that mirrors a ledger document.
type mirror[D any] interface{ Record() (D, error) }

func fromAnswer[D any](m mirror[D]) (D, error) {
	d, err := m.Record()
	if err != nil {
		return d, fault.New(fault.Internal, "the gateway's answer cannot be read: %w", err)
	}
	return d, nil
}

func fromAnswers[D any, M mirror[D]](ms []M) ([]D, error) {
	docs := make([]D, len(ms))
	for i, m := range ms {
		var err error
		if docs[i], err = fromAnswer[D](m); err != nil {
			return nil, err
		}
	}
	return docs, nil
}

// Get is Blob, for those who want to know of blobs only that they can be got.
func (c *Client) Get(ctx context.Context, id record.ID) ([]byte, error) { return c.Blob(ctx, id) }
