// Package opening seals the secrets that a recipient may have to complain about, the
// seeds of devices and the keys of pieces, so that a complaint is evidence for
// everybody and gives nothing of anybody else's away. docs/design/seed-boxes.md has
// the encoding, the transcripts and the argument.
//
// Entry points: SeedPlace and KeyPlace say where a secret belongs, and their To makes
// the Address of a box. Seal is for the sender; Check is for everybody who is handed a
// box; Open and Complain are for the recipient; Examine is for everybody who is shown
// a complaint, chaincode included. Blob and Boxes are a device's seed blob.
//
// A box is HPKE in base mode (RFC 9180 section 5.1.1) with DHKEM(X25519,
// HKDF-SHA256), HKDF-SHA256 and AES-256-GCM, followed by a proof of its sender.
//
// # The sender's proof
//
// The encapsulated key is the u-coordinate of E = e*B. The sender proves that it
// knows e: Schnorr's identification ("Efficient signature generation by smart cards",
// Journal of Cryptology 4, 1991), made non-interactive by Fiat and
// Shamir's transform over everything that the statement consists of (the strong form
// of Bernhard, Pereira and Warinschi, "How not to prove yourself", ASIACRYPT
// 2012): network, kind, place, recipient and its key, E, ciphertext. It is a
// signature over the place and the box under E.
//
// Without it, who copies an encapsulated key of another's, as it is or times a number,
// makes the recipient complain and reveal what opens the other's box. With it, the
// recipient reveals only what the sender of that very box could have computed.
//
// A box without a valid proof is at fault as everybody sees. Nothing is opened of it:
// Complain returns no opening, and Examine takes none.
//
// # The recipient's proof
//
// All that the recipient's private key contributes to the opening is dh = X25519(sk,
// enc) (RFC 9180 section 4.1, Decap). The recipient of a box that does not open, or
// opens to another secret than the one hashed, reveals dh and proves, without
// revealing sk, that it is the one: X25519 clamps sk to 8k (RFC 7748 section 5), so
// lifted to edwards25519
//
//	PK = k*(8B)   and   DH = k*(8E)
//
// That both have the same k is the proof of equal discrete logarithms of Chaum and
// Pedersen ("Wallet databases with observers", CRYPTO 1992, section 3.2), again
// non-interactive. From dh on anyone runs the key schedule, opens the box, and compares
// the secret with its hash on the ledger.
//
// # Signs and torsion
//
// A u-coordinate stands for a point and its negative. E is the one of even x, and a
// sender whose point has odd x proves -e; the recipient says which PK and DH it means.
// All points must generate the prime subgroup, or a prover could hide one of small
// order in E or DH. A key that does not, is not reduced modulo p, or lies on the twist
// is none that a sender makes: a fault that shows by itself.
//
// Examine and Check are deterministic, and their cost is bounded: Check takes about
// 0.1 ms and Examine a millisecond, whatever they are given.
package opening
