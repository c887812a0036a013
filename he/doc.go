// Package he seals rows of statistics so that they can be added by anyone and
// opened by nobody alone: additively homomorphic encryption over the ring of
// RLWE, homomorphic in the message and in the key.
//
//	s_d = sum over pieces p of ternary(XOF(context, device, p, seed))    a device's secret
//	a_t = x^(-hour*N/24) * XOF(network, profile, day, correction)        public, common to all devices
//	b_d = -a_t*s_d + e + round(Q*m_d/T)   mod Q                          a row, first coefficients only
//	h_p = [a_T * sum of s_{d,p}] + uniform flood + round(Q*noise_p/T)    a share, asked coefficients only
//	sum of rows + sum of h_p = (Q/T)*(sum of m + noise) + small
//
// Entry points. A device: New, NewSeed, Params.NewDeviceKey, Params.SealSeeds,
// Params.Seal. An institution: Params.OpenSeeds, Params.Expand, KeySum,
// Params.KeyProduct, Params.Share; Params.ProbeShare and Params.Probe find a device whose
// rows are none. Whoever asks: Params.NewSum (Params.Columns for rows in storage),
// Params.Open. WriteProfiles prints how safe the profiles are.
//
// Trust: fewer than Threshold institutions lack at least one piece of every
// secret, and what they see is a row of RLWE samples under a ternary secret that
// is fresh to them. The flooding of the missing piece hides the errors of the
// rows, so that a release says no more than the sum and its noise. A row is not
// authenticated here: its SHA-256 on the ledger is. A device can seal what it
// likes.
//
// Three rules are the caller's to keep: a row is durable before it is sent and
// sent again as the same bytes (two rows under one window open their
// difference); windows and cohorts are derived by each institution from the
// ledger and never accepted from others; a share that has left is kept and
// answered again.
//
// Not promised: running time independent of secrets. Ternary expansion and the
// errors of rows have no secret-dependent branch or memory address, but ring
// arithmetic is lattigo's and privacy noise is drawn by rejection, so nobody
// hostile should be able to time a device or an institution from the same
// machine.
//
// Promise: a profile's name fixes every byte that this package writes under it;
// testdata holds vectors. A change gets a new name.
package he
