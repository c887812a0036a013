package fhir

import (
	"errors"
	"regexp"
	"time"
)

const hourSeconds = 3600

// formatTime writes Unix seconds as a FHIR dateTime in UTC, and false where the
// year has not four digits.
func formatTime(seconds int64) (string, bool) {
	t := time.Unix(seconds, 0).UTC()
	return t.Format(time.RFC3339), t.Year() >= 1 && t.Year() <= 9999
}

// dateTime is FHIR's dateTime to the second. Dates alone and local times leave open
// which second they mean, and fractions have no place in a consent.
var dateTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]((0\d|1[0-3]):[0-5]\d|14:00))$`)

func parseTime(s string) (int64, error) {
	if !dateTime.MatchString(s) {
		return 0, errors.New("is not a time to the second with its zone, such as 2026-05-04T12:00:00Z")
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1 {
		return 0, errors.New("is not a day of the calendar, or not a time of the day")
	}
	return t.Unix(), nil
}
