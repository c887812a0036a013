// Package bridge is what runs on the patient's phone or on a hub at home: it
// takes vitals from Bluetooth LE sensors and from other sources, keeps them as
// an exact minute grid, seals every hour and every day, commits every day, brings
// that to the ledger through a gateway and proves predicates where the patient allowed it.
//
// Entry points: Open opens a Hub, which serves one Device per patient.
// Device.Connect (of what package radio has connected) and Device.Push take readings,
// Sensors.Prefer says whose count where several measure, Device.Advance seals what is
// over, Hub.Sync brings it to the ledger and fetches receipts, Hub.Answer
// proves predicates.
//
// # States of a reading
//
// Each state says what a crash (or kill -9, or loss of power) loses:
//
//   - measured: the sensor has it. A notification (which Bluetooth never
//     acknowledges) is held in memory until its minute closes and the close is
//     synced, so a crash loses the samples of the open minute. An indication is
//     confirmed to the sensor only after it is gridded, and Push returns only
//     then.
//   - gridded: the sample is part of its minute's exact sum, synced to disk.
//     From here on a crash loses nothing. A sample of an hour that is sealed
//     already waits for the hour's next correction, if its minute was missing.
//   - sealed: the hour's row and the mark "sealed up to" were written by one
//     synced commit. A crash before it leaves the hour gridded; the row that
//     was lost never left. A correction is sealed in the same way, together with
//     its number and the minutes that it counts, and a day's row together with its root.
//   - stored: the gateway has the blob that carries the row. Which rows share a
//     blob, and the signed pointers to them, are synced before the first byte is
//     sent; a retry after a crash sends the same bytes.
//   - anchored: the pointer is on the ledger. The gateway's answer is recorded
//     after the fact; a crash in between makes the bridge ask again and be told
//     "repeated".
//   - available: threshold members have signed that they hold the row well
//     formed. The receipt is verified and kept; only then does the bridge forget
//     the row's bytes. A lost receipt is fetched again.
//
// # Trust
//
// A bridge trusts its own disk and its own clock, and the genesis document that
// it is given out of band. It trusts the gateway with nothing: it encrypts
// before it sends, signs what it sends, verifies receipts against the members
// of the genesis, and answers a predicate only when the request matches its own
// openings and the consent that the patient left with it. What a gateway can do
// is withhold, and invent a request that the patient's own terms allow; the
// number of times that a consent names bounds the latter.
//
// Sensors are hostile until proven otherwise (package radio).
//
// # Never restore from backup
//
// Two rows sealed under one window open their difference to everyone. So the
// store must never be rolled back: keep the directory, its key file and its
// rollback guard out of backups. The rollback guard lies outside the directory and holds,
// per device, the hour and the day up to which rows may have left, and how many
// corrections may have. A device whose store is behind its mark, or behind the ledger, is
// retired for good (ErrRetired) and its patient enrols a new one with new seeds.
//
// # Late data
//
// What comes when its hour is sealed becomes a correction: a row of its own for
// the minutes that were missing, up to three for an hour and for six days after
// its day (docs/life-of-a-reading.md). Advance seals them once a day,
// Device.SealLate at once. What comes once its day is committed is in no row of the day,
// and counted (Counts.AfterDay).
//
// # What a gateway's word is worth
//
// Nobody signs the outcome of a pointer, that a device is enrolled, or ledger time.
// So none of it ends anything here: what was refused is kept and offered again, to
// other gateways too (Config.OtherGateways), a device retires only on a second
// pointer under its own signature, its enrolment is kept until there is a receipt, and
// ledger time only ever keeps an hour open (ErrClockAhead).
//
// # Promise
//
// A store written by one version is read by every later one; a store written by
// a newer version is refused (ErrNewer).
package bridge
