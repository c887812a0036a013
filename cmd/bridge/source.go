package bridge

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	role "github.com/vitalveil/vitalveil/bridge"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// maxLine bounds a line of a source, in bytes.
const maxLine = 4096

// readings reads what a source says, line by line, with the number of the line. JSON lines
// begin with "{"; everything else is CSV with a header that names the columns time, metric
// and value, and perhaps unit. Blank lines are passed over.
func readings(r io.Reader) iter.Seq2[role.Reading, error] {
	return func(yield func(role.Reading, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, maxLine), maxLine)
		var columns []string
		for n := 1; lines.Scan(); n++ {
			line := bytes.TrimSpace(lines.Bytes())
			if len(line) == 0 {
				continue
			}
			var x role.Reading
			var err error
			switch {
			case line[0] == '{':
				x, err = parseJSON(line)
			case columns == nil:
				if columns, err = header(string(line)); err == nil {
					continue
				}
			default:
				x, err = parseCSV(columns, string(line))
			}
			if err != nil {
				err = fmt.Errorf("line %d: %w", n, err)
			}
			if !yield(x, err) || err != nil {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(role.Reading{}, fmt.Errorf("a line of more than %d bytes, or the source broke off: %w", maxLine, err))
		}
	}
}

// header reads the columns' names.
func header(line string) ([]string, error) {
	names, err := csvFields(line)
	if err != nil {
		return nil, err
	}
	known := map[string]int{"time": 0, "metric": 0, "value": 0, "unit": 0}
	for _, name := range names {
		n, ok := known[name]
		if !ok || n > 0 {
			return nil, fmt.Errorf("column %q: the columns are time, metric, value and perhaps unit, each once", name)
		}
		known[name]++
	}
	if known["time"]+known["metric"]+known["value"] < 3 {
		return nil, errors.New("the header has to name the columns time, metric and value")
	}
	return names, nil
}

func csvFields(line string) ([]string, error) {
	r := csv.NewReader(strings.NewReader(line))
	r.TrimLeadingSpace = true
	return r.Read()
}

func parseCSV(columns []string, line string) (role.Reading, error) {
	fields, err := csvFields(line)
	if err != nil {
		return role.Reading{}, err
	}
	if len(fields) != len(columns) {
		return role.Reading{}, fmt.Errorf("%d fields for %d columns", len(fields), len(columns))
	}
	by := map[string]string{}
	for i, name := range columns {
		by[name] = fields[i]
	}
	unit, given := by["unit"]
	return toReading(by["time"], by["metric"], by["value"], unit, given)
}

// numeral is a number, or a string with one, as it was written.
type numeral string

// UnmarshalJSON implements json.Unmarshaler.
func (n *numeral) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		var s string
		err := json.Unmarshal(b, &s)
		*n = numeral(s)
		return err
	}
	*n = numeral(b)
	return nil
}

func parseJSON(line []byte) (role.Reading, error) {
	var x struct {
		Time   numeral `json:"time"`
		Metric string  `json:"metric"`
		Value  numeral `json:"value"`
		Unit   *string `json:"unit"`
	}
	if err := record.DecodeJSON(line, maxLine, &x); err != nil {
		return role.Reading{}, err
	}
	unit := ""
	if x.Unit != nil {
		unit = *x.Unit
	}
	return toReading(string(x.Time), x.Metric, string(x.Value), unit, x.Unit != nil)
}

// toReading checks a unit that is given, for nothing is converted here.
func toReading(at, metric, value, unit string, given bool) (role.Reading, error) {
	m, ok := wearable.ByKey(metric)
	if !ok {
		return role.Reading{}, fmt.Errorf("no metric is called %.40q (\"vitalveil metrics\" lists them)", metric)
	}
	if given && unit != m.UCUM {
		return role.Reading{}, fmt.Errorf("unit %.40q for %s, want %q", unit, metric, m.UCUM)
	}
	v, err := wearable.ParseDecimal(value)
	if err != nil {
		return role.Reading{}, fmt.Errorf("value: %w", err)
	}
	t, err := parseTime(at)
	if err != nil {
		return role.Reading{}, err
	}
	return role.Reading{Metric: metric, Time: t, Value: v}, nil
}

// parseTime reads Unix seconds, exactly, or an RFC 3339 time.
func parseTime(text string) (wearable.Decimal, error) {
	if d, err := wearable.ParseDecimal(text); err == nil {
		return d, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return wearable.Decimal{}, fmt.Errorf("time %.40q is neither Unix seconds nor like 2026-01-31T08:00:00Z", text)
	}
	if t.Unix() < 0 { // nobody measured fractions before 1970
		return wearable.Int(t.Unix()), nil
	}
	micro, _ := wearable.NewDecimal(t.UnixMicro(), 6)
	return micro, nil
}
