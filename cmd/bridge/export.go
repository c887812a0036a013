package bridge

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

type exportCommand struct {
	dirFlag
	Device string `help:"The device, by the beginning of its identifier; needed where the hub has more than one."`
	From   string `help:"The first hour: a Unix hour, or a time such as 2026-01-31T08:00:00Z. Default: the device's first."`
	Until  string `help:"The hour before which it ends. Default: the next one."`
	Format string `help:"csv (what \"push\" reads) or fhir (a Bundle of R4 Observations)." enum:"csv,fhir" default:"csv"`
	Out    string `help:"Where to write it; - is standard output." default:"-"`
}

// Help says what it is for.
func (exportCommand) Help() string {
	return `The data are the patient's: this writes what the hub has of them, minute by minute, without
asking anybody. What is written is not sealed. Keep it where others do not read it.`
}

// exportRequest asks for some hours of a device.
type exportRequest struct {
	Device string `json:"device,omitempty"`
	From   int64  `json:"from"`
	Until  int64  `json:"until"`
}

// exported is a minute's value of a metric.
type exported struct {
	Metric string           `json:"metric"`
	Minute int64            `json:"minute"`
	Value  wearable.Decimal `json:"value"`
}

// exportHours is what is asked of the hub at once.
const exportHours = 24

// export returns the readings of at most exportHours.
func (h *hub) export(_ context.Context, r *exportRequest) ([]exported, error) {
	d, err := h.device(r.Device)
	if err != nil {
		return nil, err
	}
	list := []exported{}
	hours, err := d.Hours(r.From, min(r.Until, r.From+exportHours))
	for _, x := range hours {
		for i, code := range x.Codes {
			if code != 0 {
				list = append(list, exported{x.Metric.Key, x.Hour*60 + int64(i), x.Metric.Value(x.Metric.Units(code))})
			}
		}
	}
	return list, err
}

// exporter writes one format.
type exporter interface {
	minute(exported) error
	end() error
}

// Run writes the readings.
func (c exportCommand) Run(ctx context.Context) error {
	s, err := ask(ctx, c.dirFlag, "device", &windowRequest{c.Device}, (*hub).describe)
	if err != nil {
		return err
	}
	from, until := s.FirstHour, time.Now().Unix()/3600+1
	if s.SealedUntil/3600 > until { // on a network whose clock is simulated
		until = s.SealedUntil / 3600
	}
	if c.From != "" {
		if from, err = hourOf(c.From, time.Now()); err != nil {
			return err
		}
	}
	if c.Until != "" {
		if until, err = hourOf(c.Until, time.Now()); err != nil {
			return err
		}
	}
	out := os.Stdout
	if c.Out != "-" {
		if out, err = os.OpenFile(c.Out, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600); err != nil {
			return err
		}
	}
	w := bufio.NewWriter(out)
	err = errors.Join(c.write(ctx, w, s.Patient, max(from, s.FirstHour), until), w.Flush())
	if c.Out != "-" {
		err = errors.Join(err, out.Close())
	}
	return err
}

func (c exportCommand) write(ctx context.Context, w io.Writer, patient string, from, until int64) error {
	var to exporter
	var err error
	if c.Format == "fhir" {
		to, err = newObservations(w, patient)
	} else {
		to, err = newTable(w)
	}
	for ; err == nil && from < until; from += exportHours {
		var part []exported
		part, err = ask(ctx, c.dirFlag, "export", &exportRequest{c.Device, from, until}, (*hub).export)
		for _, m := range part {
			if err == nil {
				err = to.minute(m)
			}
		}
	}
	if err != nil {
		return err
	}
	return to.end()
}

// table is what "push" reads.
type table struct{ *csv.Writer }

func newTable(w io.Writer) (table, error) {
	t := table{csv.NewWriter(w)}
	return t, t.Write([]string{"time", "metric", "value", "unit"})
}

func (t table) minute(m exported) error {
	metric, _ := wearable.ByKey(m.Metric)
	return t.Write([]string{clock(m.Minute * 60), m.Metric, m.Value.String(), metric.UCUM})
}

func (t table) end() error {
	t.Flush()
	return t.Error()
}

// observations is a Bundle of FHIR R4 Observations, one a minute and metric; systolic and
// diastolic pressure are one, as the profile of vital signs wants them.
type observations struct {
	w       io.Writer
	patient string
	n       int
	pending map[int64]exported
}

func newObservations(w io.Writer, patient string) (*observations, error) {
	_, err := io.WriteString(w, `{"resourceType":"Bundle","type":"collection","entry":[`)
	return &observations{w: w, patient: patient, pending: map[int64]exported{}}, err
}

