package bridge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	role "github.com/vitalveil/vitalveil/bridge"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/site"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk"
	"github.com/vitalveil/vitalveil/zk/claim"
)

// hub is an open bridge with what commands ask of it.
type hub struct {
	*role.Hub
	cfg     Config
	genesis record.Genesis
	open    *api.Client // of the gateway, without a signer
	sensors *sensors

	round sync.Mutex // one round at a time
	mu    sync.Mutex
	last  lastRound
}

// lastRound is how the latest round ended.
type lastRound struct {
	contact time.Time // of the last round that reached the gateway
	problem error
	rounds  int
	failed  int
	ready   map[record.ID]bool // devices whose seeds all holders have
}

func openHub(cfg Config) (*hub, error) {
	c, err := cfg.hub()
	if err != nil {
		return nil, err
	}
	h := &hub{cfg: cfg, genesis: c.Genesis, open: api.NewClient(cfg.Gateway, c.Genesis.Network, nil)}
	if h.sensors, err = openSensors(h, cfg.dir); err != nil {
		return nil, err
	}
	h.Hub, err = role.Open(c)
	return h, err
}

// close is Close, and of what else is open.
func (h *hub) close() error {
	h.open.Close()
	return h.Close()
}

// now is the time up to which hours may be sealed: the machine's, or that of the ledger
// where it follows data.
func (h *hub) now(ctx context.Context) (int64, error) {
	if h.genesis.Clock != record.ClockSimulated {
		return time.Now().Unix(), nil
	}
	n, err := h.open.Network(ctx)
	return n.LedgerTime, err
}

