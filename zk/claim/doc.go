// Package claim is the language of claims: sentences about one metric of one person,
// such as "on at least 6 of the 7 days from 2025-01-01, heart rate was between 50 and 90
// /min in at least 400 of the 480 minutes 00:00-06:00 and 22:00-24:00 UTC of each day",
// and the bounds that a proof is about.
//
// Entry points: Language.Parse reads a sentence, Claim.Text says one in a language, Check
// refuses bounds that say nothing or cannot hold. Languages lists the languages; each is
// one file of templates, which are read and written by the same code.
//
// Trust: nothing is believed. A sentence that is shown comes from bounds, never from
// whoever asks.
//
// Promise: bounds have one sentence in a language, and a sentence one meaning: Text of
// what Parse took is the sentence again, and Parse of a Text gives the same bounds, in
// their canonical form. The sentence leaves out nothing that a proof depends on.
package claim
