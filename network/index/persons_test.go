package index

import (
	"slices"
	"testing"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
)

// dayRows anchors day rows that members find.
func (l *ledger) dayRows(device record.ID, days ...int64) {
	l.days(device, days...)
	for _, m := range members[:2] {
		l.available(len(l.batches)-1, m, ^uint64(0))
	}
}

// readyDays is ready, with day rows of two days.
func (l *ledger) readyDays(n int) []record.DeviceState {
	devices := l.ready(n)
	for _, d := range devices {
		l.dayRows(d.ID, day0, day0+1)
	}
	l.cut()
	return devices
}

// askDays asks about person-days: all figures exactly, or the mean.
func (l *ledger) askDays(asker string, from, until int64, rho uint64) string {
	want := privacy.WantMean
	if rho == 0 {
		want = privacy.WantAll
	}
	return l.askAbout(asker, record.Ask{Metric: metric, Want: want.String(), From: 24 * from, Until: 24 * until, Rho: rho})
}

// TestAttackExactDaysAfterExactHours, and the other way round: what was opened of a day
// in one form is not opened in the other; the difference of two cohorts would be one
// patient's. Other days are, and noise is no opening.
func TestAttackExactDaysAfterExactHours(t *testing.T) {
	hours := func(l *ledger, from, until int64) string { return l.ask(members[0], 24*from, 24*until, 0) }
	days := func(l *ledger, from, until int64) string { return l.askDays(members[1], from, until, 0) }
	for name, c := range map[string][2]func(*ledger, int64, int64) string{
		"hours first": {hours, days}, "days first": {days, hours}, "days twice": {days, days},
	} {
		l := newLedger(withDays)
		l.readyDays(3)
		first := c[0](l, day0, day0+1)
		overlap, apart := c[1](l, day0, day0+2), c[1](l, day0+1, day0+2)
		noisy := l.askDays(members[0], day0, day0+2, 100)
		l.cut()
		ix := apply(t, l.blocks)
		for _, ix := range []*Index{ix, loaded(t, saved(t, ix))} {
			for query, want := range map[string]int{first: 3, overlap: 0, apart: 3, noisy: 3} {
				if got := size(t, ix, query); got != want {
					t.Errorf("%s: query %s has %d patients, want %d", name, query[:8], got, want)
				}
			}
		}
	}
}

// TestAttackExactDaysOfAPairAfterItsMetric: a pair of days contains its metrics' days.
func TestAttackExactDaysOfAPairAfterItsMetric(t *testing.T) {
	l := newLedger(withDays)
	for range 2 {
		d := l.patientFor([]string{metric, other}, metric, other)
		l.dayRows(d.ID, day0, day0+1)
	}
	first := l.askAbout(members[0], record.Ask{Metric: pairKey, Want: "mean", From: hour0, Until: hour0 + 24})
	then := l.askDays(members[0], day0, day0+1, 0)
	strata := l.askAbout(members[0], record.Ask{Metric: other + "@stratum", Want: "mean", From: hour0, Until: hour0 + 24, Rho: 100})
	l.cut()
	ix := apply(t, l.blocks)
	for query, want := range map[string]int{first: 2, then: 0, strata: 2} {
		if got := size(t, ix, query); got != want {
			t.Errorf("query %s has %d patients, want %d", query[:8], got, want)
		}
	}
}

