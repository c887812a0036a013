package wearable

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestTheTableIsConsistent(t *testing.T) {
	keys := []string{"heart_rate", "pulse_rate", "resp_rate", "spo2", "body_temp", "skin_temp", "bp_systolic", "bp_diastolic", "glucose", "storage_temp"}
	for slot, m := range Metrics() {
		if m.Slot != slot || m.Key != keys[slot] {
			t.Errorf("slot %d is %s, and must stay %s", slot, m.Key, keys[slot])
		}
		if byKey, ok := ByKey(m.Key); !ok || byKey != m {
			t.Errorf("ByKey(%s) is another metric", m.Key)
		}
		if m.Edges[0] != m.Min || m.Edges[Buckets] != m.Max {
			t.Errorf("%s: edges are %v, range is %v..%v", m.Key, m.Edges, m.Min, m.Max)
		}
		units := m.EdgesUnits()
		if !slices.IsSorted(units[:]) || len(slices.Compact(units[:])) != Buckets+1 {
			t.Errorf("%s: edges do not ascend: %v", m.Key, units)
		}
		for i, edge := range m.Edges {
			if m.Value(m.EdgesUnits()[i]) != edge {
				t.Errorf("%s: edge %v is not %d units", m.Key, edge, m.EdgesUnits()[i])
			}
		}
		if m.LOINC == "" || m.UCUM == "" || m.MDC>>16 != 2 {
			t.Errorf("%s: codes are missing", m.Key)
		}
	}
	if len(Metrics()) != len(keys) {
		t.Errorf("%d metrics, want %d", len(Metrics()), len(keys))
	}
}

func TestRangesAreFixed(t *testing.T) {
	for key, want := range map[string][3]string{
		"heart_rate": {"20", "220", "1"}, "pulse_rate": {"20", "220", "1"}, "resp_rate": {"1", "80", "1"}, "spo2": {"50", "100", "0.1"},
		"body_temp": {"30", "45", "0.1"}, "skin_temp": {"10", "45", "0.1"}, "bp_systolic": {"30", "300", "1"},
		"bp_diastolic": {"10", "200", "1"}, "glucose": {"10", "600", "1"}, "storage_temp": {"-20", "40", "0.1"},
	} {
		m, _ := ByKey(key)
		if got := [3]string{m.Min.String(), m.Max.String(), m.Resolution.String()}; got != want {
			t.Errorf("%s is %v, and must stay %v", key, got, want)
		}
	}
}

func TestCodesCoverTheRangeAndNothingElse(t *testing.T) {
	for _, m := range Metrics() {
		for code := uint16(1); code <= m.MaxCode(); code++ {
			if back, ok := m.Code(m.Units(code)); !ok || back != code {
				t.Fatalf("%s: code %d comes back as %d, %v", m.Key, code, back, ok)
			}
		}
		if m.Units(1) != m.MinUnits() || m.Units(m.MaxCode()) != m.MaxUnits() {
			t.Errorf("%s: codes do not span the range", m.Key)
		}
		for _, outside := range []int64{m.MinUnits() - 1, m.MaxUnits() + 1} {
			if code, ok := m.Code(outside); ok {
				t.Errorf("%s: %d units have code %d", m.Key, outside, code)
			}
		}
	}
}

func TestBucketsTakeTheirLowerEdge(t *testing.T) {
	for _, m := range Metrics() {
		for units := m.MinUnits(); units <= m.MaxUnits(); units++ {
			bucket, ok := m.Bucket(units)
			edges := m.EdgesUnits()
			last := bucket == Buckets-1 && units == edges[Buckets]
			if !ok || units < edges[bucket] || units >= edges[bucket+1] && !last {
				t.Fatalf("%s: %d units are in bucket %d (%v)", m.Key, units, bucket, ok)
			}
		}
		if _, ok := m.Bucket(m.MaxUnits() + 1); ok {
			t.Errorf("%s: a value above the range has a bucket", m.Key)
		}
	}
}

func TestUnknownMetricsAreNotFound(t *testing.T) {
	for _, key := range []string{"", "sao2", "Heart_Rate", "abp_sys"} {
		if _, ok := ByKey(key); ok {
			t.Errorf("%q is a metric", key)
		}
	}
	for _, slot := range []int{-1, 10, 16} {
		if _, ok := BySlot(slot); ok {
			t.Errorf("slot %d is a metric", slot)
		}
	}
}

func TestMetricsJSONHasTheStableForm(t *testing.T) {
	text, err := MetricsJSON()
	if err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	first := list[0]
	for key, want := range map[string]any{"key": "heart_rate", "slot": 0.0, "loinc": "8867-4", "ucum": "/min", "mdc": 147842.0, "resolution": "1", "min": "20", "max": "220"} {
		if first[key] != want {
			t.Errorf("%s is %v, want %v", key, first[key], want)
		}
	}
	if edges := first["edges"].([]any); len(edges) != Buckets+1 || edges[0] != "20" || edges[Buckets] != "220" || len(first) != 10 {
		t.Errorf("unexpected form: %v", first)
	}
}
