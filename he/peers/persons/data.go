package main

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/virtual"
)

// set is one metric's first person-day of everybody who has one.
type set struct {
	wearable.Metric
	person wearable.Person
	days   []wearable.PersonDay
}

// aliases of metrics in recordings.
var aliases = map[string]string{"nibp_sys": "bp_systolic", "nibp_dia": "bp_diastolic"}

// grid gathers readings by person, metric and day.
type grid map[string]map[string]map[int64]*[wearable.MinutesPerDay]*wearable.Accumulator

func (g grid) add(person, metric string, second int64, v wearable.Decimal) {
	day, minute := wearable.SplitMinute(wearable.MinuteOf(second))
	if g[person] == nil {
		g[person] = map[string]map[int64]*[wearable.MinutesPerDay]*wearable.Accumulator{}
	}
	if g[person][metric] == nil {
		g[person][metric] = map[int64]*[wearable.MinutesPerDay]*wearable.Accumulator{}
	}
	minutes := g[person][metric][day]
	if minutes == nil {
		minutes = new([wearable.MinutesPerDay]*wearable.Accumulator)
		g[person][metric][day] = minutes
	}
	if minutes[minute] == nil {
		minutes[minute], _ = wearable.NewAccumulator(metric)
	}
	minutes[minute].Add(v)
}

// sets sums up everybody's first day that has enough minutes.
func (g grid) sets() []set {
	var all []set
	for _, m := range wearable.Vitals() {
		s := set{Metric: m}
		s.person, _ = m.Person()
		for _, person := range sorted(g) {
			days := g[person][m.Key]
			for _, day := range sorted(days) {
				column := new(wearable.Column)
				for i, a := range days[day] {
					if a != nil {
						column[i], _ = a.Code()
					}
				}
				if d, ok := m.PersonDay(column); ok {
					s.days = append(s.days, d)
					break
				}
			}
		}
		if len(s.days) > 0 {
			all = append(all, s)
		}
	}
	return all
}

func sorted[K int64 | string, V any](m map[K]V) []K {
	var keys []K
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// load reads recorded people, or makes up two hundred.
func load(replay string) ([]set, error) {
	g := grid{}
	if replay == "" {
		for seed := range uint64(200) {
			person := fmt.Sprintf("synthetic-%03d", seed+1)
			for x := range virtual.NewPerson(seed+1).Samples(0, 24) {
				g.add(person, x.Metric, x.Time, x.Value)
			}
		}
		return g.sets(), nil
	}
	f, err := os.Open(replay)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(replay, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	if err := g.read(csv.NewReader(r)); err != nil {
		return nil, fmt.Errorf("%s: %w", replay, err)
	}
	return g.sets(), nil
}

func (g grid) read(r *csv.Reader) error {
	r.FieldsPerRecord, r.ReuseRecord = 5, true
	for first := true; ; first = false {
		row, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		metric := row[2]
		if a, ok := aliases[metric]; ok {
			metric = a
		}
		if m, ok := wearable.ByKey(metric); first || !ok || !m.Vital() {
			continue
		}
		t, err := wearable.ParseDecimal(row[1])
		if err != nil {
			return err
		}
		v, err := wearable.ParseDecimal(row[3])
		if err != nil {
			return err
		}
		g.add(strings.Clone(row[0]), strings.Clone(metric), t.FloorDiv(1), v)
	}
}
