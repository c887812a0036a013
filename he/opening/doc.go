// Package opening makes the decapsulation of a sealed seed box checkable by
// anyone, so that a device which sealed rubbish to an institution can be put out
// on evidence and not on that institution's word.
//
// Entry points: Place names a box (whose seed, of which device and piece, to
// which member); Prove is for the member that cannot use what it found in the
// box; Verify is for everybody, chaincode included, and says whether the box is
// faulty and in what way.
//
// A box is HPKE in base mode (RFC 9180 section 5.1.1) with DHKEM(X25519,
// HKDF-SHA256), HKDF-SHA256 and AES-256-GCM. All that the member's private key
// contributes to its opening is dh = X25519(sk, enc) (section 4.1, Decap). The
// member reveals dh and proves, without revealing sk, that it is the one: X25519
// clamps sk to 8k (RFC 7748 section 5), so lifted to edwards25519
//
//	PK = k*(8B)   and   DH = k*(8E)
//
// with B the base point, E a point over enc, and PK, DH points over the public
// key and dh. That both have the same k is the proof of equal discrete
// logarithms of Chaum and Pedersen ("Wallet databases with observers", CRYPTO
// 1992), made non-interactive by Fiat and Shamir's transform over everything that
// the statement consists of. From dh on anyone runs the key schedule (sections
// 4.1 and 5.1), opens the box, and compares the seed with its hash on the ledger.
//
// Signs: an u-coordinate stands for a point and its negative. E is the one of
// even x; the prover says which PK and DH it means. Taking the other of both
// replaces k by -k, of one alone makes the proof fail; u(DH) is the same.
//
// Torsion: 8B and 8E have prime order, whatever torsion enc had. PK and DH are
// refused unless they have prime order too, or a prover could hide a point of
// small order in DH and reveal another dh.
//
// Encapsulated keys that no honest sender makes are faults by themselves and
// need no proof: an u that is not reduced modulo p, that lies on the twist (X25519
// computes with these too, but no sender knows a matching dh) or that is of small
// order (dh is zero, which RFC 9180 section 7.1.4 refuses).
//
// What is given away: dh opens this one box and no other. So a seed that is found
// faulty is public, of a device that is out from then on.
//
// Verify is deterministic, and its cost is bounded: about half a millisecond,
// whatever it is given.
package opening
