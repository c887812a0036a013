// Package importer reads what phones and watches export: Apple Health, Health Connect,
// Fitbit (Google Takeout) and Garmin FIT, each as it comes, in an archive or unpacked.
//
// Entry points: Open recognises a file by what is in it, Export.Read hands over its
// readings one by one. Memory does not grow with the file.
//
// # Units and times
//
// Values come in the unit of the metric table. Conversions are exact, but that a
// temperature in Fahrenheit that is no decimal numeral in Celsius is rounded to six digits
// after the point. Times are points in time: Apple writes an offset, Health Connect and FIT
// count from an epoch, Fitbit writes UTC without saying so.
//
// # What is left out
//
// Whatever an export has that the metric table knows and that cannot be used is counted by
// its reason (Drop). Summaries of a night or a day are no readings and are passed over, and
// so is everything else that people export.
//
// # Trust
//
// A file is hostile until proven otherwise: its parts are bounded (maxPart), an archive that
// unpacks to a multiple of itself beyond reason is refused (ErrLimit), a database is opened
// read-only, without its views, triggers and functions.
package importer