// TestAttackHalfADayCountsNot: who allows a part of a day is in no answer about it, nor
// is who has no day row that members found; the same hours count by themselves.
func TestAttackHalfADayCountsNot(t *testing.T) {
	l := newLedger(withDays)
	var want []record.CohortMember
	for _, c := range []struct {
		from, until int64 // of the consent
		days        []int64
		ranges      [][2]int64
	}{
		{hour0, hour0 + 72, []int64{day0, day0 + 1, day0 + 2}, [][2]int64{{hour0, hour0 + 72}}},
		{hour0 + 1, hour0 + 71, []int64{day0, day0 + 1, day0 + 2}, [][2]int64{{hour0 + 24, hour0 + 48}}},
		{hour0 + 12, hour0 + 36, []int64{day0, day0 + 1}, nil},
		{hour0, hour0 + 72, []int64{day0, day0 + 2}, [][2]int64{{hour0, hour0 + 24}, {hour0 + 48, hour0 + 72}}},
		{hour0, hour0 + 72, nil, nil},
	} {
		l.patient()
		p := l.patients[len(l.patients)-1]
		d := l.device(p, day0, metric)
		for _, m := range members {
			l.ack(d.ID, m)
		}
		l.rows(d.ID, hour0, hour0+48)
		if c.days != nil {
			l.dayRows(d.ID, c.days...)
		}
		l.consent(l.permit(p, members[0], c.from, c.until))
		if c.ranges != nil {
			want = append(want, record.CohortMember{Device: d.ID, Ranges: c.ranges})
		}
	}
	query := l.askDays(members[0], day0, day0+3, 100)
	l.cut()
	ix := apply(t, l.blocks)
	c, err := ix.Cohort(query, 0)
	sortMembers(want)
	if err != nil || !slices.EqualFunc(c.Members, want, sameMember) {
		t.Fatalf("members %v, want %v (%v)", c.Members, want, err)
	}
	if !c.Daily || c.Size != 3 || c.Rows != 3+1+2 {
		t.Errorf("%d patients with %d rows", c.Size, c.Rows)
	}
	e, err := ix.Eligible(members[0], purpose, false, record.Ask{Metric: metric, Want: "mean", From: hour0, Until: hour0 + 72, Rho: 100})
	if err != nil || e.Size != 3 || e.Rows != c.Rows {
		t.Errorf("%d are eligible with %d rows (%v)", e.Size, e.Rows, err)
	}
	for _, m := range c.Members {
		rows, err := ix.Rows(m, true)
		if err != nil || int64(len(rows)) != m.Hours()/24 || !rows[0].Daily() {
			t.Errorf("rows %v (%v)", rows, err)
		}
	}
}

func sameMember(a, b record.CohortMember) bool {
	return a.Device == b.Device && slices.Equal(a.Ranges, b.Ranges) && slices.Equal(a.Corrections, b.Corrections)
}

// TestAttackTwoDevicesOnOneDay: of two devices that are the patient's on the same day one
// counts, so that nobody's day is in a sum twice; from the day on which a device takes
// over, it counts.
func TestAttackTwoDevicesOnOneDay(t *testing.T) {
	l := newLedger(withDays)
	first := l.readyDays(1)[0]
	p := first.Device.Patient
	same, next := l.device(p, day0, metric), l.device(p, day0+1, metric)
	for _, d := range []record.DeviceState{same, next} {
		for _, m := range members {
			l.ack(d.ID, m)
		}
		l.dayRows(d.ID, day0, day0+1)
	}
	query := l.askDays(members[0], day0, day0+2, 100)
	l.cut()
	c, err := apply(t, l.blocks).Cohort(query, 0)
	if err != nil {
		t.Fatal(err)
	}
	days := map[int64][]record.ID{}
	for _, m := range c.Members {
		for _, r := range m.Ranges {
			for h := r[0]; h < r[1]; h += 24 {
				days[h/24] = append(days[h/24], m.Device)
			}
		}
	}
	if !slices.Equal(days[day0], []record.ID{first.ID}) || !slices.Equal(days[day0+1], []record.ID{next.ID}) || c.Size != 1 || c.Rows != 2 {
		t.Errorf("days %v of %d patients, %d rows", days, c.Size, c.Rows)
	}
}

// TestAttackDaysAskedAmiss: what no contract records as a question has nobody in it.
func TestAttackDaysAskedAmiss(t *testing.T) {
	l := newLedger(withDays)
	l.readyDays(3)
	good := record.Ask{Metric: metric, Want: "mean,spread", From: hour0, Until: hour0 + 24, Rho: 100}
	amiss := map[string]record.Ask{}
	for name, change := range map[string]func(*record.Ask){
		"other order":     func(a *record.Ask) { a.Want = "spread,mean" },
		"unknown figure":  func(a *record.Ask) { a.Want = "mean,mode" },
		"half a day":      func(a *record.Ask) { a.Until -= 12 },
		"not a whole day": func(a *record.Ask) { a.From, a.Until = a.From+1, a.Until+1 },
		"a pair's spread": func(a *record.Ask) { a.Metric = pairKey },
		"exact in part":   func(a *record.Ask) { a.Rho = 0 },
		"exact strata":    func(a *record.Ask) { a.Rho, a.Want, a.Metric = 0, "mean", metric+"@stratum" },
	} {
		a := good
		change(&a)
		amiss[name] = a
	}
	asked := map[string]string{}
	for name, a := range amiss {
		asked[name] = l.askAbout(members[0], a)
	}
	right := l.askAbout(members[0], good)
	l.cut()
	ix := apply(t, l.blocks)
	for name, query := range asked {
		if c, err := ix.Cohort(query, 0); err == nil && c.Size != 0 {
			t.Errorf("%s: %d patients", name, c.Size)
		}
	}
	if got := size(t, ix, right); got != 3 {
		t.Errorf("as it should be: %d patients", got)
	}
}

