package index

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
)

// patientFor makes a patient whose device is designated for metrics and who
// consents to them.
func (l *ledger) patientFor(allowed []string, metrics ...string) record.DeviceState {
	l.patient()
	p := l.patients[len(l.patients)-1]
	d := l.device(p, day0, metrics...)
	for _, m := range members {
		l.ack(d.ID, m)
	}
	l.rows(d.ID, hour0, hour0+48)
	c := l.permit(p, members[0], hour0, hour0+100)
	c.Metrics = allowed
	l.consent(c)
	return d
}

// TestAttackPairWithConsentForOneMetric: who allows only one of the two metrics is
// in no answer about the pair, and neither is who wears two devices for them.
func TestAttackPairWithConsentForOneMetric(t *testing.T) {
	l := newLedger()
	both := l.patientFor([]string{metric, other}, metric, other)
	l.patientFor([]string{metric}, metric, other)
	l.patientFor([]string{other}, metric, other)
	apart := l.patientFor([]string{metric, other}, metric)
	second := l.device(apart.Device.Patient, day0, other)
	for _, m := range members {
		l.ack(second.ID, m)
	}
	l.rows(second.ID, hour0, hour0+48)
	pair := l.askFor(0, members[0], pairKey, hour0+24, hour0+48, 100)
	one := l.ask(members[0], hour0, hour0+24, 100)
	group := l.askFor(0, members[0], other+"@stratum", hour0+24, hour0+48, 100)
	l.cut()
	ix := apply(t, l.blocks)
	for query, want := range map[string]int{pair: 1, one: 3, group: 3} {
		if got := size(t, ix, query); got != want {
			t.Errorf("query %s has %d patients, want %d", query[:8], got, want)
		}
	}
	if c, err := ix.Cohort(pair, 0); err != nil || c.Members[0].Device != both.ID {
		t.Errorf("the wrong patient is in the answer: %+v (%v)", c, err)
	}
}

// TestAttackPairAfterRevokingOneMetric: withdrawing consent for one metric of a
// pair makes its cohort stale.
func TestAttackPairAfterRevokingOneMetric(t *testing.T) {
	l := newLedger()
	d := l.patientFor([]string{metric}, metric, other)
	c := l.permit(d.Device.Patient, members[0], hour0, hour0+100)
	c.Metrics = []string{other}
	l.consent(c)
	query := l.askFor(0, members[0], pairKey, hour0, hour0+24, 100)
	l.cut()
	c.Version, c.Status = 2, consent.StatusRevoked
	l.consent(c)
	l.cut()
	ix := apply(t, l.blocks)
	if got := size(t, ix, query); got != 1 {
		t.Fatalf("two consents for one metric each make a cohort of %d", got)
	}
	if block, gone, err := ix.Stale(query, 0); err != nil || len(gone) != 1 || block != 1 {
		t.Errorf("stale at block %d for %v (%v)", block, gone, err)
	}
}

// TestPatientsReadWhatAPairWasAbout: the history names both metrics.
func TestPatientsReadWhatAPairWasAbout(t *testing.T) {
	l := newLedger()
	d := l.patientFor([]string{metric, other}, metric, other)
	l.askFor(0, members[0], pairKey, hour0, hour0+24, 100)
	l.askFor(0, members[0], other+"@stratum", hour0, hour0+24, 100)
	l.cut()
	entries, err := apply(t, l.blocks).History(d.Device.Patient)
	if err != nil {
		t.Fatal(err)
	}
	var about []string
	for _, e := range entries {
		if e.Query != nil {
			about = append(about, fmt.Sprint(e.Query.Metrics, " ", e.Query.About))
		}
	}
	if want := []string{"[heart_rate spo2] heart_rate together with spo2", "[spo2] spo2 by age and sex"}; !slices.Equal(about, want) {
		t.Errorf("the patient reads %q", about)
	}
}

// TestAttackExactPairAfterItsMetric: an exact answer about a metric, and one about
// a pair with it, open each patient's hour once between them, in either order.
func TestAttackExactPairAfterItsMetric(t *testing.T) {
	for name, keys := range map[string][2]string{
		"metric first": {metric, pairKey}, "pair first": {pairKey, metric}, "other metric": {other, pairKey},
		"two pairs": {pairKey, "heart_rate*resp_rate"},
	} {
		l := newLedger()
		for range 3 {
			l.patientFor([]string{metric, other, "resp_rate"}, metric, other, "resp_rate")
		}
		first := l.askFor(0, members[0], keys[0], hour0, hour0+24, 0)
		overlap := l.askFor(0, members[0], keys[1], hour0, hour0+48, 0)
		apart := l.askFor(0, members[0], keys[1], hour0+24, hour0+48, 0)
		l.cut()
		ix := apply(t, l.blocks)
		for query, want := range map[string]int{first: 3, overlap: 0, apart: 3} {
			if got := size(t, ix, query); got != want {
				t.Errorf("%s: query %s has %d patients, want %d", name, query[:8], got, want)
			}
		}
	}
}

// TestAttackQuestionThatTheSchemaDoesNotHave: a key that is no question of the
// network's schema has nobody in its cohort.
func TestAttackQuestionThatTheSchemaDoesNotHave(t *testing.T) {
	l := newLedger()
	l.ready(3)
	var queries []string
	for _, key := range []string{"", "heart_rate*heart_rate", "spo2*heart_rate", "heart_rate*", "glucose@stratum", "heart_rate@age"} {
		queries = append(queries, l.askFor(0, members[0], key, hour0, hour0+24, 100))
	}
	l.cut()
	ix := apply(t, l.blocks)
	for _, q := range queries {
		if got := size(t, ix, q); got != 0 {
			t.Errorf("query %s has %d patients", q[:8], got)
		}
	}
}

// TestAttackUnknownSchema: an index stops at the genesis of a network whose rows
// it cannot read.
func TestAttackUnknownSchema(t *testing.T) {
	l := newLedger()
	l.open = nil
	l.genesis.Schema = record.SumID([]byte("vitals-v3"))
	l.tx(put("genesis", l.genesis))
	l.cut()
	if err := blank().Apply(l.blocks[0]); err == nil {
		t.Error("the genesis of an unknown schema was taken")
	}
}