// device finds the device that is meant: by the beginning of its identifier, or, with
// none, the only one.
func (h *hub) device(name string) (*role.Device, error) {
	var found []*role.Device
	for _, d := range h.Devices() {
		if strings.HasPrefix(d.ID().String(), name) && (name != "" || d.Retired() == "") {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return nil, fault.New(fault.NotFound, "this hub has no device %q: \"vitalveil bridge status\" lists those there are", name)
	}
	return nil, fault.New(fault.Invalid, "%d devices are meant by %q: name one with --device", len(found), name)
}

// enrolRequest makes a device, or names one that is there.
type enrolRequest struct {
	Device    string    `json:"device,omitempty"`
	Patient   record.ID `json:"patient"`
	Metrics   []string  `json:"metrics,omitempty"`
	FirstHour int64     `json:"first_hour"`
	Stratum   string    `json:"stratum,omitempty"`
}

// enrol returns what the patient is asked to sign.
func (h *hub) enrol(_ context.Context, r *enrolRequest) (record.DeviceRequest, error) {
	if r.Device != "" {
		d, err := h.device(r.Device)
		if err != nil {
			return record.DeviceRequest{}, err
		}
		request, _ := d.Request()
		return request, nil
	}
	d, _, err := h.NewDevice(r.Patient, r.Metrics, r.FirstHour)
	if err != nil {
		return record.DeviceRequest{}, fault.New(fault.Invalid, "%w", err)
	}
	if r.Stratum != "" {
		if err := d.SetStratum(r.Stratum); err != nil {
			return record.DeviceRequest{}, fault.New(fault.Invalid, "%w", err)
		}
	}
	request, _ := d.Request()
	return request, nil
}

// none is a request or an answer that says nothing.
type none struct{}

// send brings an enrolment that the patient has signed to the ledger.
func (h *hub) send(ctx context.Context, r *record.DeviceRequest) (none, error) {
	id := record.DeviceID(h.genesis.Network, r.Enrolment.Device.Key)
	d, ok := h.Device(id)
	if !ok {
		return none{}, fault.New(fault.NotFound, "device %s is none of this hub's", id.Short())
	}
	if len(r.Enrolment.PatientSignature) == 0 {
		return none{}, fault.New(fault.BadSignature, "its patient has not signed this request yet: \"vitalveil patient device FILE\"")
	}
	if mine, _ := d.Request(); mine.Digest() != r.Digest() {
		return none{}, fault.New(fault.Invalid, "the request is not what device %s asked for", id.Short())
	}
	if err := d.Enrol(ctx, r.Enrolment.PatientSignature, r.Enrolment.PatientAssertion); err != nil || r.Signer == nil {
		return none{}, err
	}
	return none{}, patientFault(d.KnowPatient(*r.Signer))
}

// patientFault says what is wrong with a document that is said to be a patient's.
func patientFault(err error) error {
	switch {
	case errors.Is(err, role.ErrPatient):
		return fault.New(fault.BadSignature, "%w", err)
	case err != nil:
		return fault.New(fault.Invalid, "%w", err)
	}
	return nil
}

// permit leaves a consent with the devices of its patient.
func (h *hub) permit(_ context.Context, s *consent.Signed) (int, error) {
	return h.ofPatient(s.Document.Patient, func(d *role.Device) error { return d.LeaveConsent(*s) })
}

// keys follows a change of a patient's keys.
func (h *hub) keys(_ context.Context, s *consent.SignedKeys) (int, error) {
	return h.ofPatient(s.Change.Patient, func(d *role.Device) error { return d.PatientKeysChanged(*s) })
}

// ofPatient does something with each device of a patient, and counts them.
func (h *hub) ofPatient(patient record.ID, do func(*role.Device) error) (int, error) {
	n := 0
	for _, d := range h.Devices() {
		if _, enrolled := d.Request(); d.Patient() != patient || d.Retired() != "" || !enrolled {
			continue
		}
		if err := patientFault(do(d)); err != nil {
			return n, err
		}
		n++
	}
	if n == 0 {
		return 0, fault.New(fault.NotFound, "this hub has no enrolled device of patient %s", patient.Short())
	}
	return n, nil
}

// asked is a request for a claim, and what the hub does about it.
type asked struct {
	Device   string `json:"device"`
	Question string `json:"question"`
	Request  string `json:"request"`
	Asker    string `json:"asker"`
	Purpose  string `json:"purpose"`
	Text     string `json:"text"`
	Standing string `json:"standing"`
}

// String is the question for its patient to read. Who asks and for what is a gateway's word
// until the signature was checked, which it is not of questions that are not answered.
func (a asked) String() string {
	return fmt.Sprintf("%.64s asks device %.8s for a proof (%.64s): %s\n  question %s: %s\n",
		site.Plain(a.Asker), a.Device, site.Plain(a.Purpose), site.Plain(a.Text), a.Question, a.Standing)
}

// claimsRequest says in which language claims are said.
type claimsRequest struct {
	Language string `json:"language"`
}

// claims lists what the patients' devices are asked.
func (h *hub) claims(ctx context.Context, r *claimsRequest) ([]asked, error) {
	l, err := claim.ByTag(r.Language)
	if err != nil {
		return nil, err
	}
	list := []asked{}
	for _, d := range h.Devices() {
		requests, err := d.Asked(ctx)
		if err != nil {
			return nil, err
		}
		for _, a := range requests {
			q := a.Request
			list = append(list, asked{d.ID().String(), a.Question.String(), q.ID, q.Asker, q.Ask.Purpose, claim.Sentence(q.Ask, l), a.Standing})
		}
	}
	return list, nil
}

// wordRequest is what a patient says about a question.
type wordRequest struct {
	Question string `json:"question"`
	Yes      bool   `json:"yes"`
}

// word tells the device that is asked.
func (h *hub) word(ctx context.Context, r *wordRequest) (none, error) {
	question, err := record.ParseID(r.Question)
	if err != nil {
		return none{}, fault.New(fault.Invalid, "a question: %w", err)
	}
	for _, d := range h.Devices() {
		found, err := d.Say(ctx, question, r.Yes)
		if found || err != nil {
			return none{}, err
		}
	}
	return none{}, fault.New(fault.NotFound, "no device here is asked %.40q, or it is answered already", r.Question)
}

// answers proves what holds and what consents allow, and hands proofs in.
func (h *hub) answers(ctx context.Context, _ *none) (role.Answers, error) {
	a, err := h.Answer(ctx)
	if !errors.Is(err, role.ErrNoProver) {
		return a, err
	}
	p, err := h.loadProver()
	if err != nil {
		return a, err
	}
	h.SetProver(p)
	return h.Answer(ctx)
}

// loadProver returns a prover with the keys that the network accepted. It reads them when
// the first claim holds, which takes long.
func (h *hub) loadProver() (role.Prover, error) {
	if h.cfg.CircuitKeys == "" {
		return nil, fmt.Errorf("%w: name the directory with the network's proving keys as circuit_keys in %s", role.ErrNoProver, configFile)
	}
	if len(h.genesis.Circuits) == 0 {
		return nil, errors.New("the network has no circuits, so nothing can be proven")
	}
	return zk.NewProver(string(h.cfg.CircuitKeys), h.genesis.Circuits), nil
}

// pushRequest is readings of a source that follow a position in it; without a source, what
// is repeated counts once all the same.
type pushRequest struct {
	Device   string        `json:"device,omitempty"`
	Source   string        `json:"source,omitempty"`
	From     role.Position `json:"from"`
	Readings []reading     `json:"readings"`
}

// reading is one reading as a source sends it: numerals are exact.
type reading struct {
	Metric string           `json:"metric"`
	Time   wearable.Decimal `json:"time"` // Unix seconds
	Value  wearable.Decimal `json:"value"`
	Source string           `json:"source,omitempty"` // what measured it
}

func (h *hub) push(ctx context.Context, r *pushRequest) (role.Outcome, error) {
	d, err := h.device(r.Device)
	if err != nil {
		return role.Outcome{}, err
	}
	list := make([]role.Reading, len(r.Readings))
	for i, x := range r.Readings {
		list[i] = role.Reading(x)
	}
	var out role.Outcome
	if r.Source == "" {
		out, err = d.Push(ctx, list)
	} else {
		out, err = d.PushFrom(ctx, r.Source, r.From, list)
	}
	switch {
	case errors.Is(err, role.ErrPosition):
		err = fault.New(fault.Conflict, "%w", err)
	case errors.Is(err, role.ErrReading):
		err = fault.New(fault.Invalid, "%w", err)
	}
	return out, err
}

// positionRequest asks how much of a source is taken.
type positionRequest struct {
	Device string `json:"device,omitempty"`
	Source string `json:"source"`
}

func (h *hub) position(_ context.Context, r *positionRequest) (role.Position, error) {
	d, err := h.device(r.Device)
	if err != nil {
		return role.Position{}, err
	}
	return d.Position(r.Source)
}

// windowRequest asks what a device takes now.
type windowRequest struct {
	Device string `json:"device,omitempty"`
}

// window is the Unix minutes and the metrics that a device takes readings of.
type window struct {
	From    int64    `json:"from"`
	Until   int64    `json:"until"`
	Metrics []string `json:"metrics"`
}

func (h *hub) window(_ context.Context, r *windowRequest) (window, error) {
	d, err := h.device(r.Device)
	if err != nil {
		return window{}, err
	}
	w := window{Metrics: d.Document().Metrics}
	w.From, w.Until = d.Window()
	return w, nil
}

// sourceCommands are what a source may call.
func (h *hub) sourceCommands() site.Commands {
	return site.Commands{"push": site.Handle(h.push), "position": site.Handle(h.position), "window": site.Handle(h.window)}
}

// commands are what the hub's user may call.
func (h *hub) commands() site.Commands {
	all := h.sourceCommands()
	for what, f := range (site.Commands{
		"enrol": site.Handle(h.enrol), "send": site.Handle(h.send), "consent": site.Handle(h.permit), "keys": site.Handle(h.keys),
		"claims": site.Handle(h.claims), "word": site.Handle(h.word), "answer": site.Handle(h.answers),
		"keep": site.Handle(h.keep), "drop": site.Handle(h.drop), "change": site.Handle(h.change),
		"device": site.Handle(h.describe), "export": site.Handle(h.export),
		"status": site.Handle(h.status), "receipt": site.Handle(h.receipt), "sync": site.Handle(h.sync),
	}) {
		all[what] = f
	}
	return all
}

// deviceStatus is how far a device has come.
type deviceStatus struct {
	ID          string   `json:"id"`
	Patient     string   `json:"patient"`
	Metrics     []string `json:"metrics"`
	Enrolled    bool     `json:"enrolled"`
	Ready       bool     `json:"ready"` // every holder has acknowledged its seeds, as a gateway said
	Stratum     string   `json:"stratum"`
	SealedUntil int64    `json:"sealed_until"` // Unix seconds
	// CommittedUntil is before which every day has its root and, where there are such, its row.
	CommittedUntil int64       `json:"committed_until"` // Unix seconds
	Waiting        int         `json:"waiting"`         // rows and days that are not on the ledger
	Refused        []string    `json:"refused,omitempty"`
	Retired        string      `json:"retired,omitempty"`
	Counts         role.Counts `json:"counts"`
	// Dropped counts parts of sensors' notifications that had no value, by reason.
	Dropped  map[string]uint64 `json:"dropped,omitempty"`
	Readings []metricStatus    `json:"readings"`
}

// hubStatus is what "status" shows.
type hubStatus struct {
	Network string         `json:"network"`
	Gateway string         `json:"gateway"`
	Contact int64          `json:"contact"` // Unix seconds of the last round that reached it; 0: none
	Running bool           `json:"running"`
	Sensors []sensorStatus `json:"sensors"`
	Devices []deviceStatus `json:"devices"`
	Ahead   int64          `json:"ahead,omitempty"` // seconds by which the hub's clock is ahead of ledger time
	Problem string         `json:"problem,omitempty"`
}

func (h *hub) status(context.Context, *none) (hubStatus, error) {
	h.mu.Lock()
	last := h.last
	h.mu.Unlock()
	s := hubStatus{Network: h.genesis.Network, Gateway: h.cfg.Gateway, Devices: []deviceStatus{}, Ahead: int64(h.ClockAhead().Seconds())}
	if !last.contact.IsZero() {
		s.Contact = last.contact.Unix()
	}
	if last.problem != nil {
		s.Problem = last.problem.Error()
	}
	s.Sensors = h.sensors.status()
	for _, d := range h.Devices() {
		one, err := deviceStatusOf(d)
		if err != nil {
			return s, err
		}
		one.Ready = last.ready[d.ID()]
		s.Devices = append(s.Devices, one)
	}
	return s, nil
}

func deviceStatusOf(d *role.Device) (deviceStatus, error) {
	sealed, days := d.Progress()
	_, enrolled := d.Request()
	s := deviceStatus{
		ID: d.ID().String(), Patient: d.Patient().String(), Metrics: slices.Clone(d.Document().Metrics), Stratum: d.Stratum(),
		Enrolled: enrolled, SealedUntil: sealed * 3600, CommittedUntil: days * 86400, Retired: d.Retired(), Counts: d.Counts(),
	}
	var err error
	s.Dropped = d.Sensors().Dropped()
	if s.Readings, err = metricsOf(d); err != nil {
		return s, err
	}
	refused, err := d.Refused()
	if err != nil {
		return s, err
	}
	for _, r := range refused {
		s.Refused = append(s.Refused, fmt.Sprintf("%s %d: %s: %s", r.Kind, r.Index, r.Code, r.Detail))
	}
	s.Waiting, err = d.Waiting()
	return s, err
}

// synced says what one round did.
type synced struct {
	Anchored int `json:"anchored"`
	Receipts int `json:"receipts"`
	Awaited  int `json:"awaited"`
	Waiting  int `json:"waiting"`
	Refused  int `json:"refused"`
	Retired  int `json:"retired"`
}

// sync is one round: seal what is over, bring it to the ledger, answer claims. What it
// could not do it tells, and does in a later one.
func (h *hub) sync(ctx context.Context, _ *none) (synced, error) {
	h.round.Lock()
	defer h.round.Unlock()
	now, err := h.now(ctx)
	if err == nil {
		err = h.Advance(ctx, now)
	}
	r, serr := h.Sync(ctx)
	_, aerr := h.answers(ctx, nil) // which claims hold is for the patient alone
	err = errors.Join(err, serr, aerr)
	ready := h.readyDevices(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last.rounds++
	h.last.problem, h.last.ready = err, ready
	if err != nil {
		h.last.failed++
	}
	if serr == nil && aerr == nil {
		h.last.contact = time.Now()
	}
	return synced{r.Anchored, r.Receipts, r.Awaited, r.Waiting, len(r.Refused), len(r.Retired)}, err
}

// readyDevices asks which devices count: only then are their rows in statistics.
func (h *hub) readyDevices(ctx context.Context) map[record.ID]bool {
	h.mu.Lock()
	ready := maps.Clone(h.last.ready)
	h.mu.Unlock()
	if ready == nil {
		ready = map[record.ID]bool{}
	}
	for _, d := range h.Devices() {
		if _, enrolled := d.Request(); !enrolled || ready[d.ID()] {
			continue
		}
		is, err := d.Ready(ctx)
		if err != nil {
			return ready // the next round asks again
		}
		ready[d.ID()] = is
	}
	return ready
}

// receiptRequest names a row, a day's root or a day's row.
type receiptRequest struct {
	Device     string `json:"device,omitempty"`
	Kind       string `json:"kind"`
	Index      int64  `json:"index"`
	Correction uint8  `json:"correction,omitempty"`
}

// receipt returns a stored receipt, which was verified before it was stored.
func (h *hub) receipt(_ context.Context, r *receiptRequest) (record.Receipt, error) {
	d, err := h.device(r.Device)
	if err != nil {
		return record.Receipt{}, err
	}
	get := func() (record.Receipt, bool, error) { return d.Receipt(r.Kind, r.Index) }
	if r.Correction > 0 {
		get = func() (record.Receipt, bool, error) { return d.CorrectionReceipt(r.Index, r.Correction) }
	}
	found, ok, err := get()
	if err == nil && !ok {
		err = fault.New(fault.NotFound, "there is no receipt for %s %d yet", r.Kind, r.Index)
	}
	return found, err
}
