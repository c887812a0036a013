// Command peers measures sealing and asking as package he does it beside what
// people would use instead, in one run on one machine:
//
//   - BGV public-key ciphertexts with threshold key switching (lattigo v5),
//   - Paillier with 2048 and 3072 bits, a ciphertext per value and packed
//     (coinbase/kryptology),
//   - Prio3 SumVec and Histogram (cloudflare/circl),
//   - additive masks from a PRF, AES-256 in counter mode, replicated as he's pieces.
//
// Every scheme seals the same device-hours of the schema "vitals-v1" (nine metrics
// of 18 values), sums one metric over devices and hours, opens the sum, and must
// find what the plain numbers add up to. Times are CPU time of the process on one
// core, so that other load disturbs little.
//
// It is a module of its own: none of these libraries are needed to build or to run
// Vitalveil.
package main