// TestDaysAreChargedAndWithdrawnFromLikeHours.
func TestDaysAreChargedAndWithdrawnFromLikeHours(t *testing.T) {
	l := newLedger(withDays)
	devices := l.readyDays(3)
	first := l.askDays(members[0], day0, day0+2, 950)
	beyond, left := l.ask(members[0], hour0, hour0+24, 100), l.askDays(members[0], day0, day0+2, 50)
	l.cut()
	c := l.consents[0]
	c.Version, c.Status = 2, consent.StatusRevoked
	l.consent(c)
	l.cut()
	ix := apply(t, l.blocks)
	for query, want := range map[string]int{first: 3, beyond: 0, left: 3} {
		if got := size(t, ix, query); got != want {
			t.Errorf("query %s has %d patients, want %d", query[:8], got, want)
		}
	}
	if _, gone, err := ix.Stale(first, 0); err != nil || !slices.Equal(gone, []record.ID{devices[0].ID}) {
		t.Errorf("gone are %v (%v)", gone, err)
	}
}

// TestPatientsReadWhichFiguresOfTheirDaysWereAsked, and how many days.
func TestPatientsReadWhichFiguresOfTheirDaysWereAsked(t *testing.T) {
	l := newLedger(withDays)
	d := l.readyDays(2)[0]
	l.askDays(members[0], day0, day0+2, 100)
	l.cut()
	entries, err := apply(t, l.blocks).History(d.Device.Patient)
	if err != nil {
		t.Fatal(err)
	}
	last := entries[len(entries)-1].Query
	if last == nil || last.Days != 2 || last.Hours != 0 || last.State.Ask.Want != "mean" || last.About != metric || !last.Included {
		t.Errorf("the patient reads %+v", last)
	}
}

// TestAttackHalfADayOfConsentsThatComeLate: a day of which a part is allowed counts no more
// where what is allowed is read after the question than where it was known.
func TestAttackHalfADayOfConsentsThatComeLate(t *testing.T) {
	l := newLedger(withDays)
	for _, c := range [][2]int64{{0, 48}, {0, 23}, {23, 24}, {12, 36}, {1, 47}, {1, 48}} {
		l.patient()
		p := l.patients[len(l.patients)-1]
		d := l.device(p, day0, metric)
		for _, m := range members {
			l.ack(d.ID, m)
		}
		l.rows(d.ID, hour0, hour0+48)
		l.dayRows(d.ID, day0, day0+1)
		l.consent(l.permit(p, members[0], hour0+c[0], hour0+c[1]))
	}
	noisy, exact := l.askDays(members[0], day0, day0+2, 100), l.askDays(members[0], day0, day0+2, 0)
	l.cut()
	whole, late := apply(t, l.blocks), apply(t, withheld(l.blocks, func(consent.Document) bool { return true }))
	for _, b := range l.blocks {
		if _, err := late.Supply(b); err != nil {
			t.Fatal(err)
		}
	}
	for _, query := range []string{noisy, exact} {
		want, err := whole.Cohort(query, 0)
		if err != nil || want.Size != 2 || want.Rows != 3 {
			t.Fatalf("%d patients with %d days (%v)", want.Size, want.Rows, err)
		}
		if got, err := late.Cohort(query, 0); err != nil || !slices.EqualFunc(got.Members, want.Members, sameMember) || got.Rows != want.Rows {
			t.Errorf("with late consents %d patients with %d days, %v, instead of %v (%v)", got.Size, got.Rows, got.Members, want.Members, err)
		}
	}
}
