package bridge

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func samples(name string) string { return filepath.Join("..", "..", "docs", "samples", name) }

// sample loads a sample as a hub's configuration.
func sample(t *testing.T, name string) Config {
	t.Helper()
	text, err := os.ReadFile(samples(name))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, configFile), text, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(string(c.Network)) || !filepath.IsAbs(string(c.State)) || c.Every == 0 {
		t.Errorf("%s: %+v", name, c)
	}
	return c
}

func TestSamplesLoadAndTheFullOneSaysEverything(t *testing.T) {
	sample(t, "bridge-minimal.json")
	words, err := os.ReadFile(samples("bridge.md"))
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(sample(t, "bridge-full.json"))
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		if v.Field(i).IsZero() {
			t.Errorf("bridge-full.json does not set %s", field.Name)
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != "" && !strings.Contains(string(words), "| `"+name+"` |") {
			t.Errorf("bridge.md does not say what %s is", name)
		}
	}
}

func TestWhatASourceSaysIsReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		"time,metric,value\n1,heart_rate,60":                        "1 heart_rate 60",
		"value,unit,metric,time\n60,/min,heart_rate,1.5":            "1.5 heart_rate 60",
		`{"time": 1.25, "metric": "heart_rate", "value": "60.0"}`:   "1.25 heart_rate 60",
		"time,metric,value\n2025-01-01T01:00:00+01:00,glucose,99.5": "1735689600 glucose 99.5",
		"time,metric,value\n1,heart_rate,6e1":                       "line 2",
		"time,metric,value\n1,heart_rate":                           "2 fields for 3 columns",
		"time,time,metric,value\n":                                  "each once",
		"time,metric\n":                                             "line 1",
		`{"time": 1, "metric": "heart_rate", "value": 1, "v": 2}`:   "unknown field",
		`{"time": 1, "time": 2, "metric": "a", "value": 1}`:         "line 1",
		`{"time": true, "metric": "heart_rate", "value": 1}`:        "neither Unix seconds",
		"time,metric,value\n1,heart_rate,\"60":                      "line 2",
		strings.Repeat("x", maxLine+1):                              "more than 4096 bytes",
	} {
		got := ""
		for r, err := range readings(strings.NewReader(text)) {
			if err != nil {
				got += err.Error()
				break
			}
			got += r.Time.String() + " " + r.Metric + " " + r.Value.String()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%.80q: %s, want %s", text, got, want)
		}
	}
}

// FuzzSource: whatever a source says, what is read of it is a reading of a known metric.
func FuzzSource(f *testing.F) {
	for _, seed := range []string{
		"time,metric,value,unit\n2025-01-01T00:00:10Z,heart_rate,60,/min\n", `{"time": 1, "metric": "glucose", "value": "99"}` + "\n\n", "a\"b,", "{",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for r, err := range readings(strings.NewReader(text)) {
			if err != nil {
				return
			}
			if r.Metric == "" || !r.Time.Finite() || !r.Value.Finite() {
				t.Fatalf("%+v", r)
			}
		}
	})
}
