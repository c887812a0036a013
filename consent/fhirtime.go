package consent

import (
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/wearable"
)

// Dates are computed here and not by package time, which the contracts that
// import this package do without. The civil calendar is the proleptic Gregorian
// one; the two conversions are Howard Hinnant's, "chrono-Compatible Low-Level
// Date Algorithms", section "days_from_civil".

const (
	daysOfEra   = 146097 // 400 years
	yearsOfEra  = 400
	epochShift  = 719468 // days from 0000-03-01 to 1970-01-01
	daySeconds  = 86400
	hourSeconds = 3600
)

// daysOf returns the Unix day of a date.
func daysOf(year, month, day int64) int64 {
	if month <= 2 {
		year--
	}
	era := wearable.FloorDiv(year, yearsOfEra)
	yearOfEra := year - era*yearsOfEra
	dayOfYear := (153*((month+9)%12)+2)/5 + day - 1
	dayOfEra := yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear
	return era*daysOfEra + dayOfEra - epochShift
}

// dateOf returns the year, month and day of a Unix day.
func dateOf(days int64) (int64, int64, int64) {
	days += epochShift
	era := wearable.FloorDiv(days, daysOfEra)
	dayOfEra := days - era*daysOfEra
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36524 - dayOfEra/(daysOfEra-1)) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	shifted := (5*dayOfYear + 2) / 153
	day, month := dayOfYear-(153*shifted+2)/5+1, (shifted+2)%12+1
	year := yearOfEra + era*yearsOfEra
	if month <= 2 {
		year++
	}
	return year, month, day
}

// formatTime writes Unix seconds as a FHIR dateTime in UTC, and false where the
// year has not four digits.
func formatTime(seconds int64) (string, bool) {
	days := wearable.DayOf(seconds)
	s := seconds - days*daySeconds
	year, month, day := dateOf(days)
	if year < 1 || year > 9999 {
		return "", false
	}
	return fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02dZ", year, month, day, s/3600, s/60%60, s%60), true
}

// parseTime reads a FHIR dateTime to the second. Dates alone and local times
// leave open which second they mean, and fractions have no place in a consent.
func parseTime(s string) (int64, error) {
	const form = "0000-00-00T00:00:00"
	if len(s) <= len(form) {
		return 0, errors.New("names no second with its time zone, such as 2026-05-04T12:00:00Z")
	}
	for i, c := range []byte(form) {
		digit := s[i] >= '0' && s[i] <= '9'
		if c == '0' && !digit || c != '0' && s[i] != c {
			return 0, errors.New("is not a dateTime such as 2026-05-04T12:00:00Z")
		}
	}
	year, month, day := number(s[0:4]), number(s[5:7]), number(s[8:10])
	hour, minute, second := number(s[11:13]), number(s[14:16]), number(s[17:19])
	days := daysOf(year, month, day)
	if y, m, d := dateOf(days); y != year || m != month || d != day || year < 1 {
		return 0, errors.New("is not a day of the calendar")
	}
	if hour > 23 || minute > 59 || second > 59 {
		return 0, errors.New("is not a time of the day")
	}
	offset, err := parseZone(s[len(form):])
	return days*daySeconds + hour*hourSeconds + minute*60 + second - offset, err
}

// parseZone returns the seconds that a time zone is ahead of UTC.
func parseZone(s string) (int64, error) {
	if s == "Z" {
		return 0, nil
	}
	if s[0] == '.' {
		return 0, errors.New("has a fraction of a second, which a consent cannot say")
	}
	ok := len(s) == 6 && (s[0] == '+' || s[0] == '-') && s[3] == ':'
	for i := 1; ok && i < len(s); i++ {
		ok = i == 3 || s[i] >= '0' && s[i] <= '9'
	}
	if !ok {
		return 0, errors.New("does not end with a time zone, Z or +01:00")
	}
	hours, minutes := number(s[1:3]), number(s[4:6])
	if hours > 14 || minutes > 59 || hours == 14 && minutes > 0 {
		return 0, errors.New("has a time zone that does not exist")
	}
	offset := hours*hourSeconds + minutes*60
	if s[0] == '-' {
		offset = -offset
	}
	return offset, nil
}

// number reads digits.
func number(s string) int64 {
	n := int64(0)
	for _, c := range []byte(s) {
		n = n*10 + int64(c-'0')
	}
	return n
}
