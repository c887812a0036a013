// Package privacy fixes what a sealed row says about one hour of one metric and
// how much a released sum may say about one patient.
//
// Entry points: V1, V2 and V3 are the row schemas, SchemaByDigest finds the one that a
// network's genesis names. A schema consists of questions (Schema.Question), each a
// block of coefficients of its own: a metric, in V2 also a pair of metrics and a
// metric by stratum. Schema.HourRow packs an hour of the minute grid into the
// coefficients that package he seals. Schema.Plan sizes the privacy noise of a
// query, SampleDiscreteGaussian draws it, Schema.Result turns what was opened into
// figures with honest intervals: Release of a metric, whose Quantile reads
// percentiles, minimum and maximum off the histogram, to one bucket; PairRelease;
// StrataRelease. V3 has a day row too (Schema.Day): Schema.DayRow packs a day of the
// grid as person-days, Schema.PlanDays sizes noise for the figures that are wanted,
// Schema.Forecast says before asking what an answer will be worth, and
// Schema.ReleaseDays turns what was opened into a PersonRelease.
//
// Trust: nothing here is secret and nothing here is random; noise is drawn from
// the stream that the caller brings. Everything that ledger code relies on
// (layout, Plan, Safe) is integer arithmetic and gives the same result on every
// machine. The figures of a Release are exact integers and correctly rounded
// quotients and square roots, so they too are the same everywhere; of a PersonRelease
// only the opened sums are.
//
// What is promised to a patient: the unit is the presence or absence of one
// patient's rows in one query, clipped by the schema to 60 readings an hour
// within the metric's range, or one person-day a day, clipped to the person range.
// A query with rho is rho-zCDP (Bun and Steinke 2016,
// arXiv:1605.02065) for that unit by the discrete Gaussian mechanism (Canonne,
// Kamath and Steinke 2020, arXiv:2004.00010, Theorems 4 and 14), also against
// those who know the noise of all pieces but one. The number of patients in a
// query is public and is not covered.
//
// Promise: the layout of a schema never changes; a new layout gets a new name.
package privacy
