package importer

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"
)

// Fitbit's export (Google Takeout) has a file a day and kind: heart_rate-2026-11-30.json with
// a list of samples, and comma separated values of newer kinds.
const fitbit = "Fitbit"

func isFitbitJSON(p part) bool {
	return strings.HasPrefix(p.name, "heart_rate-") && strings.HasSuffix(p.name, ".json") && bytes.HasPrefix(bytes.TrimSpace(p.head), []byte("["))
}

const fitbitTime = "01/02/06 15:04:05" // UTC, though it does not say so

func readFitbitJSON(r *reading, _ part, in *parts) error {
	d := json.NewDecoder(in)
	if _, err := d.Token(); err != nil { // the bracket that was recognised
		return damaged(err)
	}
	for {
		in.next()
		if !d.More() {
			break
		}
		var sample struct {
			Time  string `json:"dateTime"`
			Value struct {
				Rate       json.Number `json:"bpm"`
				Confidence *int        `json:"confidence"`
			} `json:"value"`
		}
		if err := d.Decode(&sample); err != nil {
			return damaged(err)
		}
		if c := sample.Value.Confidence; c != nil && *c == 0 { // a filler where nothing was measured
			r.drop(DropMissing)
			continue
		}
		if err := r.fitbit("heart_rate", fitbitTime, sample.Time, sample.Value.Rate.String(), fitbit); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return damaged(err)
}

// fitbit hands over one sample.
func (r *reading) fitbit(metric, layout, at, value, device string) error {
	v, ok := decimal(value)
	if !ok {
		r.drop(DropValue)
		return nil
	}
	t, err := time.ParseInLocation(layout, at, time.UTC)
	seconds, ok := secondsOf(t)
	if err != nil || !ok {
		r.drop(DropTime)
		return nil
	}
	return r.emit(Reading{Metric: metric, Time: seconds, Value: v, Device: device})
}

// fitbitColumns are the columns that are readings, by the name of the file and the column.
var fitbitColumns = []struct{ file, column, metric string }{
	{"Minute SpO2", "value", "spo2"},
	{"heart_rate_", "beats per minute", "heart_rate"},
	{"oxygen_saturation_", "oxygen saturation percentage", "spo2"},
}

func isFitbitCSV(p part) bool {
	_, _, ok := fitbitColumn(p)
	return ok
}

// fitbitColumn finds the metric and the column of a file.
func fitbitColumn(p part) (string, string, bool) {
	head, _, _ := strings.Cut(string(p.head), "\n")
	names := csvNames(strings.Split(head, ","))
	for _, c := range fitbitColumns {
		if strings.HasPrefix(p.name, c.file) && strings.HasSuffix(p.name, ".csv") && names[0] == "timestamp" && slices.Contains(names, c.column) {
			return c.metric, c.column, true
		}
	}
	return "", "", false
}

// csvNames are the names of a header, without the mark of its byte order.
func csvNames(fields []string) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(f, "\ufeff")))
	}
	return names
}

func readFitbitCSV(r *reading, p part, in *parts) error {
	metric, column, _ := fitbitColumn(p)
	c := csv.NewReader(in)
	c.ReuseRecord = true
	header, err := c.Read()
	if err != nil {
		return damaged(err)
	}
	names := csvNames(header)
	value, source := slices.Index(names, column), slices.Index(names, "data source")
	for {
		in.next()
		line, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return damaged(err)
		}
		device := fitbit
		if source >= 0 && line[source] != "" {
			device = fitbit + " " + line[source]
		}
		if line[value] == "" {
			r.drop(DropMissing)
			continue
		}
		if err := r.fitbit(metric, time.RFC3339, line[0], line[value], device); err != nil {
			return err
		}
	}
}