type (
	coding struct {
		System  string `json:"system"`
		Code    string `json:"code"`
		Display string `json:"display,omitempty"`
	}
	concept struct {
		Coding []coding `json:"coding"`
		Text   string   `json:"text,omitempty"`
	}
	quantity struct {
		Value  json.Number `json:"value"`
		Unit   string      `json:"unit"`
		System string      `json:"system"`
		Code   string      `json:"code"`
	}
	component struct {
		Code  concept  `json:"code"`
		Value quantity `json:"valueQuantity"`
	}
	identifier struct {
		System string `json:"system"`
		Value  string `json:"value"`
	}
	reference struct {
		Identifier identifier `json:"identifier"`
	}
	observation struct {
		Type      string      `json:"resourceType"`
		ID        string      `json:"id"`
		Status    string      `json:"status"`
		Category  []concept   `json:"category"`
		Code      concept     `json:"code"`
		Subject   reference   `json:"subject"`
		Effective string      `json:"effectiveDateTime"`
		Value     *quantity   `json:"valueQuantity,omitempty"`
		Component []component `json:"component,omitempty"`
	}
	bundleEntry struct {
		URL      string      `json:"fullUrl"`
		Resource observation `json:"resource"`
	}
)

const (
	loinc    = "http://loinc.org"
	ucum     = "http://unitsofmeasure.org"
	category = "http://terminology.hl7.org/CodeSystem/observation-category"
	patients = "https://vitalveil.org/fhir/sid/patient"
)

func codeOf(m wearable.Metric) concept {
	return concept{Coding: []coding{{System: loinc, Code: m.LOINC}}, Text: m.Name}
}

func quantityOf(m exported) quantity {
	metric, _ := wearable.ByKey(m.Metric)
	return quantity{Value: json.Number(m.Value.String()), Unit: metric.UCUM, System: ucum, Code: metric.UCUM}
}

// minute writes what is whole. Metrics of an hour come one after the other, systolic before
// diastolic: the former waits for the latter.
func (o *observations) minute(m exported) error {
	switch m.Metric {
	case "bp_systolic":
		o.pending[m.Minute] = m
		return nil
	case "bp_diastolic":
		systolic, ok := o.pending[m.Minute]
		delete(o.pending, m.Minute)
		if ok {
			return o.pressure(systolic, m)
		}
	}
	return o.single(m)
}

func (o *observations) single(m exported) error {
	metric, _ := wearable.ByKey(m.Metric)
	value := quantityOf(m)
	return o.put(m, observation{Code: codeOf(metric), Value: &value})
}

func (o *observations) pressure(systolic, diastolic exported) error {
	x := observation{Code: concept{Coding: []coding{{System: loinc, Code: "85354-9"}}, Text: "Blood pressure"}}
	for _, m := range []exported{systolic, diastolic} {
		metric, _ := wearable.ByKey(m.Metric)
		x.Component = append(x.Component, component{codeOf(metric), quantityOf(m)})
	}
	return o.put(systolic, x)
}

func (o *observations) put(m exported, x observation) error {
	id := record.SumID(fmt.Appendf(nil, "%s %s %d", o.patient, m.Metric, m.Minute))
	x.Type, x.ID, x.Status, x.Effective = "Observation", id.String()[:32], "final", clock(m.Minute*60)
	x.Category = []concept{{Coding: []coding{{System: category, Code: "vital-signs"}}}}
	x.Subject = reference{identifier{patients, o.patient}}
	text, err := json.Marshal(bundleEntry{fmt.Sprintf("urn:uuid:%s-%s-%s-%s-%s", x.ID[:8], x.ID[8:12], x.ID[12:16], x.ID[16:20], x.ID[20:32]), x})
	if err != nil {
		return err
	}
	separator := "\n"
	if o.n > 0 {
		separator = ",\n"
	}
	o.n++
	_, err = o.w.Write(append([]byte(separator), text...))
	return err
}

func (o *observations) end() error {
	for _, m := range o.pending {
		if err := o.single(m); err != nil {
			return err
		}
	}
	_, err := io.WriteString(o.w, "\n]}\n")
	return err
}

// described is what commands need to know of a device.
type described struct {
	Patient     string `json:"patient"`
	FirstHour   int64  `json:"first_hour"`
	SealedUntil int64  `json:"sealed_until"` // Unix seconds
}

func (h *hub) describe(_ context.Context, r *windowRequest) (described, error) {
	d, err := h.device(r.Device)
	if err != nil {
		return described{}, err
	}
	s, _ := d.Progress()
	_, last := d.Window()
	for _, m := range d.Document().Metrics { // on a simulated clock readings may be ahead of it
		for _, x := range d.Sensors().Sources(m) {
			s = max(s, min(x.Last, last)/60+1)
		}
	}
	return described{d.Patient().String(), d.Document().FirstHour, s * 3600}, nil
}
